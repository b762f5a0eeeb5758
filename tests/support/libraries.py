"""The pickles in `data/libraries`, which `data/make_libraries.py` made with real libraries."""

from __future__ import annotations

import base64
import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "data" / "libraries"
FILES = sorted(path.stem for path in FOLDER.glob("*.frames"))


class Sample(NamedTuple):
    """A frame of a record whose attribute `x` is a value of a library."""

    name: str
    protocol: int
    frame: bytes


@cache
def samples(file: str) -> list[Sample]:
    """Return all samples of one interpreter and its libraries."""
    lines = (FOLDER / f"{file}.frames").read_text().splitlines()
    packed = "".join(line for line in lines if not line.startswith("#"))
    data = zlib.decompress(base64.b64decode(packed))
    found, at = [], 0
    while at < len(data):
        end = data.index(b"\n", at)
        name, protocol, length = str(data[at:end], "ascii").split()
        at = end + 1 + int(length)
        found.append(Sample(name, int(protocol), data[end + 1 : at]))
    return found
