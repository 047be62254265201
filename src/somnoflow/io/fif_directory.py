"""Look through the directory of a FIF file before MNE follows it.

A FIF file is a row of tagged pieces, some with a directory of them. MNE goes wherever directory and
pieces point, reads as much as they say, and opens further files that they name. What is decided
here:

- Every piece must lie within the file, after the one before it, and be as the directory says. A
  file without a directory must reach the piece that says that it is the last.
- One part of a recording in several files is refused, wherever the other parts are.
- A compressed file of more than 8 GiB unpacked is refused: no night is that large, but a small file
  can unpack to any size.

Source: the FIF format as MNE reads it (`mne._fiff`), for the pieces that matter here.
"""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from somnoflow.io.rejection import Rejection
from somnoflow.io.source import COPY_AGAIN

MOST_UNPACKED = 1 << 33
_BLOCK = 1 << 20
_TAG = struct.Struct(">iIii")
_INTEGER = struct.Struct(">i")
_FILE_ID, _DIRECTORY_POINTER, _FILE_NUMBER, _FILE_NAME = 100, 101, 117, 118
_DATA_BUFFER, _DATA_SKIP = 300, 301
_ID, _DIRECTORY = 31, 32
_MATRIX = 0xFFFF0000
_TYPES = frozenset({*range(9), 10, 16, 20, 21, 23, 30, 31, 32, 33, 35, 36})  # that MNE can read
_SAMPLE_BYTES = {2: 2, 3: 4, 4: 4, 5: 8, 16: 2}

_File = gzip.GzipFile | BinaryIO


@dataclass(frozen=True)
class FifBuffer:
    """One data buffer: values of all channels, after `skipped` buffers that were not recorded."""

    values: int
    skipped: int


@dataclass(frozen=True)
class _Tag:
    """One piece: `size` bytes after its own 16 at `position`."""

    kind: int
    type: int
    size: int
    position: int

    @property
    def end(self) -> int:
        return self.position + _TAG.size + self.size


def read_fif_buffers(path: Path) -> list[FifBuffer]:
    """Check a FIF file's directory, and give its data buffers in order.

    Raises
    ------
    Rejection
        When the file is not FIF, is truncated or damaged, or is one part of several.
    OSError, EOFError, zlib.error
        When it cannot be read, or not be unpacked.
    """
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        size = _measure(file)
        tags = _read_directory(file, size=size)
        if any(tag.kind in (_FILE_NUMBER, _FILE_NAME) for tag in tags):
            raise Rejection(
                problem="one part of a recording in several files",
                found="a FIF file that names another one",
                wanted="a recording in one file",
                advice="Save the recording in one file, with MNE: raw.save(name, split_size='2GB')",
            )
        _require_pieces(file, tags, size=size)
        return _find_buffers(file, tags)


def _measure(file: _File) -> int:
    """Give the size of a file, unpacked."""
    size = 0
    while block := file.read(_BLOCK):
        size += len(block)
        if size > MOST_UNPACKED:
            raise Rejection(
                problem="unpacks to too much",
                found=f"more than {MOST_UNPACKED >> 30} GiB in a compressed file",
                wanted=f"at most {MOST_UNPACKED >> 30} GiB",
                advice="Unpack the recording, and give the .fif file",
            )
    return size


def _read_directory(file: _File, *, size: int) -> list[_Tag]:
    first, _ = _read_tag(file, 0)
    if (first.kind, first.type, first.size) != (_FILE_ID, _ID, 20):
        raise Rejection(
            problem="not a FIF file",
            found=f"a file of {size} bytes that does not begin as FIF does",
            wanted="a FIF recording",
            advice="Check the file, or export the recording as EDF",
        )
    pointer, _ = _read_tag(file, first.end)
    if pointer.kind != _DIRECTORY_POINTER or pointer.size != _INTEGER.size:
        raise _damaged("no pointer to the directory")
    start = _read_integer(file, pointer)
    if start <= 0:
        return _walk(file)
    directory, _ = _read_tag(file, start)
    if directory.type != _DIRECTORY or directory.end > size or directory.size % _TAG.size:
        raise _damaged(f"no directory at byte {start} of {size}")
    file.seek(start + _TAG.size)
    content = file.read(directory.size)
    return [_Tag(*entry) for entry in _TAG.iter_unpack(content)]


def _walk(file: _File) -> list[_Tag]:
    """Go from piece to piece, as MNE does where there is no directory, up to the last one."""
    tags: list[_Tag] = []
    position = 0
    while position >= 0:
        tag, following = _read_tag(file, position)
        if tag.size < 0 or (tags and tag.position < tags[-1].end):
            raise _damaged(f"a piece of {tag.size} bytes at byte {position}, out of its order")
        tags.append(tag)
        position = following or tag.end
    return tags


def _require_pieces(file: _File, tags: list[_Tag], *, size: int) -> None:
    end = 0
    for tag in tags:
        known = tag.type & _MATRIX or tag.type in _TYPES
        if tag.size < 0 or tag.position < end or tag.end > size or not known:
            raise _damaged(f"an entry of the directory for {tag.size} bytes at {tag.position}")
        if _read_tag(file, tag.position)[0] != tag:
            raise _damaged(f"another piece at byte {tag.position} than the directory says")
        end = tag.end


def _find_buffers(file: _File, tags: list[_Tag]) -> list[FifBuffer]:
    buffers: list[FifBuffer] = []
    skipped = 0
    for tag in tags:
        if tag.kind == _DATA_SKIP:
            skipped = _read_integer(file, tag)
        elif tag.kind == _DATA_BUFFER:
            if tag.type not in _SAMPLE_BYTES or skipped < 0:
                raise _damaged(f"a data buffer of type {tag.type} after {skipped} skipped ones")
            buffers.append(FifBuffer(tag.size // _SAMPLE_BYTES[tag.type], skipped))
            skipped = 0
    return buffers


def _read_tag(file: _File, position: int) -> tuple[_Tag, int]:
    """Give the piece at a byte, and where it says that the next is: 0 behind it, -1 nowhere."""
    file.seek(position)
    content = file.read(_TAG.size)
    if len(content) < _TAG.size:
        raise _damaged(f"nothing at byte {position}")
    kind, form, size, following = _TAG.unpack(content)
    return _Tag(kind, form, size, position), following


def _read_integer(file: _File, tag: _Tag) -> int:
    file.seek(tag.position + _TAG.size)
    content = file.read(_INTEGER.size)
    if tag.size != _INTEGER.size or len(content) < _INTEGER.size:
        raise _damaged(f"no number at byte {tag.position}")
    return int(_INTEGER.unpack(content)[0])


def _damaged(found: str) -> Rejection:
    return Rejection(
        problem="truncated or damaged FIF file",
        found=found,
        wanted="a directory of what is in the file",
        advice=COPY_AGAIN,
    )
