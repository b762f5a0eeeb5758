"""Translations of frames, and checks that both engines give the same for a frame."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

from fastlog import Translator
from fastlog.block import LENGTH, Block, Kind, make_run
from fastlog.core import EXTRA, PLAIN, TREE
from fastlog.decode import Decoder, copy_rows
from fastlog.decode.c_engine import BOUNDS, columns, meanings
from fastlog.decode.json_lines import encode
from fastlog.record import Record

PYTHON, C, LINES = Decoder("python"), Decoder("c"), Decoder("c", "lines")
NODE = bytes(range(16))
COPY = Decoder("c", "copy", NODE)


def make_translator() -> Translator:
    return Translator(columns(), BOUNDS, meanings())


def body_of(frames: Iterable[bytes]) -> bytes:
    return b"".join(LENGTH.pack(len(frame)) + frame for frame in frames)


_TRANSLATOR = make_translator()
"""Making one takes fifty times longer than the translation of a frame."""


def translate(*frames: bytes) -> tuple[list[int], bytes]:
    """Return the verdicts and the translation."""
    translator = _TRANSLATOR
    translator.begin(1.5, 7)
    verdicts = translator.run(body_of(frames), len(frames), 0, "h")
    return list(verdicts or [PLAIN] * len(frames)), bytes(translator.end().rows)


def rows_of(*frames: bytes) -> list[Record]:
    return [Record._make(row) for row in pickle.loads(translate(*frames)[1])]


def verdict_of(frame: bytes) -> int:
    return translate(frame)[0][0]


def check(frame: bytes) -> int:
    """Return the verdict, after asserting that both engines give the same in all forms."""
    payload = make_run(Kind.STOCK, [frame], peer="h:1")
    block = Block(0, len(payload), 0, 1, 1_500_000, memoryview(payload))
    by_python = PYTHON.decode(block)
    assert repr(C.decode(block)) == repr(by_python)
    lines = b"".join(encode(record) + b"\n" for record in by_python.records)
    assert LINES.decode(block).lines == lines
    tuples = b"".join(copy_rows.encode(record, NODE) for record in by_python.records)
    assert COPY.decode(block).copy == tuples
    return verdict_of(frame)


def is_plain(frame: bytes) -> bool:
    return check(frame) == PLAIN


def is_read(frame: bytes) -> bool:
    """Return whether the translator reads the frame, plain or not."""
    return check(frame) in (PLAIN, EXTRA, TREE)


def record_of(frame: bytes) -> Record:
    payload = make_run(Kind.STOCK, [frame], peer="h:1")
    (record,) = C.decode(Block(0, len(payload), 0, 1, 1_500_000, memoryview(payload))).records
    return record


def frame_with(value: Any, protocol: int = 1, **fields: Any) -> bytes:
    return pickle.dumps({"msg": "m", **fields, "x": value}, protocol)


def opcodes_with(opcodes: bytes) -> bytes:
    """Return a record whose attribute `x` is the value that these opcodes push."""
    return b"\x80\x02}(X\x03\0\0\0msgX\x02\0\0\0hiX\x01\0\0\0x" + opcodes + b"u."
