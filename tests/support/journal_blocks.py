"""Blocks of a journal: made, read back, and damaged."""

from __future__ import annotations

from pathlib import Path

from fastlog.block import Block, Kind, frames, make_run, runs
from fastlog.journal import JournalReader

KIB = 1 << 10


def run_of(*payloads: bytes) -> bytes:
    return make_run(Kind.STOCK, payloads, peer="127.0.0.1:5")


def payloads(blocks: list[Block]) -> list[bytes]:
    return [bytes(f) for b in blocks for r in runs(b.payload) for f in frames(r)]


def read_all(directory: Path, offset: int = 0) -> list[Block]:
    reader = JournalReader(directory)
    found: list[Block] = []
    while more := reader.read(offset, 64 * KIB):
        found += more
        offset = more[-1].end
    reader.close()
    return found


def overwrite(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff\xee\xdd")
