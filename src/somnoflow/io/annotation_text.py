"""Read text annotations: their encoding and lines, and files with one code per line and page.

What is decided here:

- A byte order mark says the encoding; only a file without one is read as `encoding` says.
- A text with NUL characters is refused: it is UTF-16 without a byte order mark, or no text.
- Lines end with a line feed, a carriage return or both, and with nothing else.
- Of a file with codes, blank lines at the end are ignored. A blank line elsewhere is refused: it
  could be a page without a stage, or none, and all labels after it depend on that.
"""

import codecs
from pathlib import Path

from somnoflow.config.annotation import Annotation, Encoding
from somnoflow.io.rejection import Rejection
from somnoflow.io.scoring import Scoring, ScoringBuilder, read_file
from somnoflow.stages import EPOCH_SECONDS

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_codes(path: Path, annotation: Annotation) -> Scoring:
    """Read one code per line; line n is the stage of page n.

    Raises
    ------
    Rejection
        When the file cannot be read, or a line is no known code.
    """
    builder = ScoringBuilder(annotation, file=path.name)
    page = float(annotation.page_seconds or EPOCH_SECONDS)
    lines = read_text(path, encoding=annotation.encoding or "utf-8").rstrip().split("\n")
    for number, code in enumerate(lines):
        builder.add_stage(number * page, page, code, where=f"line {number + 1}")
    return builder.scoring


def read_text(path: Path, *, encoding: Encoding) -> str:
    r"""Read a text whose lines end with `\n`.

    Raises
    ------
    Rejection
        When the file cannot be read, is empty, or is no text in its encoding.
    """
    content = read_file(path)
    mark, name = next((one for one in _MARKS if content.startswith(one[0])), (b"", ""))
    name = name or ("utf-16-le" if encoding == "utf-16" else encoding)
    try:
        text = content.removeprefix(mark).decode(name)
    except UnicodeDecodeError as error:
        raise _no_text(path, found=str(error)) from error
    if "\0" in text:
        raise _no_text(path, found="NUL characters, as in UTF-16")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _no_text(path: Path, *, found: str) -> Rejection:
    return Rejection(
        problem="the annotation file cannot be read",
        found=f"{path.name}: {found}",
        wanted="a text file in UTF-8, or in the encoding that `encoding` names",
        advice="Save it as text in UTF-8; or say under `encoding` (of csv, noxturnal-csv, codes) "
        "in dataset.yaml that it is latin-1 or utf-16",
    )
