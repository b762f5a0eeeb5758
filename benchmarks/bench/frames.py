"""The records of the load: pools of frames, into which the generator writes numbers.

`load/pool.h` describes the format of a pool. Its records are those of a stock `SocketHandler`; the
pool for syslog holds the same records as text of the same length, framed by octet counts.
"""

from __future__ import annotations

import logging
import random
import re
import struct
from collections.abc import Iterable, Iterator
from logging.handlers import SocketHandler
from pathlib import Path
from typing import NamedTuple

POOL = 16_384
"""Different records: more than one poll, block or cache of a server holds."""
NOWHERE = 0xFFFFFFFF
NUMBER = re.compile(rb"request (\d{9}) handled")
"""Finds a record's number in the output of a server."""

_MODULES = ("app.db", "app.web.views", "app.worker.tasks", "app.billing.invoices")
_LEVELS = (10, 20, 20, 20, 30, 40)
_HOME = "/srv/app/releases/20261120101500/src"
_CREATED = b"X\x07\x00\x00\x00created"
"""The key in a pickle of protocol 1; after it two bytes of a memo opcode, `G`, a double."""


class Frame(NamedTuple):
    """A frame as it is sent, and the offsets that the generator overwrites."""

    data: bytes
    number_at: int
    created_at: int = NOWHERE


def make_records(count: int) -> Iterator[logging.LogRecord]:
    """Yield records of a few loggers and levels, with two attributes in `extra`."""
    rng = random.Random(1)
    for number in range(count):
        name = rng.choice(_MODULES)
        text = "request %09d handled in %d ms for customer %08d"
        args = (number, rng.randrange(900), rng.randrange(10**8))
        record = logging.LogRecord(
            name, rng.choice(_LEVELS), f"{_HOME}/{name.replace('.', '/')}.py",
            rng.randrange(1, 500), text, args, None, "run",
        )  # fmt: skip
        record.request = f"{rng.randrange(1 << 64):016x}"
        record.customer = rng.randrange(1 << 40)
        yield record


def pickled(record: logging.LogRecord) -> Frame:
    """Return the frame that `SocketHandler` sends."""
    data = SocketHandler("localhost", 0).makePickle(record)
    created_at = data.index(_CREATED) + len(_CREATED) + 3
    assert data[created_at - 1 : created_at] == b"G"
    return Frame(data, _number_at(data), created_at)


def as_text(record: logging.LogRecord) -> Frame:
    """Return a message of RFC 5424, as long as the pickle, framed as in RFC 6587."""
    size = len(pickled(record).data)
    moment = "2026-11-23T10:00:00.123456Z"
    head = f"<14>1 {moment} localhost {record.name} {record.process} - - {record.getMessage()}"
    skipped = ("msg", "args", "name", "process", "exc_info", "exc_text", "stack_info")
    pairs = (f"{key}={value}" for key, value in vars(record).items() if key not in skipped)
    message = " ".join([head, *pairs, "note="]).encode()
    message += b"x" * (size - len(message) - len(f"{size} "))
    data = f"{len(message)} ".encode() + message
    return Frame(data, _number_at(data))


def write_pool(path: Path, frames: Iterable[Frame]) -> int:
    """Write a pool; return the mean length of a frame in bytes."""
    sizes = []
    with path.open("wb") as file:
        for frame in frames:
            sizes.append(len(frame.data))
            file.write(struct.pack(">LLL", len(frame.data), frame.number_at, frame.created_at))
            file.write(frame.data)
    return round(sum(sizes) / len(sizes))


def _number_at(data: bytes) -> int:
    found = NUMBER.search(data)
    assert found is not None
    return found.start(1)
