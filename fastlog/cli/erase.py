"""`fastlog erase`: delete the records that match from a store, for good."""

from __future__ import annotations

import getpass
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import click

from fastlog.cli.command import FAILED, INCOMPLETE, OK, fail
from fastlog.cli.filters import filter_options
from fastlog.cli.options import config_options, store_option
from fastlog.cli.query_command import QueryCommand
from fastlog.cli.safe_text import escape_unencodable, print_line
from fastlog.cli.unstored import report_unstored
from fastlog.config import Config, format_size
from fastlog.config.urls import public_url
from fastlog.errors import ConfigError, FastlogError
from fastlog.journal import JournalReader
from fastlog.journal.segment import segments
from fastlog.ledger import ErasureNote, ErasureRow
from fastlog.query import EVERYTHING, Node
from fastlog.query.tree import leaves
from fastlog.search.day_reader import Unread, describe, list_files
from fastlog.search.store import DayStore
from fastlog.sinks.day_directory import list_damaged
from fastlog.sinks.erase_days import count_matches, erase_matches
from fastlog.status.data_directory import is_data_directory
from fastlog.status.record_stores import ChosenStore, choose_store
from fastlog.terminal import render

SHOWN = 5
"""Records that the preview shows."""


@click.command(cls=QueryCommand)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be erased.")
@click.option(
    "--reason",
    metavar="TEXT",
    default="",
    help="Keep this text in the ledger, such as the number of a request; the query is not kept.",
)
@store_option
@config_options
@filter_options
def erase(
    config: Config, query: Node, yes: bool, dry_run: bool, reason: str, store: str | None
) -> int:
    """Delete the stored records that match, and their bytes in the files.

    Shows how many match and the newest, and asks. A server may run meanwhile. Exits with 1 if
    nothing matches or was erased, and with 3 if something may be left.
    """
    escape_unencodable()
    if query == EVERYTHING:
        raise ConfigError("name the records with a query; to delete all, delete the day files")
    chosen = choose_store(config, store)
    if not isinstance(chosen.store, DayStore):
        raise ConfigError("only a store of day files can be erased from")
    report_unstored(config, chosen.sink, at_end=False)
    days = _Days(chosen.store, query)
    if not days.preview():
        return days.code or FAILED
    if dry_run:
        return days.code
    if not yes and not _confirmed(days.matches):
        return FAILED
    note = ErasureNote(time.time(), _user(), str(chosen.store.logs), _fields(query), reason)
    row = None
    if is_data_directory(config.data_dir):
        row = ErasureRow(config.data_dir / "ledger.db", note)
    days.erase(row)
    if row is None:
        print_line(f"no ledger: {config.data_dir} is no data directory", err=True)
    for line in _elsewhere(config, chosen, days.newest):
        print_line(line)
    return days.code


class _Days:
    """The day files of a store, and what of them matches."""

    def __init__(self, store: DayStore, query: Node) -> None:
        self._store, self._query = store, query
        self._counts: dict[Path, int] = {}
        self.newest: dict[str, int] = {}
        """For each journal, the greatest offset of a block that had an erased record."""
        self.code = OK

    @property
    def matches(self) -> int:
        """How many records match."""
        return sum(self._counts.values())

    def preview(self) -> bool:
        """Print what matches; return whether anything does."""
        for path in list_files(self._store.logs):
            with self._reported(path):
                if number := count_matches(path, self._query):
                    self._counts[path] = number
        files = f"{len(self._counts)} day file{'' if len(self._counts) == 1 else 's'}"
        print_line(f"{_records(self.matches)} in {files} match")
        for path, number in self._counts.items():
            print_line(f"  {path.name}  {number}")
        if self._counts:
            found, _ = self._store.newest(self._query, SHOWN, Unread(lambda _: None))
            print_line("the newest:" if self.matches > len(found) else "all of them:")
            for each in found:
                click.echo(render(each.record, colour=False))
        return bool(self._counts)

    def erase(self, row: ErasureRow | None) -> None:
        """Delete what matches, and print what was done."""
        total = 0

        def note(number: int) -> None:
            nonlocal total
            total += number
            if row is not None:
                row.set_records(total)

        for path in self._counts:
            with self._reported(path):
                erased = erase_matches(path, self._query, note)
                for node, offset in erased.newest.items():
                    self.newest[node] = max(offset, self.newest.get(node, 0))
                size = format_size(path.stat().st_size)
                print_line(f"{path.name}: erased {_records(erased.records)}; it has {size} now")
                if erased.rest:
                    self._fail(
                        f"{path}: its records are erased, but bytes of them may be left:"
                        f" {erased.rest}; make room or end the reader, and run"
                        f" `fastlog migrate --rebuild {path}`"
                    )
        if row is not None:
            row.set_records(total, time.time())

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


def _confirmed(matches: int) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to answer; give --yes to erase them")
    return click.confirm(f"Erase {_records(matches)} for good?")


def _elsewhere(config: Config, chosen: ChosenStore, newest: dict[str, int]) -> Iterator[str]:
    """Yield where else the records may be, as far as it is known."""
    held = _held_by_journal(config.data_dir, newest)
    if held:
        yield held
    for sink in config.sinks:
        if sink.name != chosen.sink:
            yield f"not erased: sink {sink.name} ({public_url(sink.url)}) may have stored them, too"
    assert isinstance(chosen.store, DayStore)
    for path in list_damaged(chosen.store.logs):
        yield f"not erased: {path.name}, a damaged day file that was set aside"
    yield "not erased: backups, exports and other copies, and what a client has not sent yet"


def _held_by_journal(data_dir: Path, newest: dict[str, int]) -> str:
    """Return a line if the journal still has blocks with erased records; "" if it has none."""
    journal = data_dir / "journal"
    if not journal.is_dir():
        return ""
    with suppress(FastlogError, OSError, ValueError), closing(JournalReader(journal)) as reader:
        found = segments(journal)
        last = newest.get(reader.node, -1)
        if found and last >= found[0].start:
            return (
                f"not erased: the journal in {journal} still has some of them; a segment is deleted"
                " when it is full and all sinks have stored it"
            )
    return ""


def _fields(query: Node) -> list[str]:
    """Return the names of the fields that a query is about."""
    return sorted({leaf.field.name for leaf in leaves(query)})


def _user() -> str:
    try:
        return f"{getpass.getuser()} ({os.getuid()})"
    except (KeyError, OSError):
        return str(os.getuid())


def _records(number: int) -> str:
    return "1 record" if number == 1 else f"{number} records"
