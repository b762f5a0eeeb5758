"""From one receiver to the next: everything that the old one knows, and every descriptor it has.

The two are joined by a Unix socket that keeps messages apart. All that is bytes goes into one
piece of memory, the *parcel*, whose descriptor is the first message; the descriptors of the
connections follow, in the parcel's order, as many a message as the kernel takes. So nothing has to
be cut to the size of a socket's buffer, and a half-received frame of 16 MiB costs a copy, no more.

The old receiver keeps all it sends. Until it is told to retire it can go on as if nothing had been.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import time
from collections.abc import Callable, Sequence

import msgspec

from fastlog.block import Kind, frames, make_run, runs
from fastlog.core import ExportedConnection
from fastlog.errors import FastlogError
from fastlog.journal import JournalState, Snapshot
from fastlog.record import Note

VERSION = 2
"""Of the parcel: a receiver takes one from a receiver that speaks the same."""
PATIENCE = 10.0
"""Seconds for sending it; the supervisor's own patience ends earlier."""
GROUP = 253
"""Descriptors in one message: SCM_MAX_FD."""
RETRY = 0.001


class Counters(msgspec.Struct, kw_only=True):
    """What a receiver has counted since the service was started, its predecessors' counts too."""

    acks: int = 0
    repeated: int = 0
    accepted: int = 0
    frames: int = 0
    dropped: int = 0
    throttlings: int = 0
    rejected: dict[str, int] = {}


class HandoverState(msgspec.Struct, kw_only=True):
    """What the old receiver knows, at a moment at which it stands still."""

    version: int = VERSION
    journal: JournalState
    clients: Snapshot
    """Of whom the journal has records, up to its end."""
    counters: Counters
    notes: list[Note]
    """What the journal has not taken yet."""
    held: tuple[bytes, int] | None
    """A block that it has not taken either, and its frames."""
    proofs: dict[bytes, bytes]
    """By which secret each client that is connected was admitted; see `Sessions.proofs`."""
    connections: list[tuple[str, bytes]]
    """Peer and state of each, in the order of the descriptors."""


class _Versioned(msgspec.Struct):
    version: int


def send(to: socket.socket, parcel: HandoverState, fds: Sequence[int]) -> None:
    """Sends copies of these descriptors, behind the parcel that tells what they are.

    Raises:
        OSError: The other end has gone, or does not read.
    """
    to.settimeout(PATIENCE)
    memory = _memory(msgspec.msgpack.encode(parcel))
    try:
        _send_group(to, [memory])
    finally:
        os.close(memory)
    for at in range(0, len(fds), GROUP):
        _send_group(to, fds[at : at + GROUP])


def receive(
    from_: socket.socket, wait: Callable[[socket.socket], None]
) -> tuple[HandoverState, list[ExportedConnection]]:
    """Takes what `send` sends; the descriptors are then the caller's.

    Args:
        wait: Returns when there is more to read.

    Raises:
        FastlogError: The old receiver has given up, or speaks another version.
    """
    (memory,) = _receive_group(from_, wait)
    with os.fdopen(memory, "rb") as file:
        file.seek(0)
        parcel = _decode(file.read())
    fds: list[int] = []
    while len(fds) < len(parcel.connections):
        fds += _receive_group(from_, wait)
    handed = [
        ExportedConnection(fd, peer, state)
        for fd, (peer, state) in zip(fds, parcel.connections, strict=True)
    ]
    return parcel, handed


def only_stock(block: bytes) -> tuple[bytes, int] | None:
    """What of a block came from stock clients, with the number of its frames."""
    kept = [run for run in runs(memoryview(block)) if run.kind is Kind.STOCK]
    content = b"".join(
        make_run(Kind.STOCK, map(bytes, frames(run)), peer=run.peer, connection=run.connection)
        for run in kept
    )
    return (content, sum(run.frames for run in kept)) if kept else None


def _memory(content: bytes) -> int:
    fd = os.memfd_create("fastlog-parcel")
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    return fd


def _send_group(to: socket.socket, fds: Sequence[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            to.sendmsg([b"F"], rights)
        except OSError as error:
            # The kernel bounds how many may be under way; the other end is about to take some.
            if error.errno != errno.ETOOMANYREFS or time.monotonic() > deadline:
                raise
            time.sleep(RETRY)
        else:
            return


def _receive_group(from_: socket.socket, wait: Callable[[socket.socket], None]) -> list[int]:
    wait(from_)
    fds = array.array("i")
    data, ancillary, flags, _ = from_.recvmsg(
        1, socket.CMSG_LEN(GROUP * fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if flags & socket.MSG_CTRUNC:
        raise FastlogError("the new receiver may not open as many files as the old one")
    if not data or not fds:
        raise FastlogError("the old receiver has ended before it had handed over everything")
    return list(fds)


def _decode(content: bytes) -> HandoverState:
    try:
        version = msgspec.msgpack.decode(content, type=_Versioned).version
        if version == VERSION:
            return msgspec.msgpack.decode(content, type=HandoverState)
    except msgspec.MsgspecError as error:
        raise FastlogError(f"what the old receiver has sent cannot be read: {error}") from None
    raise FastlogError(
        f"the old receiver hands over in version {version}, the new one takes {VERSION}: "
        "only stopping and starting will do"
    )
