# -*- coding: utf-8 -*-
"""The standard handler without its back-off."""

from __future__ import absolute_import, division, print_function

import logging.handlers
import socket
import time

from fastlog_client.arguments import check_number, parse_address, parse_port
from fastlog_client.compat import OS_ERRORS
from fastlog_client.record import encode_with_text
from fastlog_client.session import LENGTH
from fastlog_client.sockets import TRY_AGAIN, close_socket, enable_keepalive, SHORTEST_WAIT

_STANDARD_PROTOCOL = 1  # what the standard handler sends
_StandardHandler = logging.handlers.SocketHandler  # a program may put ours in its place
_ATTEMPTS = 3
_ESTABLISHED = 1  # TCP_ESTABLISHED of Linux


class ReconnectingSocketHandler(_StandardHandler):
    """The standard handler for receivers that speak only its protocol, without its back-off.

    Before each record it checks that the receiver is still there, and connects again if not; each
    record has three attempts. An error of the third reaches `handleError`. As with the standard
    handler, what the kernel has accepted may still be lost.

    Args:
        host: of the receiver; or the path of its Unix socket, with no port.
        port: of the receiver.
        timeout: seconds that one attempt to connect or to send may block.

    Raises:
        ValueError: an argument makes no sense.
    """

    def __init__(self, host, port=None, timeout=1.0):
        if isinstance(self, ReconnectingSocketHandler):  # not a DatagramHandler that has it as base
            parse_address(host, port)
            port = None if port is None else parse_port(port)
            if timeout is not None:
                check_number("timeout", timeout, 0.001)
        self._has_failed = False
        _StandardHandler.__init__(self, host, port)
        self.timeout = timeout

    @property
    def retryTime(self):
        """When the next attempt to connect may be: at once, since there is no back-off. None while
        the last one succeeded.
        """
        return time.time() + SHORTEST_WAIT if self._has_failed else None

    @retryTime.setter
    def retryTime(self, moment):
        self._has_failed = moment is not None

    def makePickle(self, record):
        """Make the frame of a record as the standard handler does, but leave the record unchanged
        for the handlers that follow, and replace what cannot be pickled by text.
        """
        data, _ = encode_with_text(record, self.formatter, _STANDARD_PROTOCOL)
        return LENGTH.pack(len(data)) + data

    def makeSocket(self, timeout=None):
        """Return a connected socket."""
        timeout = self.timeout if timeout is None else timeout
        if self.port is not None:
            connection = socket.create_connection((self.host, self.port), timeout)
            enable_keepalive(connection, 30, 10, 3)
            return connection
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(self.host)
        except OS_ERRORS:
            connection.close()
            raise
        return connection

    def createSocket(self):
        """Connect, without the back-off of the standard handler.

        Raises:
            EnvironmentError: there is no connection.
        """
        self._has_failed = True
        self.sock = self.makeSocket()
        self._has_failed = False

    def send(self, s):
        """Send the bytes of a record.

        Raises:
            EnvironmentError: the last of the three attempts failed with this.
        """
        for remaining in reversed(range(_ATTEMPTS)):
            try:
                if self.sock is not None and not _is_alive(self.sock):
                    self._drop()
                if self.sock is None:
                    self.createSocket()
                self.sock.sendall(s)
                return
            except OS_ERRORS:
                self._drop()
                if not remaining:
                    raise

    def _drop(self):
        connection, self.sock = self.sock, None
        if connection is not None:
            close_socket(connection)


def _is_alive(connection):
    """Return whether the peer has not closed or lost the connection, as far as the kernel knows."""
    if connection.family != getattr(socket, "AF_UNIX", None) and hasattr(socket, "TCP_INFO"):
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        if bytearray(state)[0] != _ESTABLISHED:
            return False
    timeout = connection.gettimeout()
    connection.setblocking(False)  # else recv() would wait for data
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except OS_ERRORS as error:
        return error.errno in TRY_AGAIN
    finally:
        connection.settimeout(timeout)
