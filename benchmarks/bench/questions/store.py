"""A large store of typical records over several days, and the same records as lines of JSON.

The records go through the sink, as those of a server do, but without a server: a day in the past
cannot be received. A few call sites log most records, and 3 % have a traceback.
"""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from fastlog.block import Block
from fastlog.config import RetentionConfig
from fastlog.decode import Columns, Combinations, Decoded
from fastlog.decode.json_lines import encode
from fastlog.record import PROCESS, SITE, Record
from fastlog.sinks import SinkContext
from fastlog.sinks.sqlite import SqliteSink

START: Final = 20_780 * 86_400.0
"""`created` of the first record: 2026-11-23, 00:00 UTC."""
DAY: Final = 86_400.0
BLOCK: Final = 500
"""Records of a block."""
BLOCKS: Final = 20
"""Blocks of a transaction: what a worker that is behind passes to a sink at once."""
NODE: Final = "00" * 16
_HOME = "/srv/app/releases/20261120101500/src"
_LEVELS = ((10, "DEBUG"), (20, "INFO"), (20, "INFO"), (20, "INFO"), (30, "WARNING"), (40, "ERROR"))
_LOGGERS = ("app.db", "app.web.views", "app.worker.tasks", "app.billing.invoices", "app.auth",
            "app.cache.redis", "lib.http", "app.search")  # fmt: skip
_MESSAGES = (
    "request {n:09d} handled in {a} ms for customer {b:08d}",
    "user {a} logged in from 10.2.{c}.{d}",
    "cache miss for key session:{b:x}, loading",
    "SELECT took {a} ms: rows={c} table=orders",
    "retrying job {b} after {c} seconds",
    "payment {b} accepted, amount={a}.{d:02d} EUR",
)
_FRAME = '  File "{home}/app/x{n}.py", line {line}, in f{n}\n    self.call({n})\n'
_TRACEBACK = (
    "Traceback (most recent call last):\n"
    + "".join(_FRAME.format(home=_HOME, n=n, line=7 * n) for n in range(8))
    + "ValueError: invalid literal for int() with base 10: 'Zq{b}'"
)
_USER = '{{"user":{user},"path":"/api/v1/items/{item}"}}'
_REQUEST = '{{"request":"{request:016x}","customer":{customer}}}'
_RARE_SITE = 0
"""Its logger is `app.rare`, its level CRITICAL."""
_SITES = 120
_COMMON = 10
"""Call sites that log half of the records."""
HITS: Final = 40
"""Records with `extra.user` = 77."""


class Store(NamedTuple):
    """What was made."""

    data_dir: Path
    lines: Path
    records: int
    rare: int
    """Records of the rare logger."""
    bytes: int
    """Of the day files."""
    lines_bytes: int


def make_store(home: Path, records: int, days: int) -> Store:
    """Make a store of so many records, or return the one that an earlier call has made there."""
    known = home / "store.json"
    if known.exists():
        fields = json.loads(known.read_text())
        return Store(home / "data", home / "lines.ndjson", **fields)
    data_dir, lines = home / "data", home / "lines.ndjson"
    data_dir.mkdir(parents=True, exist_ok=True)
    gc.disable()  # as in a worker
    context = SinkContext("sqlite", urlsplit("sqlite:"), data_dir, RetentionConfig(size=1 << 50))
    sink = SqliteSink(context, file_limit=1 << 40)
    sink.open(NODE)
    generator = _Generator(records, days)
    with lines.open("wb") as file:
        batch: list[Decoded] = []
        for block, columns in generator.blocks():
            batch.append(Decoded(block, [], [], columns=columns))
            file.writelines(encode(record) + b"\n" for record in _records(block, columns))
            if len(batch) == BLOCKS:
                sink.apply(batch)
                batch = []
        if batch:
            sink.apply(batch)
    sink.sync()
    sink.close()
    gc.enable()
    size = sum(path.stat().st_size for path in (data_dir / "logs").iterdir())
    fields = {
        "records": records,
        "rare": generator.rare,
        "bytes": size,
        "lines_bytes": lines.stat().st_size,
    }
    known.write_text(json.dumps(fields))
    return Store(data_dir, lines, **fields)


