"""`fastlog erase`: delete the records that match from a store, for good."""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import click

from fastlog.cli.command import FAILED
from fastlog.cli.counted import counted
from fastlog.cli.erasing import DatabaseTarget, DayTarget, Target
from fastlog.cli.filters import filter_options
from fastlog.cli.options import config_options, store_option
from fastlog.cli.query_command import QueryCommand
from fastlog.cli.safe_text import escape_unencodable, print_line
from fastlog.cli.unstored import report_unstored
from fastlog.config import Config
from fastlog.config.urls import public_url
from fastlog.errors import ConfigError, FastlogError
from fastlog.files import Access, set_access
from fastlog.journal import JournalReader
from fastlog.journal.segment import segments
from fastlog.ledger import ErasureNote, ErasureRow
from fastlog.query import EVERYTHING, Node
from fastlog.query.tree import leaves
from fastlog.search.day_store import DayStore
from fastlog.status.data_directory import is_data_directory
from fastlog.status.record_stores import ChosenStore, choose_store


@click.command(cls=QueryCommand)
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
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
    """Delete the stored records that match, for good.

    Deletes their bytes in the files, too. Shows how many match and the newest, and asks before it
    deletes. A server may run meanwhile. Exits with 1 if nothing matches or was erased, and with 3
    if something may be left.
    """
    escape_unencodable()
    if query == EVERYTHING:
        raise ConfigError("name the records with a query; to delete all, delete the day files")
    chosen = choose_store(config, store)
    report_unstored(config, chosen.sink, at_end=False)
    target = _target(config, chosen, store, query)
    matches = target.preview()
    if not target.has_work:
        return target.code or FAILED
    if dry_run:
        return target.code
    if matches and not yes and not _confirmed(matches):
        return FAILED
    _erase(config, target, ErasureNote(time.time(), _user(), target.label, _fields(query), reason))
    for line in _elsewhere(config, chosen, target):
        print_line(line)
    return target.code


def _target(config: Config, chosen: ChosenStore, store: str | None, query: Node) -> Target:
    if isinstance(chosen.store, DayStore):
        return DayTarget(chosen.store, query)
    url = store or next(sink.url for sink in config.sinks if sink.name == chosen.sink)
    return DatabaseTarget(chosen.store, urlsplit(url), public_url(url), query)


def _erase(config: Config, target: Target, about: ErasureNote) -> None:
    """Erase, with a row in the ledger that has the number of records at any moment."""
    row = None
    if is_data_directory(config.data_dir):
        set_access(Access.of(config.files.mode, config.files.group))  # it may make the ledger
        row = ErasureRow(config.data_dir / "ledger.db", about)
    else:
        print_line(f"no row in a ledger: {config.data_dir} is no data directory", err=True)
    total = 0

    def note(number: int) -> None:
        nonlocal total
        total += number
        if row is not None:
            row.set_records(total)

    target.erase(note)
    if row is not None:
        row.set_records(total, time.time())


def _confirmed(matches: int) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to answer; give --yes to erase them")
    return click.confirm(f"Erase {counted(matches, 'record')} for good?")


def _elsewhere(config: Config, chosen: ChosenStore, target: Target) -> Iterator[str]:
    """Yield where else the records may be, as far as it is known."""
    held = _held_by_journal(config.data_dir, target.newest)
    if held:
        yield held
    if config.source.url:
        yield (
            f"not erased: {public_url(config.source.url)} and the journals of its collectors may "
            "have some of them"
        )
    for sink in config.sinks:
        if sink.name != chosen.sink:
            yield f"not erased: sink {sink.name} ({public_url(sink.url)}) may have stored them, too"
    yield from target.leftovers()
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
