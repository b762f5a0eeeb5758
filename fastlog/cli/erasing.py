"""What `fastlog erase` can erase from: day files, and a PostgreSQL store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult

import click

from fastlog.cli.command import INCOMPLETE, OK, fail
from fastlog.cli.counted import counted
from fastlog.cli.safe_text import print_line
from fastlog.config import format_size
from fastlog.errors import FastlogError
from fastlog.query import Node
from fastlog.search import Grouping, Progress, Unread
from fastlog.search.day_reader import describe, list_files, open_day, read_day
from fastlog.search.day_store import DayStore
from fastlog.search.store import RecordStore
from fastlog.search.stream import merge_days
from fastlog.sinks.day_directory import list_damaged
from fastlog.sinks.erase_days import erase_matches, is_unfinished
from fastlog.terminal import render

SHOWN = 5
"""Records that the preview shows."""
DAY = 86_400


class Target(Protocol):
    """A store to erase from."""

    label: str
    """What it is called in the ledger."""
    code: int
    """The exit code, as far as it is known."""
    newest: dict[str, int]
    """For each journal, the greatest offset of a block that had an erased record."""

    def preview(self) -> int:
        """Print what matches; return how many records do."""

    @property
    def has_work(self) -> bool:
        """Whether there is anything to erase."""

    def erase(self, note: Callable[[int], object]) -> None:
        """Delete what matches, print what was done, and pass on numbers of deleted records."""

    def leftovers(self) -> Iterator[str]:
        """Yield where else in the store the records may be."""


class DayTarget:
    """The day files of a store, and what of them matches."""

    def __init__(self, store: DayStore, query: Node) -> None:
        self._store, self._query = store, query
        self._counts: dict[Path, int] = {}
        self.label = str(store.logs)
        self.newest: dict[str, int] = {}
        self.code = OK

    @property
    def has_work(self) -> bool:
        return bool(self._counts)

    def preview(self) -> int:
        unfinished = []
        for path in list_files(self._store.logs):
            with self._reported(path):
                number = count_in(path, self._query)
                with closing(open_day(path)) as connection:
                    if is_unfinished(connection):
                        unfinished.append(path)
                if number or path in unfinished:
                    self._counts[path] = number
        matches = sum(self._counts.values())
        files = sum(1 for number in self._counts.values() if number)
        print_line(f"{counted(matches, 'record')} in {counted(files, 'day file')} match")
        for path, number in self._counts.items():
            rest = ", and bytes of an erasure that was broken off" if path in unfinished else ""
            print_line(f"  {path.name}  {number}{rest}")
        if matches:
            print_newest(self._store, self._query, matches)
        return matches

    def erase(self, note: Callable[[int], object]) -> None:
        for path in self._counts:
            with self._reported(path):
                erased = erase_matches(path, self._query, note)
                for node, offset in erased.newest.items():
                    self.newest[node] = max(offset, self.newest.get(node, 0))
                size = format_size(path.stat().st_size)
                print_line(
                    f"{path.name}: erased {counted(erased.records, 'record')}; it has {size} now"
                )
                if erased.rest:
                    self._fail(
                        f"{path}: the records are erased, but bytes of them may be left, since"
                        f" {erased.rest}; run the same command again to remove these"
                    )

    def leftovers(self) -> Iterator[str]:
        for path in list_damaged(self._store.logs):
            yield f"not erased: {path.name}, a damaged day file that was set aside"

    def _fail(self, text: str) -> None:
        self.code = fail(click.get_current_context().command_path, text, INCOMPLETE)

    @contextmanager
    def _reported(self, path: Path) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            return  # retention has deleted it
        except (sqlite3.Error, FastlogError) as error:
            text = describe(error)
            self._fail(text if str(path) in text else f"{path} {text}")


def count_in(path: Path, query: Node) -> int:
    """Return how many records of a file match."""
    day = read_day(path)
    if day is None:
        return 0
    return sum(1 for _ in merge_days([day], query, Progress(), newest_first=False))


class DatabaseTarget:
    """A PostgreSQL store."""

    def __init__(self, store: RecordStore, url: SplitResult, label: str, query: Node) -> None:
        self._store, self._url, self._query = store, url, query
        self._matches = 0
        self.label = label
        self.newest: dict[str, int] = {}
        self.code = OK

    @property
    def has_work(self) -> bool:
        return bool(self._matches)

    def preview(self) -> int:
        [days] = self._store.count(self._query, [Grouping(interval=DAY, zone=UTC)])
        self._matches = days.total()
        print_line(f"{counted(self._matches, 'record')} in {counted(len(days), 'day')} match")
        for (begin,), number in sorted(days.items(), key=str):
            with suppress(TypeError, ValueError, OverflowError, OSError):
                begin = f"{datetime.fromtimestamp(begin, UTC):%Y-%m-%d}"  # type: ignore[arg-type]
            print_line(f"  {begin or 'no date'}  {number}")
        if self._matches:
            print_newest(self._store, self._query, self._matches)
        return self._matches

    def erase(self, note: Callable[[int], object]) -> None:
        from fastlog.search.postgres_erasure import erase  # psycopg takes a while to import

        number, self.newest = erase(self._url, self._query, note)
        print_line(f"{self.label}: erased {counted(number, 'record')}")

    def leftovers(self) -> Iterator[str]:
        yield (
            "not erased: bytes in the files of the database until it uses the space again (VACUUM"
            " FULL removes them), and what replicas and archives of its log have"
        )


def print_newest(store: RecordStore, query: Node, matches: int) -> None:
    """Print the newest records that match."""
    found, _ = store.newest(query, SHOWN, Unread(lambda _: None))
    print_line("the newest:" if matches > len(found) else "all of them:")
    for each in found:
        click.echo(render(each.record, colour=False))