class _Generator:
    """Makes the blocks of the store, the same ones each time."""

    def __init__(self, records: int, days: int) -> None:
        self._records, self._step = records, days * DAY / records
        self._rng = random.Random(1)
        self._sites = Combinations([self._site(number) for number in range(_SITES)])
        self._processes = Combinations([self._process() for _ in range(200)])
        self._hits = set(self._rng.sample(range(records), min(HITS, records)))
        self.rare = 0

    def blocks(self) -> Iterator[tuple[Block, Columns]]:
        for first in range(0, self._records, BLOCK):
            count = min(BLOCK, self._records - first)
            received = int((START + (first + count) * self._step) * 1e6)
            block = Block(first, first + count, first, count, received, memoryview(b""))
            yield block, self._columns(first, count)

    def _columns(self, first: int, count: int) -> Columns:
        random_ = self._rng.random
        columns = Columns(self._sites, self._processes, [], [], [], [], [], [None] * count, [], [])
        for number in range(first, first + count):
            rare = number % 100_003 == 50_000
            self.rare += rare
            site = 1 + int(random_() * (_COMMON if random_() < 0.5 else _SITES - 1))
            a, b = int(random_() * 900), int(random_() * 10**8)
            c, d = b % 251, b % 97
            columns.site.append(_RARE_SITE if rare else site)
            columns.process.append(b % 200)
            columns.created.append(START + number * self._step)
            columns.message.append(_MESSAGES[b % 6].format(n=number, a=a, b=b, c=c, d=d))
            columns.exc_text.append(_TRACEBACK.format(b=b) if random_() < 0.03 else None)
            columns.extra.append(self._extra(number, a, b))
            columns.idx.append(number - first)
        return columns

    def _extra(self, number: int, a: int, b: int) -> str:
        if number in self._hits:
            return _USER.format(user=77, item=a)
        if b % 5:
            return _REQUEST.format(request=b * 0x9E3779B97F4A7C15 % 2**64, customer=b * 7)
        return _USER.format(user=100 + b % 100_000, item=a)

    def _site(self, number: int) -> tuple[object, ...]:
        name = self._rng.choice(_LOGGERS)
        level = self._rng.choice(_LEVELS)
        if number == _RARE_SITE:
            name, level = "app.rare", (50, "CRITICAL")
        path = f"{_HOME}/{name.replace('.', '/')}.py"
        module = name.rpartition(".")[2]
        values = {
            "levelno": level[0],
            "levelname": level[1],
            "name": name,
            "pathname": path,
            "filename": f"{module}.py",
            "module": module,
            "funcName": f"f{number}",
            "lineno": self._rng.randrange(1, 900),
        }
        return tuple(values[field] for field in SITE)

    def _process(self) -> tuple[object, ...]:
        values = {
            "process": self._rng.randrange(1000, 60_000),
            "processName": "MainProcess",
            "thread": self._rng.randrange(1 << 46),
            "threadName": "MainThread",
            "taskName": None,
            "host": f"10.0.0.{self._rng.randrange(20)}",
            "certificate": None,
        }
        return tuple(values[field] for field in PROCESS)


def _records(block: Block, columns: Columns) -> Iterator[Record]:
    for at, created in enumerate(columns.created):
        site = dict(zip(SITE, columns.sites[columns.site[at]], strict=True))
        process = dict(zip(PROCESS, columns.processes[columns.process[at]], strict=True))
        yield Record(
            **site, **process, created=created, message=columns.message[at],
            exc_text=columns.exc_text[at], stack_info=None, extra=columns.extra[at],
            received=block.received, offset=block.offset, idx=columns.idx[at],
        )  # fmt: skip


if __name__ == "__main__":
    import sys

    began = time.monotonic()
    print(make_store(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
    print(f"{time.monotonic() - began:.0f} s")
