"""A record, a rejection and a loss: what becomes of a frame.

Each frame becomes exactly one of them: a `Record`, a `Rejection` or, when it never arrived, a part
of a `Loss`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import msgspec


class Record(NamedTuple):
    """One log record in normal form, as every sink receives it.

    The names are those of `logging.LogRecord`. Text holds no NUL and no lone surrogate;
    integers fit 64 bits; floats are finite. `None` means that the client did not send the field,
    or that its value is invalid (then `extra` has the value and a note about it).
    """

    created: float
    """Seconds since the epoch, by the client's clock; `received` if the client sent none."""
    levelno: int | None
    levelname: str | None
    name: str | None
    message: str
    pathname: str | None
    filename: str | None
    module: str | None
    lineno: int | None
    funcName: str | None
    process: int | None
    processName: str | None
    thread: int | None
    threadName: str | None
    taskName: str | None
    exc_text: str | None
    stack_info: str | None
    host: str
    """The peer: an IP address, or `unix` for a Unix socket."""
    certificate: str | None
    """The name in the certificate by which the peer has authenticated at a `tls://` listener."""
    received: float
    """Seconds since the epoch, by the server's clock; the same for all records of a block."""
    extra: str
    """JSON text of an object: every attribute that the application added. `{}` if there is none."""
    offset: int
    """Journal offset of the block that holds the frame."""
    idx: int
    """Ordinal of the frame in that block, from 0."""


SITE: Final = (
    *("levelno", "levelname", "name"),
    *("pathname", "filename", "module", "lineno", "funcName"),
)
"""The fields that a call site gives all its records."""
PROCESS: Final = (
    "process",
    "processName",
    "thread",
    "threadName",
    "taskName",
    "host",
    "certificate",
)
"""The fields that are equal in all records of one task in one thread of a process."""

RAW_BYTES = 4096
"""Bytes that are kept of a rejected frame."""


class Rejection(msgspec.Struct, frozen=True, tag="rejected", tag_field="table"):
    """A rejected frame or connection: a row of the ledger's table `rejected`."""

    peer: str
    """`address:port`, or `unix`."""
    reason: str
    length: int
    """Bytes of the frame, or the length that it announced."""
    raw: bytes = b""
    """Its first bytes, at most `RAW_BYTES`."""
    count: int = 1
    """How many rejections with the same reason this one stands for."""
    received: float = 0.0
    """Seconds since the epoch; 0.0 if unknown."""


class Loss(msgspec.Struct, frozen=True, tag="losses", tag_field="table"):
    """Records that are known to be lost: a row of the ledger's table `losses`."""

    peer: str
    """The peer that sent them, or "" for several."""
    reason: str
    count: int
    """How many records; -n for n spans whose numbers of records are unknown."""
    first: float
    """When the first was lost, in seconds since the epoch."""
    last: float
    """When the last was lost."""
    detail: str = ""


@lru_cache(maxsize=1024)
def host_of(peer: str) -> str:
    """Return the peer without its port: `127.0.0.1` for `127.0.0.1:5`, `::1` for `[::1]:5`."""
    peer = peer.partition(" ")[0]
    if peer.startswith("["):
        return peer[1:].partition("]")[0]
    return peer.partition(":")[0] if peer.count(":") == 1 else peer


def identity_of(peer: str) -> str | None:
    """Return the identity that the peer's certificate proves: `payments` for `10.0.0.7:5 payments`.

    None without one.
    """
    return peer.partition(" ")[2] or None


Notice = Rejection | Loss
"""What the receiver writes to the journal beside the frames."""
