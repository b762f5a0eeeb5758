"""Frames that cost much for their length: known ones, and those that a search found.

`costliest.py` searches; `data/costly` has what it found.
"""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from grammar import MOMENT

CORPUS = Path(__file__).parent / "data" / "costly"


def _repeated(opcodes: bytes, unit: bytes, times: int) -> bytes:
    """Return a frame with an attribute that is a list: the values of `opcodes`, then those of the
    unit, `times` times."""
    head = b"\x80\x04}(\x8c\3msg\x8c\1m\x8c\1x("
    return head + opcodes + unit * times + b"lu."


_MOMENT = b"C\x0a" + MOMENT
KNOWN = {
    "a path of 256 parts": _repeated(
        b"cpathlib\nWindowsPath\n(\x8c\1aq\1" + b"h\1" * 254 + b"\x8c\3C:\\tRq\0", b"h\0", 19_000
    ),
    "paths": _repeated(b"cpathlib\nPureWindowsPath\nq\0\x8c\1aq\1", b"h\0h\1h\1h\1\x87R", 7_000),
    "an ordered dict": _repeated(
        b"ccollections\nOrderedDict\n}(" + b"J####N" * 250 + b"u\x85Rq\0", b"h\0", 19_000
    ),
    "slots": _repeated(
        b"capp\nC\n)RN}(" + b"\x8c\4####N" * 250 + b"u\x86bq\0", b"h\0", 19_000
    ),
    "zoned datetimes": _repeated(
        b"czoneinfo\nZoneInfo._unpickle\n\x8c\rEurope/BerlinK\1\x86Rq\0cdatetime\ndatetime\nq\1"
        + _MOMENT + b"q\2", b"h\1h\2h\0\x86R", 8_000
    ),
    "objects of a class": _repeated(b"capp\nC\nq\5", b"h\5)R", 16_000),
    "objects of objects": _repeated(b"capp\nC\n" + b")R" * 30 + b"q\5", b"h\5)R", 16_000),
    "an array": _repeated(
        b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\1b\x87R(K\1M\xe8\3\x85"
        b"cnumpy\ndtype\n\x8c\2f8\x89\x88\x87R(K\3\x8c\1<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
        b"\x89B" + struct.pack("<I", 8000) + bytes(8000) + b"tbq\0", b"h\0", 19_000
    ),
    "arrays in the order of Fortran": _repeated(
        b"cnumpy._core.multiarray\n_reconstruct\nq\1)q\3(K\1(M\xe8\3" + b"K\1" * 31
        + b"tcnumpy\ndtype\n\x8c\2b1\x89\x88\x87R(K\3\x8c\1<NNN"
        + b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x88B"
        + struct.pack("<I", 1000) + bytes(1000) + b"tq\2", b"h\1h\3Rh\2b", 2_000
    ),
    "arrays of characters": _repeated(
        b"cnumpy._core.multiarray\n_reconstruct\nq\1)q\3(K\1M\xe8\3\x85cnumpy\ndtype\n"
        b"\x8c\2S1\x89\x88\x87R(K\3\x8c\1<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89B"
        + struct.pack("<I", 1000) + b"x" * 1000 + b"tq\2", b"h\1h\3Rh\2b", 2_000
    ),
    "a long argument of many conversions": (
        b"\x80\4}(\x8c\3msgX" + struct.pack("<I", 80_000) + b"%(a).1r " * 10_000
        + b"\x8c\4args}\x8c\1aX" + struct.pack("<I", 100_000) + "é".encode() * 50_000 + b"su."
    ),
    "keys of tuples": _repeated(b"K\1K\2\x86q\0", b"}h\0Ns", 8_000),
    "dicts of dicts": _repeated(b"}(" + b"J####N" * 30 + b"uq\0", b"h\0", 19_000),
}  # fmt: skip
"""Frames by what they hold."""


class Find(NamedTuple):
    """A costly frame that a search found."""

    name: str
    frame: bytes


def load_corpus(folder: Path = CORPUS) -> list[Find]:
    """Return the frames of earlier searches. A file is a line of text, then the frame,
    compressed, in base64."""
    finds = []
    for path in sorted(folder.glob("*.frame")):
        _, _, packed = path.read_text().partition("\n")
        finds.append(Find(path.stem, zlib.decompress(base64.b64decode(packed))))
    return finds


def save_find(find: Find, words: str, folder: Path = CORPUS) -> Path:
    """Write a find to the corpus; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{find.name}.frame"
    packed = base64.b64encode(zlib.compress(find.frame, 9)).decode("ascii")
    lines = [packed[at : at + 100] for at in range(0, len(packed), 100)]
    path.write_text("\n".join([words, *lines, ""]))
    return path
