"""The kinds of stores that the web server serves: the tests of the API run over each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing
from itertools import islice
from pathlib import Path
from typing import Protocol

import pytest
from day_files import NODE, START_NAME, write_day
from postgres_servers import newest
from postgres_stores import Database, Servers, postgres_servers
from web_sites import Site, make_store, serving

from fastlog.block import Block
from fastlog.decode import Batch, Decoded, copy_rows
from fastlog.record import Record

__all__ = ["StoreKind", "postgres_servers", "store_kind"]


class StoreKind(Protocol):
    """A kind of store. A store is named by a data directory, which knows nothing of it."""

    node: str
    """The journal of its records."""

    def make(self, data_dir: Path, records: Iterable[Record], *, per_block: int = 1) -> Path:
        """Make a store with records; its name is returned."""

    def append(self, data_dir: Path, records: Iterable[Record], *, per_block: int = 1) -> None:
        """Add blocks, as a sink does: all in one transaction."""

    def serving(self, data_dir: Path, *, config: str = "") -> AbstractContextManager[Site]:
        """Run `fastlog web` over a store."""


class DayKind:
    """Day files."""

    node = NODE

    def make(self, data_dir: Path, records: Iterable[Record], *, per_block: int = 1) -> Path:
        return make_store(data_dir, records, per_block=per_block)

    def append(self, data_dir: Path, records: Iterable[Record], *, per_block: int = 1) -> None:
        write_day(data_dir / "logs" / START_NAME, records, per_block=per_block)

    def serving(self, data_dir: Path, *, config: str = "") -> AbstractContextManager[Site]:
        return serving(data_dir, config=config)


class PostgresKind:
    """Schemas of one database."""

    node = "ab" * 16

    def __init__(self, database: Database) -> None:
        self.database = database
        self._schemas: dict[Path, str] = {}

    def make(self, data_dir: Path, records: Iterable[Record], *, per_block: int = 1) -> Path:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._schemas[data_dir] = f"store{len(self._schemas)}"
        self.append(data_dir, records, per_block=per_block)
        return data_dir

    def append(self, data_dir: Path, records: Iterable[Record], *, per_block: int = 1) -> None:
        schema = {"schema": self._schemas[data_dir]}
        with closing(self.database.sink(data_dir, url=schema)) as sink:
            sink.open(self.node)
            index = sink.index()
            assert index is not None
            if blocks := list(self._blocks(iter(records), index, per_block)):
                sink.apply(Batch.of(blocks))

    def _blocks(self, rest: Iterator[Record], index: int, per_block: int) -> Iterator[Decoded]:
        node = bytes.fromhex(self.node)
        while part := list(islice(rest, per_block)):
            begin, received_us = part[0].offset, int(part[0].received * 1e6)
            block = Block(begin, begin + 1, index, len(part), received_us, memoryview(b""))
            rows = (each._replace(offset=begin, idx=n) for n, each in enumerate(part))
            yield Decoded(block, [], [], copy=b"".join(copy_rows.encode(row, node) for row in rows))
            index += len(part)

    def serving(self, data_dir: Path, *, config: str = "") -> AbstractContextManager[Site]:
        return serving(data_dir, config=config, store=self.url(data_dir))

    def url(self, data_dir: Path) -> str:
        return self.database.url(schema=self._schemas[data_dir])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store_kind(request: pytest.FixtureRequest) -> StoreKind:
    """Each kind of store that is here."""
    if request.param == "sqlite":
        return DayKind()
    newest()  # skips
    servers: Servers = request.getfixturevalue("postgres_servers")
    return PostgresKind(servers.database(newest()))
