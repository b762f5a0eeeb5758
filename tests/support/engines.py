"""Whether the engines give the same answer to a frame, in either form; and the least that differs.

`python tests/engines.py FRAME…` compares frames in files (raw, or in base64), and shows what
differs.
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

from fastlog.block import Block, Kind, make_run
from fastlog.decode import Decoded, Decoder, Form

FORMS: tuple[Form, ...] = ("records", "lines")


def block_of(frames: Sequence[bytes]) -> Block:
    """A block of one run with these frames."""
    payload = make_run(Kind.STOCK, frames, peer="10.0.0.9:5", connection=1)
    return Block(7, len(payload) + 56, 0, len(frames), 1_785_000_000_123_457, memoryview(payload))


@cache
def decoder(engine: str, form: Form) -> Decoder:
    return Decoder(engine, form)


def answer(decoded: Decoded) -> str:
    """All that a sink and the ledger would get."""
    records = [tuple(record) for record in decoded.records]
    notes = [(idx, repr(note)) for idx, note, _ in decoded.notes]
    return f"{records}\n{notes}\n{decoded.lines!r}"


def difference(frames: Sequence[bytes]) -> str:
    """What the engines answer to a block of these frames, where that differs; else nothing."""
    block = block_of(frames)
    for form in FORMS:
        by_c, by_python = (
            answer(decoder(engine, form).decode(block)) for engine in ("c", "python")
        )
        if by_c != by_python:
            return f"{form} differ\nC:      {by_c}\nPython: {by_python}"
    return ""


def differing(frames: Sequence[bytes]) -> list[bytes]:
    """Which of these frames are answered differently, each by itself.

    They are compared as one block first, which costs less. Where only the block differs, all of
    them are returned.
    """
    if not difference(frames):
        return []
    return [frame for frame in frames if difference([frame])] or list(frames)


def opcodes(frame: bytes) -> list[bytes]:
    """The frame in opcodes with their arguments; what cannot be read belongs to the last one."""
    starts = []
    try:
        for _, _, at in pickletools.genops(frame):
            starts.append(at or 0)
    except Exception:  # of many kinds
        starts = starts or [0]
    return [frame[start:stop] for start, stop in pairwise([*starts, len(frame)])]


def splice(frame: bytes, other: bytes, chance: random.Random, limit: int = 2_000) -> bytes:
    """The frame with some of its opcodes repeated, left out or swapped, and some of another's.

    Args:
        limit: bytes that repeating may make of them.
    """
    pieces, foreign = opcodes(frame), opcodes(other)
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
                start = chance.randrange(len(foreign))
                pieces[at:at] = foreign[start : start + size]
            case _:
                to = chance.randrange(len(pieces))
                pieces[at], pieces[to] = pieces[to], pieces[at]
        pieces = pieces or [b"N"]
    return b"".join(pieces)


def least(frame: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """The frame without all the opcodes that it can be without, and still fails."""
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
    """The shortest form of a frame that is answered differently, and the answers."""
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
