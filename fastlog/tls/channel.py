"""The channel from TLS processes to the receiver: connections with their peers, and rejections.

It is one pair of sockets for messages, which the supervisor makes once. Every TLS process inherits
one end, every receiver the other. So a connection that no receiver has taken yet waits for the
next one.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import socket
from collections.abc import Iterator

import msgspec

_BYTES = 4096
"""The longest message."""
_FULL = (errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS)


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """A connection whose handshake is done. Its descriptor comes with it."""

    peer: str
    """`address:port`, and after a space the identity that its certificate proves, if any."""
    stock: bool
    auth: bool
    by_identity: bool
    """These three as in `fastlog.core.Loop.accept`."""


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """A connection that was rejected."""

    peer: str
    reason: str
    head: bytes = b""
    """Its first bytes, if they were no TLS."""
    count: int = 1


_Message = Accepted | Rejected
_decoder: msgspec.msgpack.Decoder[_Message] = msgspec.msgpack.Decoder(_Message)


def make() -> tuple[int, int]:
    """Return the descriptors of a new channel: for the TLS processes, and for the receivers."""
    to, from_ = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return to.detach(), from_.detach()


class Sender:
    """The end of a TLS process, which owns `fd`."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._socket.fileno()

    def send(self, message: _Message, fd: int | None = None) -> bool:
        """Send a message, with a copy of the descriptor. Return false if the channel is full."""
        rights = [] if fd is None else [fd]
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", rights))]
        try:
            self._socket.sendmsg(
                [msgspec.msgpack.encode(message)],
                ancillary if rights else [],
                socket.MSG_DONTWAIT,
            )
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return False
        return True


class Receiver:
    """The end of a receiver, which owns `fd`."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._socket.fileno()

    def receive(self, limit: int) -> Iterator[tuple[_Message, int]]:
        """Yield the messages that wait, `limit` at most, each with its descriptor, or -1.

        The caller owns the descriptor. A message of another version of fastlog is skipped.
        """
        for _ in range(limit):
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    _BYTES, socket.CMSG_LEN(4), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            fds = array.array("i")
            for _, _, content in ancillary:
                fds.frombytes(content)
            try:
                message = _decoder.decode(data)
            except msgspec.MsgspecError:
                with contextlib.suppress(IndexError):
                    os.close(fds[0])
                continue
            yield message, fds[0] if fds else -1
