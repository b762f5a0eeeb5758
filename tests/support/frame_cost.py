"""The cost of a frame: the CPU time that decoding and storing it takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from logging import LogRecord
from logging.handlers import SocketHandler
from pathlib import Path
from typing import NamedTuple

from builders import NODE, MemoryJournal, make_context
from costly_grammar import DIGITS

from fastlog.block import HEADER, LENGTH, Block, Kind, make_run
from fastlog.decode import Decoder, Form
from fastlog.ledger import Ledger
from fastlog.sinks import make_sink
from fastlog.worker.worker import Worker

BLOCK = 8_192
"""Bytes of a block that is measured; it has copies of a shorter frame."""
NOW = 1_785_000_000


class Way(NamedTuple):
    """An engine, a form and a sink."""

    engine: str
    form: Form
    sink: str

    def __str__(self) -> str:
        return f"{self.engine} {self.form}"


WAYS = (
    Way("c", "columns", "sqlite:"),
    Way("c", "lines", "ndjson:///lines"),
    Way("python", "columns", "sqlite:"),
)
_fresh = count()


def copies(frame: bytes, size: int = BLOCK) -> list[bytes]:
    """Return copies of a frame that have `size` bytes together, each with different digits."""
    times = max(1, size // max(1, len(frame)))
    if DIGITS not in frame:
        return [frame] * times
    return [frame.replace(DIGITS, b"%04d" % (next(_fresh) % 10_000)) for _ in range(times)]


def block_of(frames: Sequence[bytes], offset: int = 0, index: int = 0) -> Block:
    payload = make_run(Kind.STOCK, frames, peer="10.0.0.9:5", connection=1)
    end = offset + HEADER.size + len(payload)
    return Block(offset, end, index, len(frames), NOW * 1_000_000, memoryview(payload))


def simple_frames(number: int = 200) -> list[bytes]:
    """Return frames as a stock `SocketHandler` sends them, with two extra attributes each."""
    handler = SocketHandler("localhost", 0)
    frames = []
    for at in range(number):
        record = LogRecord(
            f"app.web.views{at % 5}", 20, "/srv/app/releases/20261120/src/app/web/views.py", 7 + at,
            "request %09d handled in %d ms for customer %08d", (at, 17, at * 31), None, "run",
        )  # fmt: skip
        record.request, record.customer = f"{at * 77:016x}", at << 20
        frames.append(handler.makePickle(record)[4:])
    return frames


def decoding_cost(decoder: Decoder, frames: Sequence[bytes], rounds: int = 3) -> float:
    """Return the CPU-nanoseconds for each byte that decoding takes: the least of some rounds."""
    best = float("inf")
    block = block_of(frames)
    for _ in range(rounds):
        began = time.thread_time_ns()
        decoder.decode(block)
        best = min(best, time.thread_time_ns() - began)
    return best / size_of(frames)


def size_of(frames: Sequence[bytes]) -> int:
    """Return the bytes of the frames on the wire."""
    return sum(map(len, frames)) + LENGTH.size * len(frames)


@contextmanager
def _worker(way: Way, blocks: Sequence[Block]) -> Iterator[Worker]:
    with tempfile.TemporaryDirectory(prefix="costly-") as home:
        data_dir = Path(home)
        sink = way.sink.replace("///", f"//{home}/")
        context = make_context(data_dir, sink, clock=time.time, steady=time.monotonic)
        ledger = Ledger(data_dir / "ledger.db")
        made = make_sink(context)
        worker = Worker(
            MemoryJournal(blocks, node=NODE), Decoder(way.engine, way.form), made, ledger,
            context.name, data_dir,
        )  # fmt: skip
        worker.open()
        yield worker
        made.close()
        ledger.close()


def storing_cost(way: Way, makes: Callable[[], list[bytes]], blocks: int = 8) -> float:
    """Return the CPU-nanoseconds for each byte that a worker takes from the journal to the sink."""
    made = []
    offset = index = size = 0
    for _ in range(blocks):
        frames = makes()
        made.append(block_of(frames, offset, index))
        offset, index = made[-1].end, index + len(frames)
        size += size_of(frames)
    with _worker(way, made) as worker:
        began = time.thread_time_ns()
        while worker.step() == 0:
            pass
        return (time.thread_time_ns() - began) / size
