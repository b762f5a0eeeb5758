"""`fastlog import`: add the records of exports, and of other data directories, to the store."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Final
from uuid import UUID

import click

from fastlog.cli.command import INCOMPLETE, INTERRUPTED, OK, Command
from fastlog.cli.counted import counted
from fastlog.cli.long_work import LongWork, report
from fastlog.cli.options import config_options, store_option
from fastlog.cli.safe_text import print_line
from fastlog.cli.unread import unread_files
from fastlog.cli.unstored import describe_unstored
from fastlog.config import Config, format_duration
from fastlog.config.urls import public_url
from fastlog.errors import ConfigError
from fastlog.files import Access, set_access
from fastlog.journal.segment import read_node
from fastlog.query import EVERYTHING
from fastlog.search import Found, Progress, Unread
from fastlog.search.day_store import DayStore
from fastlog.sinks.day_directory import list_day_files
from fastlog.status.record_stores import find_target
from fastlog.transfer.additions import Added, Importer, batches
from fastlog.transfer.day_importer import DayImporter
from fastlog.transfer.import_lines import LineFile

NAMED: Final = 20
"""Lines of a file that cannot be read, and records that a database rejects, of which each is
named."""
_JOURNALS: Final = 5
"""Journals that are named in one line."""


def _parse_gone(
    context: click.Context, parameter: click.Parameter, nodes: tuple[str, ...]
) -> frozenset[str]:
    """Return the ids of journals, as files and databases write them."""
    try:
        return frozenset(UUID(node).hex for node in nodes)
    except ValueError:
        text = "expected the id of a journal, 32 hexadecimal digits"
        raise click.BadParameter(text, context, parameter) from None


@click.command("import", cls=Command)
@click.argument(
    "sources", metavar="FILE|DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--gone",
    metavar="NODE",
    multiple=True,
    callback=_parse_gone,
    help="Add all records of this journal: its server is gone, and stores none of them any more. "
    "May be repeated.",
)
@store_option
@config_options
def import_(
    config: Config, sources: tuple[Path, ...], gone: Collection[str], store: str | None
) -> int:
    """Add the records of NDJSON files or data directories to the store.

    A record that the store has already is not added again, so an import can be repeated.
    """
    target = _Target(config, store, gone)
    progress, unread = Progress(), unread_files()
    inputs = [_Input.of(path, target.logs, unread) for path in sources]
    progress.total = sum(each.size for each in inputs)
    work = LongWork(progress, verb="importing")
    added = Added()
    with target.open() as importer, work:
        for each in inputs:
            for some in batches(each.records(progress)):
                added = added.plus(importer.add(some, each.digest))
                work.show(added.new)
            if progress.must_stop():
                break
    print_line(_summary(added, target))
    target.report_rest(importer)
    if progress.must_stop():
        report("interrupted; the same command completes the import")
        return INTERRUPTED
    is_whole = not added.rejected and not unread.files and all(each.is_whole for each in inputs)
    return OK if is_whole else INCOMPLETE


class _Target:
    """The store that records are added to.

    Args:
        store: Its URL; None for that of the configuration.
        gone: The journals whose servers store nothing any more.

    Raises:
        ConfigError: There is none.
    """

    def __init__(self, config: Config, store: str | None, gone: Collection[str]) -> None:
        self._config, self._gone, self._rejected = config, gone, 0
        self._own = read_node(config.data_dir / "journal")
        if self._own in gone:
            raise ConfigError(
                f"--gone {self._own}: that is the journal of {config.data_dir}; start the server "
                "there, which stores what the journal has"
            )
        target = find_target(config, store)
        self.logs = target if isinstance(target, Path) else None
        """The directory of its day files; None for a database."""
        self._url = str(target)
        self.label = self._url if self.logs else public_url(self._url)
        if self.logs and not config.data_dir.is_dir():
            raise ConfigError(
                f"the data directory {config.data_dir} does not exist; make it with "
                f"mkdir -m 700 {config.data_dir}, or name another with --data-dir"
            )

    def open(self) -> AbstractContextManager[Importer]:
        """Begin the import."""
        config = self._config
        if self.logs is not None:
            set_access(Access.of(config.files.mode, config.files.group))
            return DayImporter(config, self.logs, self._gone)
        from fastlog.transfer.postgres_importer import PostgresImporter  # psycopg is slow to import

        return PostgresImporter(self._url, config.redact, self._reject, self._gone)

    def _reject(self, name: str, reason: str) -> None:
        self._rejected += 1
        if self._rejected <= NAMED:
            report(f"{name}: {reason}")

    def report_rest(self, importer: Importer) -> None:
        """Report what is to be said at the end."""
        if self._rejected > NAMED:
            report(f"{self._rejected - NAMED:,} more records like these")
        if left := sorted(importer.left - {self._own}):
            names = ", ".join(left[:_JOURNALS]) + (", …" if len(left) > _JOURNALS else "")
            report(
                f"records of other journals were left to their servers: {names}; if a server is "
                "gone for good, repeat this with --gone and its journal"
            )
        if isinstance(importer, DayImporter):
            _warn_of_retention(self._config, importer.days)


class _Input:
    """A file or a data directory that is imported."""

    def __init__(self, path: Path, unread: Unread, logs: Path | None) -> None:
        self.path, self._unread, self._logs = path, unread, logs
        self._file: LineFile | None = None
        self._named = 0
        self.is_whole = True
        """Whether all records could be read."""
        self.size = path.stat().st_size if logs is None else 0
        """What the progress bar counts: bytes of a file, or entries of day files."""
        if logs is not None:
            parts = DayStore(logs).parts(EVERYTHING, unread)
            self.size = sum(part.end for part in parts)

    @classmethod
    def of(cls, path: Path, target: Path | None, unread: Unread) -> _Input:
        """Return the input that a path names.

        Args:
            target: The directory of day files that records are added to.

        Raises:
            ConfigError: It names none.
        """
        if path.is_file():
            return cls(path, unread, None)
        if str(path) == "-" or (path.exists() and not path.is_dir()):
            raise ConfigError(
                f"{path} is no file; an import may read one twice, so write the lines to one before"
            )
        if not path.is_dir():
            raise ConfigError(f"{path} does not exist; name an NDJSON file or a data directory")
        logs = path if list_day_files(path) else path / "logs"
        if not list_day_files(logs):
            raise ConfigError(f"{path} has no day files; name a data directory or an NDJSON file")
        if target is not None and logs.resolve() == target.resolve():
            raise ConfigError(f"{path} is the store that records are to be added to")
        return cls(path, unread, logs)

    @property
    def digest(self) -> str:
        """The digest of a file whose lines name no journal; "" for others."""
        return "" if self._file is None else self._file.digest

    def records(self, progress: Progress) -> Iterator[Found]:
        """Yield the records."""
        if self._logs is None:
            file = self._file = LineFile(self.path, self._report, time.time())
            yield from file.records(progress)
            if file.unreadable > NAMED:
                report(f"{self.path}: {file.unreadable - NAMED:,} more lines like these")
            return
        store = DayStore(self._logs)
        for part in store.parts(EVERYTHING, self._unread):
            for batch in store.read_part(part, 0, EVERYTHING, progress, self._unread):
                yield from batch.found
        waiting = describe_unstored(self.path, "sqlite") if self._logs != self.path else ""
        if waiting:
            self.is_whole = False
            report(f"{self.path}: {waiting}; they are left out")

    def _report(self, number: int, reason: str) -> None:
        self.is_whole = False
        self._named += 1
        if self._named <= NAMED:
            report(f"{self.path}:{number}: {reason}")


def _summary(added: Added, target: _Target) -> str:
    text = f"added {counted(added.new, 'record')} to {target.label}"
    if added.redacted:
        text += f", {added.redacted:,} of them redacted"
    if added.known:
        text += f"; {added.known:,} were there already"
    if added.waiting:
        text += f"; {added.waiting:,} are left to their servers, which have not stored that far"
    if added.rejected:
        text += f"; {added.rejected:,} were rejected"
    return text


def _warn_of_retention(config: Config, days: set[date]) -> None:
    """Report that a server would delete what was imported, because of its age."""
    age = config.retention.age
    old = sorted(day for day in days if _end_of(day) + age < time.time())
    if old:
        first, last = old[0], old[-1]
        span = f"{first}" if first == last else f"{first} to {last}"
        report(
            f"the records of {span} are older than retention.age ({format_duration(age)}), and the "
            "server will delete them; set a greater age to keep them"
        )


def _end_of(day: date) -> float:
    return (day.toordinal() + 1 - date(1970, 1, 1).toordinal()) * 86_400.0
