"""Takes the connections that TLS processes have accepted."""

from __future__ import annotations

import os

from fastlog.core import Loop
from fastlog.errors import LoopError
from fastlog.receiver.rejections import Rejections
from fastlog.tls.channel import Receiver, Rejected

LIMIT = 64
"""Messages in one poll: what is left wakes the next one."""


class TlsConnections:
    """The receiver's end of the channel.

    Args:
        channel: Its descriptor, owned from now on.
    """

    def __init__(self, channel: int, loop: Loop, rejections: Rejections) -> None:
        self._channel, self._loop, self._rejections = Receiver(channel), loop, rejections
        loop.watch(self._channel.fileno())

    def take(self) -> None:
        """Give the loop the connections that wait, and count rejections. Never waits."""
        for message, fd in self._channel.receive(LIMIT):
            if isinstance(message, Rejected):
                self._rejections.add_connection(
                    message.peer, message.reason, message.head, message.count
                )
                continue
            try:
                self._loop.accept(
                    fd,
                    message.peer,
                    stock=message.stock,
                    auth=message.auth,
                    by_identity=message.by_identity,
                )
            except LoopError as error:
                os.close(fd)
                self._rejections.add_connection(message.peer, str(error), b"")
