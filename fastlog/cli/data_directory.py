"""What a server leaves in its data directory, read from outside."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from fastlog.config import Config
from fastlog.errors import FastlogError
from fastlog.ledger import LedgerError, check_layout, total
from fastlog.query.days import Unread, open_file

FRESH = 5.0
"""Seconds after which a status is no longer that of a living receiver, which writes each second."""


class Status(msgspec.Struct):
    """`status.json`: what the receiver says of itself."""

    at: float
    durable: int = 0
    oldest: int = 0
    index: int = 0
    size: int = 0
    limit: int = 0
    connections: int = 0
    clients: int = 0
    """Of the fastlog protocol, among the connections."""
    throttled: int = 0
    """Connections that are read more slowly than they send, now."""
    throttlings: int = 0
    """How often one had to wait, since the start."""
    lag: float = 0.0
    """Seconds that the slowest sink will need for what waits for it."""
    repeated: int = 0
    """Records that these sent more than once, and that were skipped."""
    accepted: int = 0
    frames: int = 0
    dropped: int = 0
    rejected: dict[str, int] = {}
    failure: str | None = None
    """Why the journal cannot be written now."""

    def is_fresh(self) -> bool:
        """Whether the receiver lives."""
        return abs(time.time() - self.at) < FRESH


class Tally(msgspec.Struct, frozen=True):
    """Rows of the ledger that have one reason."""

    reason: str
    count: int
    """How many records; those that nobody could count are not among them."""
    unknown: int
    """How many spans of records nobody could count."""
    last: float
    """When the last was, seconds since the epoch."""


def logs_directory(config: Config) -> Path:
    """Where the day files are: with the first `sqlite:` sink, or where it had them.

    Raises:
        FastlogError: there is nothing to search.
    """
    urls = [urlsplit(sink.url) for sink in config.sinks]
    stores = [url for url in urls if url.scheme == "sqlite"]
    if stores and stores[0].path:
        return Path(stores[0].path)
    if not config.data_dir.is_dir():
        raise FastlogError(
            f"{config.data_dir}: there is no such data directory; name it with --data-dir"
        )
    logs = config.data_dir / "logs"
    if not stores and not logs.is_dir():
        raise FastlogError("there is nothing to search: the configuration has no sqlite: sink")
    return logs


def unread_files() -> Unread:
    """Where a command notes the day files that it cannot read, which names each on stderr."""
    command = click.get_current_context().command_path
    return Unread(lambda line: click.echo(f"{command}: {' '.join(line.split())}", err=True))


def read_status(data_dir: Path) -> Status | None:
    """The last status; `None` where no receiver ever ran."""
    try:
        return msgspec.json.decode((data_dir / "status.json").read_bytes(), type=Status)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise FastlogError(f"{data_dir / 'status.json'}: {error}") from None


def is_running(data_dir: Path) -> bool:
    """Whether a supervisor owns the data directory: it holds a lock for as long as it lives."""
    try:
        with (data_dir / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def read_tallies(data_dir: Path) -> tuple[list[Tally], list[Tally]]:
    """The ledger's rejections and losses by reason, the most frequent first.

    Raises:
        LedgerError: it is damaged, or a newer fastlog has written it.
    """
    path = data_dir / "ledger.db"
    if not path.exists():
        return [], []
    try:
        with closing(open_file(path)) as ledger:
            if not check_layout(ledger, path):
                return [], []
            return _tally(ledger, "rejected", "received"), _tally(ledger, "losses", "last")
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            f"ledger {path} cannot be read ({error}); a running server sets a damaged one aside "
            "and begins a new one"
        ) from None


def _tally(ledger: sqlite3.Connection, table: str, moment: str) -> list[Tally]:
    rows = ledger.execute(
        f"SELECT reason, {total('max(count, 0)')}, {total('max(-count, 0)')},"  # noqa: S608 our own text
        f" max({moment}) FROM {table} GROUP BY reason ORDER BY 2 DESC, 1"
    )
    return [Tally(*row) for row in rows]
