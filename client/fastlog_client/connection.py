# -*- coding: utf-8 -*-
"""A connection to the server, opened again after each loss."""

from __future__ import absolute_import, division, print_function

import errno
import os
import random
import socket

from fastlog_client.compat import OS_ERRORS
from fastlog_client.errors import ConnectionRejected, NewIdNeeded
from fastlog_client.session import RETRY, Session
from fastlog_client.sockets import IN_PROGRESS, NO_SIGNAL, TRY_AGAIN, close_socket, make_socket
from fastlog_client.tls import TlsSocket

_random = random.SystemRandom()  # the children of a fork would share the state of another generator
_SHORTEST_DELAY, _LONGEST_DELAY = 0.01, 3600.0
_EMIT_DELAY = 0.05  # a record that is emitted shortens a delay to this
_ERROR_DELAY = 0.1
_WELCOME_SECONDS = 10.0
_CHUNKS = 16  # to send or receive before the other direction is served


class BackOff(object):
    """Delays between attempts to connect: a handler's `retryStart`, `retryFactor`, `retryMax`."""

    def __init__(self):
        self.start, self.factor, self.longest = _SHORTEST_DELAY, 2.0, 1.0

    def after(self, delay):
        """Return the delay that follows this one, or the first after None."""
        delay = self.start if delay is None else max(self.start, self.factor * delay)
        return max(_SHORTEST_DELAY, min(delay, self.longest, _LONGEST_DELAY))


