# -*- coding: utf-8 -*-
"""A socket pair that ends the sleep of a thread."""

from __future__ import absolute_import, division, print_function

import socket

from fastlog_client.compat import OS_ERRORS, fcntl
from fastlog_client.sockets import TRY_AGAIN, close_socket


class Wakeup(object):
    """Ends the sleep of a thread in `wait_for_descriptors`."""

    def __init__(self):
        self._ours = self._theirs = None
        self._make()

    def _make(self):
        if hasattr(socket, "socketpair"):
            self._ours, self._theirs = socket.socketpair()
        else:  # Python 2 on Windows
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            self._theirs = socket.create_connection(listener.getsockname())
            self._ours = listener.accept()[0]
            listener.close()
        for end in (self._ours, self._theirs):
            end.setblocking(False)
            if fcntl is not None:
                fcntl.fcntl(end.fileno(), fcntl.F_SETFD, fcntl.FD_CLOEXEC)

    def fileno(self):
        return self._ours.fileno()

    def set(self):
        try:
            self._theirs.send(b"!")
        except OS_ERRORS:
            pass  # it is full: set already; or closed: the sleep is bounded

    def clear(self):
        try:
            self._ours.recv(4096)
        except OS_ERRORS as error:
            if error.errno not in TRY_AGAIN:
                self.close()
                self._make()

    def close(self):
        close_socket(self._ours)
        close_socket(self._theirs)
