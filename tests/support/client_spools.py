"""Spools of `fastlog_client`, filled and read without a handler."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from fastlog_client.gap import Gap
from fastlog_client.session import Session
from fastlog_client.spool import Spool
from protocol_server import Peer, Table

STAMP = 1_700_000_000_000_000
NODE = b"n" * 16


def record(number: int, size: int = 0) -> bytes:
    return pickle.dumps({"number": number, "filler": "x" * size}, 4)


def make(base: Path, max_bytes: int = 1 << 30, **options: Any) -> Any:
    return Spool.create(str(base), max_bytes, options.get("fsync", False))


def crash(spool: Any) -> Path:
    """Leave the files as they are and release the lock, as the end of the process does."""
    spool.abandon()
    return Path(spool.folder)


def path_of(spool: Any, index: int = -1) -> Path:
    """Return the path of a segment."""
    return Path(spool.folder, spool._segments[index].name)


def adopt(folder: Path) -> Any:
    return Spool.adopt(str(folder))


def drain(spool: Any) -> list[Any]:
    """Return what would be sent: (number, record number) and (first number, gap)."""
    found = []
    while (what := spool.take(1 << 20, True, 1 << 20, STAMP)) is not None:
        base, content = what
        if isinstance(content, Gap):
            found.append((base, (content.count, content.reason)))
        else:
            found += [(base + i, pickle.loads(r)["number"]) for i, r in enumerate(content)]
    return found


def send(spool: Any, table: Table) -> None:
    """Send everything to the server's side of the fastlog protocol."""
    session, peer = Session(spool, None, 0.0), Peer(table)
    while True:
        session.fill(STAMP)
        data = session.to_send()
        if not data:
            return
        session.sent(len(data))
        session.receive(peer.receive(data), 0.0)


def plain(*numbers: int) -> list[tuple[int, int]]:
    return [(number, number) for number in numbers]


def left_behind(base: Path, count: int, sent: int, acked: int) -> Path:
    """Make the folder of an ended process: so many records were written, sent, acknowledged."""
    spool = make(base)
    spool.extend([record(n) for n in range(1, sent + 1)], STAMP)
    drain(spool)
    spool.ack(acked, NODE)
    spool.extend([record(n) for n in range(sent + 1, count + 1)], STAMP)
    return crash(spool)
