"""Read the files of a data directory: status, ledger, lock, and the path of the day files."""

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
from fastlog.search.day_reader import Unread, open_file

FRESH = 5.0
"""Age in seconds above which a status is stale: a receiver that runs writes one each second."""


class Status(msgspec.Struct):
    """The status of the receiver: `status.json`."""

    at: float
    durable: int = 0
    durable_received: float | None = None
    """When the newest durable block was received, in seconds since the epoch; `None`: unknown."""
    oldest: int = 0
    index: int = 0
    size: int = 0
    limit: int = 0
    connections: int = 0
    clients: int = 0
    """Connections that use the fastlog protocol."""
    throttled: int = 0
    """Connections that are throttled now."""
    throttlings: int = 0
    """How often a connection was throttled since the start."""
    lag: float = 0.0
    """Seconds that the slowest sink needs to store its backlog."""
    repeated: int = 0
    """Records that clients of the fastlog protocol sent again, and that were skipped."""
    accepted: int = 0
    frames: int = 0
    dropped: int = 0
    rejected: dict[str, int] = {}
    recent_dropped: int = 0
    """Records dropped in the last `recent_seconds`."""
    recent_rejected: int = 0
    """What the receiver rejected in the last `recent_seconds`."""
    recent_seconds: float = 300.0
    failure: str | None = None
    """Why the journal cannot be written now; `None`: it can."""

    def is_fresh(self) -> bool:
        """Return whether a running receiver has written this status."""
        return abs(time.time() - self.at) < FRESH


class Tally(msgspec.Struct, frozen=True):
    """The rows of the ledger with one reason."""

    reason: str
    count: int
    """How many records, without those whose number is unknown."""
    unknown: int
    """How many spans of records whose number is unknown."""
    last: float
    """The time of the last, in seconds since the epoch."""


def logs_directory(config: Config) -> Path:
    """Return the directory of the first `sqlite:` sink, or the default directory if it exists.

    Raises:
        FastlogError: there are no day files to search.
    """
    urls = [urlsplit(sink.url) for sink in config.sinks]
    stores = [url for url in urls if url.scheme == "sqlite"]
    if stores and stores[0].path:
        return Path(stores[0].path)
    if not config.data_dir.is_dir():
        raise FastlogError(
            f"the data directory {config.data_dir} does not exist; name it with --data-dir"
        )
    logs = config.data_dir / "logs"
    if not stores and not logs.is_dir():
        raise FastlogError(
            "the configuration has no sqlite: sink, so there are no records to search; add one"
        )
    return logs


def unread_files() -> Unread:
    """Return a collector of unreadable day files, which prints each to stderr."""
    command = click.get_current_context().command_path
    return Unread(lambda line: click.echo(f"{command}: {' '.join(line.split())}", err=True))


def read_status(data_dir: Path) -> Status | None:
    """Return the last status; `None` if no receiver has run in this directory."""
    try:
        return msgspec.json.decode((data_dir / "status.json").read_bytes(), type=Status)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise FastlogError(f"{data_dir / 'status.json'}: {error}") from None


def is_running(data_dir: Path) -> bool:
    """Return whether a supervisor holds the lock of the data directory."""
    try:
        with (data_dir / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def read_tallies(data_dir: Path) -> tuple[list[Tally], list[Tally]]:
    """Return rejections and losses of the ledger by reason, the most frequent first.

    Raises:
        LedgerError: the ledger is damaged, or a newer fastlog has written it.
    """
    from fastlog.ledger import LedgerError, check_layout  # a search starts without it

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
            f"ledger {path} cannot be read ({error}); a running server renames a damaged ledger "
            "and begins a new one"
        ) from None


def _tally(ledger: sqlite3.Connection, table: str, moment: str) -> list[Tally]:
    from fastlog.ledger import total

    rows = ledger.execute(
        f"SELECT reason, {total('max(count, 0)')}, {total('max(-count, 0)')},"  # noqa: S608 our own text
        f" max({moment}) FROM {table} GROUP BY reason ORDER BY 2 DESC, 1"
    )
    return [Tally(*row) for row in rows]
