"""What a record is, and what becomes of a frame that is none.

A frame ends as exactly one of `Record`, `Rejection` or (when it never arrived) a part of a `Loss`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Record(NamedTuple):
    """One log record in its normal form, as every sink gets it.

    The names are those of `logging.LogRecord`. Text holds no NUL and no lone surrogate;
    integers fit 64 bits; floats are finite. `None` means that the client did not send the field
    or that it could not be read (then `extra` holds a note of it).
    """

    created: float
    """Seconds since the epoch, by the client's clock; `received` where the client sent none."""
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
    received: float
    """Seconds since the epoch, by the server's clock; one stamp for all records of a block."""
    extra: str
    """JSON text of an object: every attribute that the application added. `{}` when none."""
    offset: int
    """Journal offset of the block that holds the frame."""
    idx: int
    """Ordinal of the frame in that block, from 0."""


class Rejection(msgspec.Struct, frozen=True, tag="rejected", tag_field="table"):
    """One frame, or one connection, that was refused; a row of the ledger's table `rejected`."""

    peer: str
    """`address:port`, or `unix`."""
    reason: str
    length: int
    """Bytes that the frame has, or announced."""
    raw: bytes = b""
    """The first bytes of it, at most 4 KiB."""
    count: int = 1
    """How many like it this one stands for."""
    received: float = 0.0


class Loss(msgspec.Struct, frozen=True, tag="losses", tag_field="table"):
    """Records that are known to be lost; a row of the ledger's table `losses`."""

    peer: str
    """Who sent them, or "" for many."""
    reason: str
    count: int
    """How many records, or -1 where only the span is known."""
    first: float
    """When the first was lost, seconds since the epoch."""
    last: float
    detail: str = ""


Note = Rejection | Loss
"""What the receiver writes into the journal beside the frames."""
