"""A comparison of the engines, in all forms; and the shortest frame on which they differ.

`python tests/support/engines.py FRAME…` compares frames in files (raw, or in base64), and prints
the differences.
"""

from __future__ import annotations

import base64
import pickletools
import random
import sys
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from columns import records_in

from fastlog.block import Block, Kind, make_run
from fastlog.decode import Decoded, Decoder, Form, copy_rows
from fastlog.decode.columns import columns_of
from fastlog.decode.json_lines import encode

FORMS: tuple[Form, ...] = ("records", "lines", "columns", "copy")


def block_of(frames: Sequence[bytes]) -> Block:
    """Return a block of one run with these frames."""
    payload = make_run(Kind.STOCK, frames, peer="10.0.0.9:5", connection=1)
    return Block(7, len(payload) + 56, 0, len(frames), 1_785_000_000_123_457, memoryview(payload))


@cache
def decoder(engine: str, form: Form) -> Decoder:
    return Decoder(engine, form)


def result_of(decoded: Decoded) -> str:
    """Return as text all that a sink and the ledger would get."""
    found = decoded.records
    if decoded.columns is not None:
        found = records_in(decoded.block, decoded.columns)
    records = [tuple(record) for record in found]
    notes = [(idx, repr(note)) for idx, note, _ in decoded.notices]
    tuples = sorted(copy_rows.tuples(decoded.copy))  # those of plain frames come first
    return f"{records}\n{notes}\n{decoded.lines!r}\n{tuples}"


def in_form(form: Form, decoded: Decoded, frames: Sequence[bytes]) -> Decoded:
    """Return the result of the Python engine in another form, from its records.

    It reads the same records in every form, and writes them at the end, except lines of JSON
    frames: these it copies, so it decodes them again.
    """
    records = decoded.records
    if form == "lines":
        if any(frame.startswith(b"{") for frame in frames):
            return decoder("python", form).decode(decoded.block)
        lines = b"".join(encode(record) + b"\n" for record in records)
        return decoded._replace(records=[], lines=lines)
    if form == "columns":
        return decoded._replace(records=[], columns=columns_of(records))
    if form == "copy":
        copy = b"".join(copy_rows.encode(record) for record in records)
        return decoded._replace(records=[], copy=copy)
    return decoded


def difference(frames: Sequence[bytes]) -> str:
    """Return the results of the engines for a block of these frames if they differ, else ""."""
    block = block_of(frames)
    as_records = decoder("python", "records").decode(block)
    for form in FORMS:
        by_c = result_of(decoder("c", form).decode(block))
        by_python = result_of(in_form(form, as_records, frames))
        if by_c != by_python:
            return f"{form} differ\nC:      {by_c}\nPython: {by_python}"
    return ""


def differing(frames: Sequence[bytes]) -> list[bytes]:
    """Return the frames on which the engines differ, each by itself.

    They are compared as one block first, which costs less. If the engines differ only on the block,
    all frames are returned.
    """
    if not difference(frames):
        return []
    return [frame for frame in frames if difference([frame])] or list(frames)


def opcodes(frame: bytes) -> list[bytes]:
    """Return the opcodes of a frame with their arguments; the last has an unreadable rest."""
    starts = []
    try:
        for _, _, at in pickletools.genops(frame):
            starts.append(at or 0)
    except Exception:  # of many kinds
        starts = starts or [0]
    return [frame[start:stop] for start, stop in pairwise([*starts, len(frame)])]


def splice(frame: bytes, other: bytes, chance: random.Random, limit: int = 2_000) -> bytes:
    """Return a frame with some of its opcodes repeated, left out or swapped, or some of another's.

    Args:
        frame, other: The frames.
        chance: The source of the choices.
        limit: Bytes that a repeated part may have.
    """
    pieces, other_pieces = opcodes(frame), opcodes(other)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(pieces))
        size = chance.choice((1, 1, 2, 3, 5, 20))
        match chance.randrange(4):
            case 0:
                times = chance.choice((2, 2, 4, 30, 300))
                part = pieces[at : at + size]
                pieces[at : at + size] = part * min(times, limit // max(1, len(b"".join(part))))
            case 1 if len(pieces) > size + 1:
                del pieces[at : at + size]
            case 2:
                start = chance.randrange(len(other_pieces))
                pieces[at:at] = other_pieces[start : start + size]
            case _:
                to = chance.randrange(len(pieces))
                pieces[at], pieces[to] = pieces[to], pieces[at]
        pieces = pieces or [b"N"]
    return b"".join(pieces)


def least(frame: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Return the frame without every opcode that it does not need to fail."""
    pieces = opcodes(frame)
    size = len(pieces) // 2
    while size:
        at = 0
        while at < len(pieces):
            fewer = pieces[:at] + pieces[at + size :]
            if fails(b"".join(fewer)):
                pieces = fewer
            else:
                at += size
        size //= 2
    return b"".join(pieces)


def explain(frame: bytes) -> str:
    """Return the shortest form of a frame on which the engines differ, and their results."""
    short = least(frame, lambda each: bool(difference([each])))
    return f"frame: {short!r}\n{difference([short])}"


def main(paths: Sequence[str]) -> int:
    found = 0
    for path in paths:
        data = Path(path).read_bytes()
        frame = data if data[:1] in b"\x80}({c" else base64.b64decode(data)
        if difference([frame]):
            found += 1
            print(path, explain(frame), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
