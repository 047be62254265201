"""What the names of recordings say: where the subject and the night are in them.

What is decided here:

- The subject is the name of the file without its suffix, and without a last word that all names
  share (`-PSG`, `_eeg`). A night is told where every name ends in one (`P01_n2`, `P01-ses-1`).
- Where names are the same in several folders (`P01/night.edf`, `P02/night.edf`), the folder is the
  subject; a number at the end of every name is the night then.
- In names of BIDS (`sub-01_ses-2_task-sleep`), `sub` is the subject, and a session that is a number
  the night.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

SUBJECT = "[A-Za-z0-9_.-]+?"
_NIGHT = r"[_-](?:n|night|ses-?|visit|v)(?P<night>\d{1,2})"
_BIDS = (
    r"(?P<subject>sub-[A-Za-z0-9]+)(?:_ses-(?:(?P<night>\d+)|[A-Za-z0-9]+))?"
    r"(?:_(?:task|acq|run|recording)-[A-Za-z0-9]+)*"
)
_NUMBER = r"(?P<night>\d{1,2})"


@dataclass(frozen=True)
class Naming:
    """How recordings are named.

    `begin` is the regular expression up to the subject and night, `tail` the word that all names
    end in, `cores` are the names without it and without their suffix.
    """

    begin: str
    tail: str
    cores: frozenset[str]
    suffixes: tuple[str, ...]
    tells_nights: bool


def name_recordings(files: Sequence[str]) -> Naming:
    """Say how recordings are named, from their paths below the folder."""
    stems = [split_suffix(file)[0] for file in files]
    tail = _common_tail(stems)
    cores = [stem.removesuffix(tail) for stem in stems]
    below = "(?:.*/)?" if any("/" in file for file in files) else ""
    bids = [re.fullmatch(_BIDS, core) for core in cores]
    if all(bids):
        nights = any(match and match["night"] for match in bids)
        begin = below + _BIDS
    elif len(set(cores)) < len(cores) and all("/" in file for file in files):
        folders = Counter(PurePosixPath(file).parent for file in files)
        nights = max(folders.values()) > 1 and all(re.search(r"\d$", core) for core in cores)
        begin = f"{below}(?P<subject>{SUBJECT})/[^/]*?" + (_NUMBER if nights else "")
    else:
        nights = all(re.fullmatch(SUBJECT + _NIGHT, core) for core in cores)
        begin = f"{below}(?P<subject>{SUBJECT})" + (_NIGHT if nights else "")
    return Naming(
        begin=begin,
        tail=tail,
        cores=frozenset(cores),
        suffixes=tuple(sorted({split_suffix(file)[1] for file in files})),
        tells_nights=nights,
    )


def split_suffix(file: str) -> tuple[str, str]:
    """Give the name of a file without folders and suffix, and the suffix (`.fif.gz` is one)."""
    name = PurePosixPath(file).name
    suffix = re.search(r"(\.fif\.gz|\.[^.]*)?$", name, re.IGNORECASE)
    end = suffix.start() if suffix else len(name)
    return name[:end], name[end:]


def one_of(texts: Sequence[str]) -> str:
    """Give the regular expression of any of some texts."""
    found = "|".join(re.escape(text) for text in texts)
    return f"(?:{found})" if len(texts) > 1 else found


def _common_tail(stems: Sequence[str]) -> str:
    tails = {re.sub(r"^.*(?=[-_.][A-Za-z]+$)", "", stem) for stem in stems}
    tail = tails.pop()
    several = len(set(stems)) > 1
    return tail if several and not tails and tail[:1] in ("-", "_", ".") else ""
