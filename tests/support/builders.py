"""Records, blocks and a journal in memory, for the tests of sinks, ledger and worker."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from fastlog.block import HEADER, Block, Kind, make_run
from fastlog.config import ExpireConfig, RetentionConfig
from fastlog.decode import Decoded, copy_rows
from fastlog.decode.columns import columns_of
from fastlog.decode.json_lines import encode
from fastlog.journal import SkippedError
from fastlog.record import Record
from fastlog.sinks import SinkContext

NODE = "00112233445566778899aabbccddeeff"
DAY = 86_400
MONDAY = 20_780 * DAY
"""A midnight, 2026-11-23 UTC, in seconds since the epoch."""


def make_record(message: str, *, offset: int = 0, idx: int = 0, **fields: object) -> Record:
    """Return a record as the decoder makes it, with some fields replaced."""
    record = Record(
        created=MONDAY + 0.5,
        levelno=20,
        levelname="INFO",
        name="app.db",
        message=message,
        pathname="/srv/app/db.py",
        filename="db.py",
        module="db",
        lineno=7,
        funcName="run",
        process=11,
        processName="MainProcess",
        thread=12,
        threadName="MainThread",
        taskName=None,
        exc_text=None,
        stack_info=None,
        host="127.0.0.1",
        certificate=None,
        received=MONDAY + 1.0,
        extra='{"user":7}',
        offset=offset,
        idx=idx,
    )
    return record._replace(**fields)


def make_block(
    messages: Sequence[str], *, offset: int = 0, index: int = 0, at: float = MONDAY
) -> Block:
    """Return a block whose frames are JSON objects, received `at` (seconds since the epoch)."""
    frames = [msgspec.json.encode({"msg": message, "name": "app"}) for message in messages]
    payload = make_run(Kind.STOCK, frames, peer="127.0.0.1:5")
    end = offset + HEADER.size + len(payload)
    return Block(offset, end, index, len(frames), int(at * 1e6), memoryview(payload))


def make_decoded(
    messages: Sequence[str], *, offset: int = 0, index: int = 0, at: float = MONDAY
) -> Decoded:
    """Return a block with these messages and its records."""
    block = make_block(messages, offset=offset, index=index, at=at)
    records = [
        make_record(message, offset=offset, idx=idx, received=at)
        for idx, message in enumerate(messages)
    ]
    return decoded_of(block, records)


def decoded_of(block: Block, records: list[Record]) -> Decoded:
    """Return a block and its records, in all forms."""
    lines = b"".join(encode(record) + b"\n" for record in records)
    copy = b"".join(copy_rows.encode(record, bytes.fromhex(NODE)) for record in records)
    return Decoded(block, records, [], lines, columns_of(records), copy)


def make_chain(contents: Iterable[tuple[Sequence[str], float]]) -> list[Decoded]:
    """Return consecutive blocks of these messages, each received at its time."""
    chain: list[Decoded] = []
    offset = index = 0
    for messages, at in contents:
        chain.append(make_decoded(messages, offset=offset, index=index, at=at))
        offset, index = chain[-1].block.end, index + len(messages)
    return chain


def numbered(
    count: int, *, per_block: int = 3, start: float = MONDAY, step: float = 1.0
) -> list[Decoded]:
    """Return `count` blocks with messages "0", "1", …"""
    return make_chain(
        ([str(n * per_block + k) for k in range(per_block)], start + n * step) for n in range(count)
    )


def messages_of(chain: Iterable[Decoded]) -> list[str]:
    return [record.message for decoded in chain for record in decoded.records]


def make_context(
    data_dir: Path,
    url: str,
    *,
    name: str | None = None,
    clock: Callable[[], float] = lambda: MONDAY,
    steady: Callable[[], float] = lambda: 0.0,
    retention: RetentionConfig | None = None,
    expire: Sequence[ExpireConfig] = (),
) -> SinkContext:
    parts = urlsplit(url)
    return SinkContext(
        *(name or parts.scheme, parts, data_dir, retention or RetentionConfig()),
        *(clock, steady),
        expire=expire,
    )


def rest_of(chain: Sequence[Decoded], cursor: int) -> list[Decoded]:
    """Return the blocks that a worker would apply from the cursor on."""
    return [decoded for decoded in chain if decoded.block.end > cursor]


CHILD_SECONDS = 120
"""After which a child that hangs prints its stack, and is killed."""


def in_child(work: Callable[[], object]) -> int | None:
    """Run `work` in a forked process.

    Returns:
        The signal that ended it; None if it ended by itself.
    """
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            faulthandler.register(signal.SIGALRM, sys.__stderr__, chain=True)
            signal.alarm(CHILD_SECONDS)
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) != signal.SIGALRM, "the child hung; its stack is on stderr"
        return os.WTERMSIG(status)
    assert os.WEXITSTATUS(status) == 0, "the child failed; its traceback is on stderr"
    return None


class Fuse:
    """Kills this process with SIGKILL at a call of `spark` that its length sets."""

    def __init__(self, length: int) -> None:
        self.remaining = length

    def spark(self) -> None:
        self.remaining -= 1
        if self.remaining < 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Clock:
    """A clock that shows the time that a test sets."""

    def __init__(self, now: float = MONDAY) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class MemoryJournal:
    """A `JournalReader` of blocks in memory."""

    def __init__(self, blocks: Sequence[Block], *, node: str = NODE) -> None:
        self.node = node
        self.blocks = list(blocks)
        self.durable_offset = self.blocks[-1].end if self.blocks else 0
        self.oldest = 0

    def durable(self) -> int:
        return self.durable_offset

    def read(self, offset: int, max_bytes: int = 4 << 20) -> list[Block]:
        if offset < self.oldest:
            first = next(block for block in self.blocks if block.offset >= self.oldest)
            raise SkippedError(offset, first.offset, first.index)
        found: list[Block] = []
        for block in self.blocks:
            if block.offset >= offset and block.end <= self.durable_offset:
                if found and block.end - found[0].offset > max_bytes:
                    break
                found.append(block)
        return found