class Connection(object):
    """A connection that is opened again for as long as its store holds something.

    `step` does what can be done without waiting, and never raises for what the network does.

    Args:
        address: a Unix path, or (host, port).
        report: called with (kind, text, exception or None) when an outage begins.
    """

    def __init__(self, store, guard, address, options, report):
        self.store = store
        self.connections = self.resent = self.batches = self.new_ids = 0
        self.finishing = False  # no record will be added: send a BYE, and end
        self.due = None  # when the next step must be, or None
        self._guard, self._address, self._options = guard, address, options
        self._report, self._last_report = report, None
        self.failures = 0  # connections in a row that were lost without any progress
        self._addresses = []  # of the host name, not yet tried
        self._socket = self._session = None
        self._is_connected = False
        self._began_at = 0.0  # when this connection was begun
        self._delay = None  # before the last attempt; None: the last connection made progress
        self._next_try = self._earliest_try = 0.0
        self._attempted_next = 0  # the store's `next` at the last attempt
        self._is_blocked = False  # the socket's send buffer is full
        self._id_is_finished = False  # a BYE was sent

    @property
    def is_ready(self):
        """Whether the handshake is done."""
        session = self._session  # the sender's thread may end it at any time
        return session is not None and session.is_ready

    @property
    def is_done(self):
        """Whether it was finishing, and has finished."""
        return self.finishing and self._socket is None and self.store.first == self.store.next

    @property
    def may_connect(self):
        """Whether it is connected, or may be at the first attempt."""
        return self._socket is not None or not self._attempted_next

    @property
    def may_progress(self):
        """Whether it is connected, or the last record that was added has not been tried yet."""
        return self._socket is not None or self._attempted_next != self.store.next

    @property
    def node(self):
        """The id of the server, or None."""
        session = self._session
        return session.node if session is not None and session.is_ready else None

    @property
    def has_backlog(self):
        """Whether there is something to send that waits for the server."""
        return self._socket is not None and (
            self._is_blocked or self.store.cursor < self.store.next
        )

    def can_send_now(self, now):
        """Return whether a record emitted now would be sent at once, or cause an attempt."""
        if self._socket is None:
            return now >= self._earliest_try
        return self.is_ready and not self.has_backlog

    def wait(self, now):
        """Return the seconds until the next attempt to connect, if no record is emitted before."""
        return 0.0 if self._socket is not None else max(0.0, self._next_try - now)

    def retry_now(self):
        """Try to connect at the next step."""
        self._next_try = self._earliest_try = 0.0

    def descriptor(self):
        """Return (descriptor, whether to wait for room to send), or None."""
        if self._socket is None:
            return None
        if self._is_connected:
            wants_room = self._is_blocked
        else:
            wants_room = getattr(self._socket, "wants_room", True)  # else TLS waits for an answer
        return self._socket.fileno(), wants_room

    def step(self, now, stamp):
        """Connect, receive and send. Sets `due`."""
        self._check_store(now)
        try:
            if self._socket is None:
                self._try_to_connect(now)
            if self._socket is not None and self._has_connected(now):
                self._receive(now)
                self._send(stamp, now)
                self._check_server(now)
        except ConnectionRejected as error:
            delay = _ERROR_DELAY if error.action == RETRY else self._options.retry_interval
            self._disconnect(now, str(error), None, delay)
        except NewIdNeeded as error:
            self._take_new_id(now, error)
        except OS_ERRORS as error:
            self._disconnect(now, "the connection was lost", error, 0.0)
        self._set_due(now)

    # The next thread that takes the guard completes what an exception of a signal handler ends.

    def _recover(self):
        self.store.recover()
        self._guard.unfinished = None

    def _check_store(self, now):
        with self._guard:
            self._guard.unfinished = self._recover
            self.store.check(now)
            self._guard.unfinished = None

    def _renumber(self, claimed=None):
        with self._guard:
            self._guard.unfinished = self._recover
            again = self.store.cursor - self.store.first
            doubtful = self.store.renumber(claimed)
            self._guard.unfinished = None
        return again, doubtful

    def _take_new_id(self, now, error):
        """Continue under a new client id, which keeps all that was not acknowledged rightly."""
        again, doubtful = self._renumber(error.claimed)
        self.resent += again
        self.new_ids += 1
        text = "%s: a new client id is taken" % error
        if doubtful:
            text += ", and %d records are sent again: some may be stored twice" % doubtful
        if self._last_report != text:
            self._last_report = text
            self._report("identity", text, None)
        self._disconnect(now, text, None, 0.0 if error.claimed is None else _ERROR_DELAY)

    def close(self):
        """Close the socket, if there is one."""
        if self._socket is not None:
            close_socket(self._socket)
        self._socket = self._session = None

    # -- the parts of a step --

    def _try_to_connect(self, now):
        if self.store.first == self.store.next or now < self._earliest_try:
            return
        if now < self._next_try and self.store.next == self._attempted_next:
            return
        if self._id_is_finished:  # the BYE has ended the id
            self._renumber()
            self._id_is_finished = False
        self._attempted_next = self.store.next
        self._began_at = now
        self._is_connected = self._is_blocked = False
        try:
            if not self._addresses:
                self._addresses = self._resolve()
            family, address = self._addresses.pop(0)
            self._socket = make_socket(family)
            code = self._socket.connect_ex(address)
            if code and (code not in IN_PROGRESS or not isinstance(address, tuple)):
                raise socket.error(code, os.strerror(code))
        except OS_ERRORS + (UnicodeError,) as error:
            self._disconnect(now, "cannot connect", error, 0.0)

    def _resolve(self):
        if not isinstance(self._address, tuple):
            return [(socket.AF_UNIX, self._address)]
        host, port = self._address
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        return [(entry[0], entry[4]) for entry in found]

    def _has_connected(self, now):
        if self._is_connected:
            return True
        if not self._has_reached_peer(now):
            return False
        self._is_connected = True
        self._addresses = []
        self.connections += 1
        with self._guard:
            self._session = Session(self.store, self._options.key, now)
        return True

    def _has_reached_peer(self, now):
        """Return whether the socket is connected, with TLS if that is wanted."""
        tls = self._options.tls
        if tls is None or self._socket.__class__ is not TlsSocket:
            if not self._has_reached_host(now):
                return False
            if tls is None:
                return True
            self._socket = tls.wrap(self._socket)
        if self._socket.step_handshake():
            return True
        if now - self._began_at >= self._options.connect_timeout:
            self._disconnect(now, "no TLS handshake within connect_timeout", None, 0.0)
        return False

    def _has_reached_host(self, now):
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._disconnect(now, "cannot connect", socket.error(code, os.strerror(code)), 0.0)
            return False
        try:
            self._socket.getpeername()
        except OS_ERRORS:
            if now - self._began_at >= self._options.connect_timeout:
                self._disconnect(now, "no connection within connect_timeout", None, 0.0)
            return False
        return True

    def _receive(self, now):
        for _ in range(_CHUNKS):
            try:
                data = self._socket.recv(65536)
            except OS_ERRORS as error:
                if error.errno in TRY_AGAIN:
                    return
                raise
            if not data:
                raise socket.error(errno.ECONNRESET, "the server closed it")
            with self._guard:
                self._guard.unfinished = self._recover
                self._session.receive(data, now)
                self._account()
                self._guard.unfinished = None

    def _account(self):
        session = self._session
        self.resent, session.resent = self.resent + session.resent, 0
        self.batches, session.batches = self.batches + session.batches, 0
        if session.has_progressed:
            self._delay = self._last_report = None
            self.failures = 0

    def _send(self, stamp, now):
        self._is_blocked = False
        for _ in range(_CHUNKS):
            with self._guard:
                self._guard.unfinished = self._recover
                self._session.fill(stamp)
                self._account()
                self._guard.unfinished = None
                if self.finishing and self.is_ready and self.store.first == self.store.next:
                    if not self._session.sent_bye and self._session.retry_ms is None:
                        self._session.bye()
            data = self._session.to_send()
            if not data:
                return
            try:
                self._session.sent(self._socket.send(data, NO_SIGNAL))
            except OS_ERRORS as error:
                if error.errno not in TRY_AGAIN:
                    self._receive(now)  # the server may have sent the reason
                    raise
                self._is_blocked = True
                return
        self._is_blocked = True  # the socket may take more, but what was received is read first

    def _check_server(self, now):
        """Treat a server as dead that is silent while an answer is due."""
        session = self._session
        silent = now - session.received_at
        if not session.is_ready:
            if now - self._began_at >= _WELCOME_SECONDS:
                raise ConnectionRejected(RETRY, "no welcome within %d s" % _WELCOME_SECONDS)
        elif self._expects_answer() and silent >= 3 * session.keepalive:
            raise ConnectionRejected(RETRY, "nothing received from the server for %d s" % silent)

    def _expects_answer(self):
        session = self._session
        return (
            self.store.first < self.store.next or session.retry_ms is not None or session.sent_bye
        )

    def _disconnect(self, now, text, error, least):
        """Close the connection, and try again after `least` seconds or more."""
        session = self._session
        self.failures += session is not None
        self.close()
        self._id_is_finished = session is not None and session.sent_bye
        if session is not None and session.retry_ms is not None:
            least = max(least, session.retry_ms / 1000.0)
        elif self._id_is_finished:
            pass  # the connection was to end; a record was logged since
        elif self.store.first < self.store.next and self._last_report != text:
            self._last_report = text
            self._report("connection", text, error)
        if self._addresses:
            delay = 0.0  # the host has another address
        elif self._delay is None and session is not None:
            delay = self._delay = 0.0
        else:
            delay = self._delay = self._options.back_off.after(self._delay)
            delay *= 0.5 + _random.random() / 2
        self._next_try = now + max(delay, least)
        self._earliest_try = now + max(min(delay, _EMIT_DELAY), least)

    def _set_due(self, now):
        self.due = None
        if self._socket is None:
            if self.store.first < self.store.next:
                waits = now < self._earliest_try or self.store.next != self._attempted_next
                self.due = self._earliest_try if waits else self._next_try
        elif not self._is_connected:
            self.due = self._began_at + self._options.connect_timeout
        elif not self._session.is_ready:
            self.due = self._began_at + _WELCOME_SECONDS
        elif self._expects_answer():
            self.due = self._session.received_at + 3 * self._session.keepalive
