"""Bundles: a trained model and all that is needed to use and to judge it, in one folder or zip.

A bundle has `model.json` (see `about.py`), `README.md` (its card) and the weights. What is not so
is refused, and nothing of a zip reaches the disk under a name that is not one of these: bundles are
passed on by mail and from web pages. In a folder other files may stand beside them.

Imports no torch: weights are read by who uses them.
"""

import errno
import hashlib
import json
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from somnoflow.bundles.about import ENCODER, FORMAT, HEAD, MODEL, BundleAbout
from somnoflow.io.digest import sha256_file
from somnoflow.models.errors import WeightsError

ABOUT, CARD = "model.json", "README.md"
# The most bytes of each file; the largest published models have about 1 GB.
LIMITS = {ABOUT: 2**20, CARD: 2**20, MODEL: 2**33, ENCODER: 2**33, HEAD: 2**33}
MOST_RATIO = 100  # of unpacked bytes to packed ones; weights hardly shrink, and texts to a fifth
SHIPPED = Path(__file__).with_name("shipped")
# What `somnoflow score` takes where no model is named.
DEFAULT = "staging-eeg"

SUFFIX = ".zip"
# A zip file must have dates; the earliest that it can hold stands for none.
DATE = (1980, 1, 1, 0, 0, 0)
UNIX = 3
READABLE = stat.S_IFREG | 0o644
ENCRYPTED = 0x1
# What zipfile raises of damaged files, besides an impossible place to seek to.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError,
)  # fmt: skip
AGAIN = "Get the bundle again, or make it again with: snakemake --forcerun bundle"


@dataclass(frozen=True)
class Bundle:
    """An open bundle whose files are all there and as they were written.

    Attributes
    ----------
    about
        Its model.json.
    folder
        Where its files are; of a zip, only as long as it is open.
    digest
        SHA-256 of model.json, which holds those of the weights.
    """

    about: BundleAbout
    folder: Path
    digest: str

    @property
    def model_files(self) -> list[Path]:
        """The weights: of a whole model, or of an encoder and its head."""
        return [self.folder / name for name in self.about.parts]

    @property
    def card(self) -> str:
        """The text of its model card."""
        return (self.folder / CARD).read_text(encoding="utf-8", errors="replace")


def is_bundle(path: Path) -> bool:
    """Tell whether a path is to be read as a bundle: a folder, or a file that ends in .zip."""
    return path.is_dir() or path.suffix.lower() == SUFFIX


def shipped() -> dict[str, Path]:
    """Give the bundles that this package brings, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob(f"*{SUFFIX}"))}


def find_bundle(name_or_path: str | Path) -> Path:
    """Give the path of a bundle that is named by its path, or by the name of a shipped one.

    Raises
    ------
    WeightsError
        When there is neither; the message lists the shipped ones.
    """
    path, known = Path(name_or_path), shipped()
    if path.exists():
        return path
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    raise WeightsError(
        f"{name_or_path} is no file or folder, and no bundle of this name is shipped. Wanted: the "
        f"path of a bundle, or one of: {', '.join(known) or '(none is shipped)'}"
    )


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Check a bundle, a folder or a zip file, and give it as long as the block lasts.

    Raises
    ------
    WeightsError
        When it is not there, is damaged, of another format or version, lacks a file, or has one
        that is not the bundle's own; nothing of a zip that is refused stays on the disk.
    """
    if path.is_dir():
        yield _read(path, named=path)
    elif path.exists():
        with tempfile.TemporaryDirectory(prefix="somnoflow-") as folder:
            _unpack(path, to=Path(folder))
            yield _read(Path(folder), named=path)
    else:
        raise WeightsError(f"{path} is not there, wanted a bundle: a folder, or a zip file")


def write_bundle(path: Path, about: BundleAbout, files: Mapping[str, Path], card: str) -> None:
    """Write a bundle as a zip file; the same content is the same bytes.

    Parameters
    ----------
    path
        File to write; to be given a temporary name, as all outputs.
    about
        Its model.json. Its `weights` are checked against `files`.
    files
        The weights by their names in the bundle.
    card
        Text of README.md.

    Raises
    ------
    ValueError
        When a file is not the one that `about` names.
    """
    found = {name: sha256_file(file) for name, file in files.items()}
    if found != about.weights:
        raise ValueError(
            f"the weights of {about.name} are {found}, wanted those of its description: "
            f"{about.weights}"
        )
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_STORED) as archive:
        archive.writestr(_member(CARD), card)
        for name, file in sorted(files.items()):
            member = _member(name)
            member.file_size = file.stat().st_size
            with archive.open(member, "w") as to, file.open("rb") as source:
                shutil.copyfileobj(source, to)
        archive.writestr(_member(ABOUT), as_json(about))


