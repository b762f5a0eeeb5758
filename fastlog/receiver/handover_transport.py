"""Sends the handover state from one receiver to the next, over a Unix socket with messages.

The state is encoded into one memory file, whose descriptor is the first message. The descriptors
of the connections follow in the order of the state, as many per message as the kernel accepts. So
nothing has to be cut to the size of a socket buffer, and a partial frame of 16 MiB costs one copy.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import time
from collections.abc import Callable, Sequence

import msgspec

from fastlog.core import ExportedConnection
from fastlog.errors import FastlogError
from fastlog.receiver.handover import VERSION, HandoverState

PATIENCE = 10.0
"""Seconds for sending; the supervisor's deadline is earlier."""
MAX_DESCRIPTORS = 253
"""Descriptors per message: the kernel's SCM_MAX_FD."""
RETRY_INTERVAL = 0.001


class _Versioned(msgspec.Struct):
    version: int


def send(to: socket.socket, state: HandoverState, fds: Sequence[int]) -> None:
    """Send the state, then copies of the descriptors of its connections.

    Raises:
        OSError: The other end is closed, or does not read.
    """
    to.settimeout(PATIENCE)
    memory = _memory_file(msgspec.msgpack.encode(state))
    try:
        _send_descriptors(to, [memory])
    finally:
        os.close(memory)
    for at in range(0, len(fds), MAX_DESCRIPTORS):
        _send_descriptors(to, fds[at : at + MAX_DESCRIPTORS])


def receive(
    from_: socket.socket, wait: Callable[[socket.socket], None]
) -> tuple[HandoverState, list[ExportedConnection]]:
    """Receive what `send` has sent.

    Args:
        from_: The other end of `send`'s socket.
        wait: Returns when the socket is readable.

    Returns:
        The state and its connections, whose descriptors the caller owns.

    Raises:
        FastlogError: The old receiver gave up, or has another version.
    """
    (memory,) = _receive_descriptors(from_, wait)
    with os.fdopen(memory, "rb") as file:
        file.seek(0)
        state = _decode(file.read())
    fds: list[int] = []
    while len(fds) < len(state.connections):
        fds += _receive_descriptors(from_, wait)
    connections = [
        ExportedConnection(fd, peer, content)
        for fd, (peer, content) in zip(fds, state.connections, strict=True)
    ]
    return state, connections


def _memory_file(content: bytes) -> int:
    fd = os.memfd_create("fastlog-handover")
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    return fd


def _send_descriptors(to: socket.socket, fds: Sequence[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            to.sendmsg([b"F"], rights)
        except OSError as error:
            # The kernel limits descriptors in flight; the other end is about to receive some.
            if error.errno != errno.ETOOMANYREFS or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_INTERVAL)
        else:
            return


def _receive_descriptors(from_: socket.socket, wait: Callable[[socket.socket], None]) -> list[int]:
    wait(from_)
    fds = array.array("i")
    data, ancillary, flags, _ = from_.recvmsg(
        1, socket.CMSG_LEN(MAX_DESCRIPTORS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if flags & socket.MSG_CTRUNC:
        raise FastlogError("the new receiver may open fewer files than the old one")
    if not data or not fds:
        raise FastlogError("the old receiver ended during the handover")
    return list(fds)


def _decode(content: bytes) -> HandoverState:
    try:
        version = msgspec.msgpack.decode(content, type=_Versioned).version
        if version == VERSION:
            return msgspec.msgpack.decode(content, type=HandoverState)
    except msgspec.MsgspecError as error:
        raise FastlogError(f"cannot read the handover state of the old receiver: {error}") from None
    raise FastlogError(
        f"the old receiver's handover state has version {version}, the new receiver reads version "
        f"{VERSION}: stop and start the server instead"
    )
