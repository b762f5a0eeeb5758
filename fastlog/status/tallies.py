"""What the ledger holds, summed by reason."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from fastlog.ledger import LedgerError, check_layout, read_erasures, total
from fastlog.search.day_reader import open_file


class Tally(msgspec.Struct, frozen=True):
    """The rows of the ledger with one reason."""

    reason: str
    count: int
    """How many records, without those whose number is unknown."""
    unknown: int
    """How many spans of records whose number is unknown."""
    last: float
    """The time of the last, in seconds since the epoch."""
    recent: int
    """How many of `count` are of the last minutes; more where the ledger keeps only sums."""
    recent_unknown: int
    """How many of `unknown` are of the last minutes."""


class Erasures(msgspec.Struct, frozen=True):
    """What `fastlog erase` has deleted, as the ledger has it."""

    number: int = 0
    """How many times."""
    records: int = 0


def read_erased(data_dir: Path) -> Erasures:
    """Return what was erased; nothing if the ledger cannot be read."""
    path = data_dir / "ledger.db"
    try:
        if path.exists():
            with closing(open_file(path)) as ledger:
                return Erasures(*read_erasures(ledger))
    except (sqlite3.DatabaseError, OSError):  # `read_tallies` reports it
        pass
    return Erasures()


def read_tallies(data_dir: Path, since: float) -> tuple[list[Tally], list[Tally]]:
    """Return rejections and losses of the ledger by reason, the most frequent first.

    Args:
        since: the time from which on they are recent, in seconds since the epoch.

    Raises:
        LedgerError: the ledger is damaged, or cannot be read, or a newer fastlog has written it.
    """
    path = data_dir / "ledger.db"
    try:
        if not path.exists():
            return [], []
        with closing(open_file(path)) as ledger:
            if not check_layout(ledger, path):
                return [], []
            return (
                _tally(ledger, "rejected", "received", since),
                _tally(ledger, "losses", "last", since),
            )
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            f"ledger {path} cannot be read ({error}); a running server renames a damaged ledger "
            "and begins a new one"
        ) from None
    except OSError as error:
        raise LedgerError(f"ledger {path} cannot be read: {error.strerror}") from None


def _tally(ledger: sqlite3.Connection, table: str, moment: str, since: float) -> list[Tally]:
    is_recent = f"(rowid >= 0 AND {moment} >= :since)"  # below 0 are sums of rows of any time
    rows = ledger.execute(
        f"SELECT reason, {total('max(count, 0)')}, {total('max(-count, 0)')}, max({moment}),"  # noqa: S608 our own text
        f" {total(f'max(count, 0) * {is_recent}')}, {total(f'max(-count, 0) * {is_recent}')}"
        f" FROM {table} GROUP BY reason ORDER BY 2 DESC, 1",
        {"since": since},
    )
    return [Tally(*row) for row in rows]
