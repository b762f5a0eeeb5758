"""A worker with a journal, a sink and a clock that the test controls."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from builders import NODE, Clock, MemoryJournal, make_block, make_context

from fastlog.block import Block
from fastlog.decode import Decoded, Decoder
from fastlog.journal import ProgressPage, Reading, SinkPosition, read_positions
from fastlog.ledger import Ledger
from fastlog.sinks import Sink
from fastlog.worker.worker import Worker


class ListSink(Sink):
    """Keeps messages in memory, and fails with the errors that a test sets."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(make_context(data_dir, "list:"))
        self.at = self.durable = 0
        self.stored: list[str] = []
        self.unstorable: set[str] = set()
        self.names_rows = True
        self.errors: list[Exception] = []
        self.calls: list[int] = []
        self.failures: dict[str, int] = {}
        self.opened = self.ticks = 0

    def open(self, node: str) -> int:
        self.opened += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.at

    def apply(self, blocks: Sequence[Decoded]) -> None:
        self.calls.append(len(blocks))
        if self.errors:
            raise self.errors.pop(0)
        for decoded in blocks:
            messages = [record.message for record in decoded.records]
            if self.unstorable & set(messages):
                raise ValueError("this sink rejects it")
            self.stored += messages
            self.at = decoded.block.end

    def cursor(self) -> int:
        return self.at

    def sync(self) -> int:
        self.durable = self.at
        return self.at

    def tick(self) -> None:
        self.ticks += 1

    def failing(self) -> dict[str, int]:
        return dict(self.failures)

    def offending(self, block: Decoded) -> dict[int, str]:
        if not self.names_rows:
            return {}
        return {r.idx: "unwanted" for r in block.records if r.message in self.unstorable}

    def close(self) -> None:
        pass


class Bench:
    """A worker with a journal, a sink and a clock that the test controls."""

    def __init__(self, tmp_path: Path, blocks: Sequence[Block], sink: Sink | None = None) -> None:
        self.data_dir = tmp_path
        self.journal = MemoryJournal(blocks)
        self.sink = sink or ListSink(tmp_path)
        self.clock = Clock()
        self.start()

    def start(self) -> None:
        self.worker = Worker(
            self.journal,
            Decoder(form=self.sink.form),
            self.sink,
            Ledger(self.data_dir / "ledger.db"),
            "list",
            self.data_dir,
            clock=self.clock,
            monotonic=self.clock,
        )

    def run(self, steps: int = 1, seconds: float = 0.0) -> None:
        for _ in range(steps):
            self.clock.now += seconds
            self.worker.step()

    def position(self) -> SinkPosition:
        return read_positions(self.data_dir)["list"]

    def progress(self) -> Reading:
        with ProgressPage(self.data_dir, "list", NODE) as page:
            reading = page.read()
        assert reading is not None
        return reading

    def ledger(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.data_dir / "ledger.db")) as connection:
            return connection.execute(sql).fetchall()


def chain_of(*contents: Sequence[str]) -> list[Block]:
    blocks: list[Block] = []
    offset = index = 0
    for messages in contents:
        blocks.append(make_block(messages, offset=offset, index=index))
        offset, index = blocks[-1].end, index + len(messages)
    return blocks
