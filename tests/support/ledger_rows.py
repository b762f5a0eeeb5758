"""Entries for a ledger, and the rows that it has of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from builders import MONDAY

from fastlog.ledger import Entry
from fastlog.record import Loss, Rejection


def rejection(peer: str = "10.0.0.1:5", at: float = MONDAY, **fields: object) -> Rejection:
    given = {"reason": "malformed", "length": 9, "raw": b"raw", "received": at} | fields
    return Rejection(peer=peer, **given)


def loss(**fields: object) -> Loss:
    given = {"peer": "", "reason": "full", "count": 3, "first": 1.0, "last": 2.0} | fields
    return Loss(**given)


def entry(offset: int, idx: int, notice: Rejection | Loss, sink: str = "") -> Entry:
    """Return an entry whose block was received at the time in the notice."""
    received = notice.received if isinstance(notice, Rejection) else notice.last
    return Entry(offset, idx, notice, sink, received)


def table(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()