def as_json(about: BundleAbout) -> str:
    """Give model.json: the same description is the same text."""
    content = about.model_dump(mode="json")
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, date_time=DATE)
    member.create_system = UNIX
    member.external_attr = READABLE << 16
    return member


def _unpack(path: Path, *, to: Path) -> None:
    """Write the members of a zip file into a folder, all of them of known names and sizes."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _require_members(members, path=path)
            for member in members:
                with archive.open(member) as source, (to / member.filename).open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (*DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise WeightsError(
            f"{path} is no whole zip file ({error}), wanted a bundle. {AGAIN}"
        ) from error


def _require_members(members: list[zipfile.ZipInfo], *, path: Path) -> None:
    """Raise where a zip file has what no bundle has, before anything of it is written."""
    seen: set[str] = set()
    for member in members:
        name, mode = member.filename, member.external_attr >> 16
        problem = None
        if name not in LIMITS:
            problem = f"the file {name!r}"
        elif name in seen:
            problem = f"the file {name!r} twice"
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            problem = f"{name!r} as something other than a plain file (mode {mode:o})"
        elif member.flag_bits & ENCRYPTED:
            problem = f"{name!r} encrypted"
        elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = f"{name!r} compressed in a way that is not read here"
        elif member.file_size > LIMITS[name]:
            problem = f"{name!r} of {member.file_size} bytes, at most {LIMITS[name]} are read"
        elif member.file_size > MOST_RATIO * member.compress_size:
            problem = f"{name!r}, which unpacks to more than {MOST_RATIO} times its size"
        if problem:
            raise WeightsError(
                f"{path} holds {problem}, wanted a bundle of {', '.join(LIMITS)} at most, as plain "
                f"files without folders. Do not use it, or zip these files alone"
            )
        seen.add(name)


def _read(folder: Path, *, named: Path) -> Bundle:
    """Check the files of a bundle in a folder; `named` is what the messages call it."""
    text = _content(folder / ABOUT, named=named)
    about = _read_about(text, named=named)
    _content(folder / CARD, named=named)
    for name, wanted in about.weights.items():
        if not (folder / name).is_file():
            raise WeightsError(f"{named} lacks {name}, which its {ABOUT} names. {AGAIN}")
        found = sha256_file(folder / name)
        if found != wanted:
            raise WeightsError(
                f"{name} of {named} is not the file that {ABOUT} describes: found sha256 {found}, "
                f"wanted {wanted}. {AGAIN}"
            )
    return Bundle(about=about, folder=folder, digest=hashlib.sha256(text).hexdigest())


def _content(path: Path, *, named: Path) -> bytes:
    if not path.is_file():
        raise WeightsError(
            f"{named} lacks {path.name}, wanted a bundle: {ABOUT}, {CARD} and weights. {AGAIN}"
        )
    if (size := path.stat().st_size) > LIMITS[path.name]:
        raise WeightsError(
            f"{path.name} of {named} has {size} bytes, wanted at most {LIMITS[path.name]}. {AGAIN}"
        )
    return path.read_bytes()


def _read_about(text: bytes, *, named: Path) -> BundleAbout:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{ABOUT} of {named} is no JSON ({error}). {AGAIN}") from error
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise WeightsError(
            f"{ABOUT} of {named} has the format {found}, wanted {FORMAT}: was it written by "
            "another version of Somnoflow? Install that one, or get a bundle of this one"
        )
    try:
        return BundleAbout.model_validate(values)
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or '(whole)'}: {one['msg']}" for one in error.errors()
        )
        raise WeightsError(
            f"{ABOUT} of {named}, written by Somnoflow {values.get('somnoflow', '(not said)')}, is "
            f"not as this version reads it: {mistakes}. {AGAIN}"
        ) from error
