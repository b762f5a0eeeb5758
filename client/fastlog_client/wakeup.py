# -*- coding: utf-8 -*-
"""A socket pair that ends the sleep of a thread."""

from __future__ import absolute_import, division, print_function

import socket

from fastlog_client.compat import OS_ERRORS, fcntl
from fastlog_client.sockets import TRY_AGAIN, close_socket


class Wakeup(object):
    """Ends the sleep of a thread in `wait_for_descriptors`."""

    def __init__(self):
        self._reader = self._writer = None
        self._make()

    def _make(self):
        if hasattr(socket, "socketpair"):
            self._reader, self._writer = socket.socketpair()
        else:  # Python 2 on Windows
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            self._writer = socket.create_connection(listener.getsockname())
            self._reader = listener.accept()[0]
            listener.close()
        for each in (self._reader, self._writer):
            each.setblocking(False)
            if fcntl is not None:
                fcntl.fcntl(each.fileno(), fcntl.F_SETFD, fcntl.FD_CLOEXEC)

    def fileno(self):
        return self._reader.fileno()

    def set(self):
        """Wake the thread, or end its next sleep at once."""
        try:
            self._writer.send(b"!")
        except OS_ERRORS:
            pass  # full: it is set already; or closed: the sleep is bounded

    def clear(self):
        """Forget all calls of `set`. Make the sockets anew if they were closed."""
        try:
            self._reader.recv(4096)
        except OS_ERRORS as error:
            if error.errno not in TRY_AGAIN:
                self.close()
                self._make()

    def close(self):
        close_socket(self._reader)
        close_socket(self._writer)
