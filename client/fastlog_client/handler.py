# -*- coding: utf-8 -*-
"""The logging handler of the fastlog protocol."""

from __future__ import absolute_import, division, print_function

import logging
import logging.handlers
import time

from fastlog_client.arguments import check_number, parse_port
from fastlog_client.compat import HAS_FORK_HOOKS, fcntl, getpid, monotonic
from fastlog_client.directory import find_spool_folders
from fastlog_client.files import make_directory
from fastlog_client.gap import NOT_ENCODED, Gap
from fastlog_client.options import Options, check_methods
from fastlog_client.outbox import Outbox
from fastlog_client.record import PICKLE_PROTOCOL, encode, encode_with_text
from fastlog_client.reports import Reporter
from fastlog_client.session import LENGTH
from fastlog_client.sockets import SHORTEST_WAIT
from fastlog_client.store import OVERHEAD

_StandardHandler = logging.handlers.SocketHandler  # a program may put ours in its place


def _back_off_attribute(name):
    def write(handler, seconds):
        setattr(handler._options.back_off, name, float(seconds))

    return property(lambda handler: getattr(handler._options.back_off, name), write)


class SocketHandler(logging.Handler):
    """A handler that sends records to a fastlog-server, and keeps each until it is durable there.

    `emit` never waits for the network, and never raises. Each process that logs through the handler
    sends for itself: after a fork, the child begins with nothing to send, as a client of its own.

    Without a spool, what the server has not acknowledged is lost when the process is killed or ends
    by `os._exit`. With one it is not: `emit` returns when the record is in a file, and the next
    process with the same spool directory, or one that runs already, sends what is left there. The
    file survives the process, and with `spool_fsync` a loss of power too.

    Args:
        host: of the server; or the path of its Unix socket, which has a `/`, with no port.
        port: of the server.
        key: `id:secret`, as the server has it in its configuration.
        max_bytes: limit of what waits in memory, with 64 bytes added for each record.
        when_full: what to do with a record beyond the limit: `drop_newest`, `drop_oldest` (of those
            that are not in flight), or `block` for up to `block_timeout` seconds, but never in a
            thread with a running asyncio loop. With a spool it has no meaning; it may be `spool`
            then. The server learns what is dropped: how many, why, and from when to when.
        block_timeout: seconds.
        spool: a directory for what waits; all processes of this user may share it. It must be this
            user's, or root's, and should be writable for this user only. POSIX systems only.
        spool_max_bytes: limit of each process's files. Beyond it the newest records are dropped.
        spool_fsync: wait for the disk at each record.
        connect_timeout: seconds.
        close_timeout: seconds that `close` may take, and `flush` by default; at the end of the
            program for all handlers together.
        retry_interval: seconds until the next attempt when the server rejects the configuration.
        on_error: called with (text, exception or None), from any thread, when something is dropped
            or an outage begins. By default a line goes to stderr, at most one a minute of each
            kind, unless `logging.raiseExceptions` is false.
        wall_clock: seconds since the epoch; dates what is dropped, and nothing else.
        ssl: TLS, for a `tls://` listener. True verifies the server by the authorities that the
            system trusts. A dictionary may have `cafile` (PEM, the authorities to trust instead),
            `certfile` and `keyfile` (the client's own certificate, where the server demands one),
            `server_hostname` (the name in the server's certificate, if that is not `host`) and
            `ciphers`. Files that are replaced are read again at the next connection. Or an
            `ssl.SSLContext`, for everything else. Python 2 needs 2.7.9.

    A subclass may override `makePickle`; what it returns is sent. `retryStart`, `retryFactor` and
    `retryMax` (0.01, 2 and 1 second) are the delays between attempts to connect.

    Raises:
        ValueError: an argument makes no sense.
        TypeError: this is a subclass with a method of the standard handler that is never called.
        EnvironmentError: the spool directory cannot be made, or a file of `ssl` cannot be read.
    """

    def __init__(
        self,
        host,
        port=None,
        key=None,
        max_bytes=64 * 1024 * 1024,
        when_full="drop_newest",
        block_timeout=1.0,
        spool=None,
        spool_max_bytes=1024 * 1024 * 1024,
        spool_fsync=False,
        connect_timeout=5.0,
        close_timeout=5.0,
        retry_interval=30.0,
        on_error=None,
        wall_clock=time.time,
        ssl=None,
    ):
        if not isinstance(self, SocketHandler):
            _StandardHandler.__init__(self, host, port)  # of a DatagramHandler: ours replaces its
            return  # base class in logging.handlers
        check_methods(type(self))
        self.closeOnError = False  # has no meaning here: nothing is closed by an error of `emit`
        self._has_own_pickles = type(self).makePickle != SocketHandler.makePickle
        self._options = Options(
            host,
            port,
            key,
            when_full,
            spool,
            max_bytes=max_bytes,
            block_timeout=block_timeout,
            spool_max_bytes=spool_max_bytes,
            spool_fsync=spool_fsync,
            connect_timeout=connect_timeout,
            close_timeout=close_timeout,
            retry_interval=retry_interval,
            on_error=on_error,
            wall_clock=wall_clock,
            ssl=ssl,
        )
        self.host, self.port = host, None if port is None else parse_port(port)
        self.address = host if port is None else (host, self.port)
        self._reporter = Reporter(host if port is None else "%s:%s" % (host, port), on_error)
        directory = self._options.spool
        if directory is not None:
            if fcntl is None:
                raise ValueError("there is no spool on this system: it needs fcntl")
            make_directory(directory)
        self._outbox = Outbox(self._options, self._reporter)
        logging.Handler.__init__(self)  # logging closes it at exit: nothing may be missing then
        if directory is not None and find_spool_folders(directory):
            self._outbox.open()  # another process may have left something

    def handle(self, record):
        """Filter and emit a record, without the lock of the handler.

        `emit` needs no lock, and may have to wait.
        """
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record):
        """Take a record, to be sent soon. Never raises an Exception."""
        outbox = self._outbox
        if not HAS_FORK_HOOKS and outbox.pid != getpid():
            outbox.after_fork()
        try:
            if self._has_own_pickles:
                data = self._own_pickle(record)
            else:
                data = encode(record, self.formatter)
        except Exception as error:
            outbox.put(self._rescue(record, error))
            return
        room = outbox.room - len(data) - OVERHEAD
        if room < 0:
            outbox.put(data)
        else:
            outbox.room = room  # where threads race, it is wrong until the inbox is emptied
            outbox.append(data)
            if outbox.needs_wakeup:
                outbox.wake_sender()

    def _rescue(self, record, error):
        """Return the bytes of a record that could not be encoded, or a gap."""
        try:
            data, names = encode_with_text(record, self.formatter, PICKLE_PROTOCOL)
        except Exception:
            return Gap(NOT_ENCODED, self._outbox.stamp())
        name = getattr(record, "name", None)
        text = "a record of %s was sent with this as text: %s" % (name, ", ".join(names))
        if not names:
            text = "a record of %s was sent without makePickle(), which failed" % name
        self._reporter.report("text", text, error)
        return data

    def makePickle(self, record):
        """Make the frame of a record: the length of the rest in four bytes, and a pickled dict.

        A subclass may override it, and return a pickle or a JSON object of its own in such a frame.
        It is called with the lock of the handler held.
        """
        data = encode(record, self.formatter)
        return LENGTH.pack(len(data)) + data

    def _own_pickle(self, record):
        self.acquire()
        try:
            frame = self.makePickle(record)
        finally:
            self.release()
        head = LENGTH.size
        if len(frame) <= head or LENGTH.unpack(frame[:head])[0] != len(frame) - head:
            raise ValueError("makePickle() did not return a length and as many bytes")
        return bytes(frame[head:])

    # -- attributes of the standard handler, which programs use --

    retryStart = _back_off_attribute("start")
    retryFactor = _back_off_attribute("factor")
    retryMax = _back_off_attribute("longest")

    @property
    def retryTime(self):
        """When the next attempt to connect is due, in seconds since the epoch. None while there is
        a connection, or nothing to send. Set to None, it is due at once.
        """
        outbox = self._outbox
        store, sender = outbox.store, outbox.sender
        has_records = outbox.inbox or (store is not None and store.first != store.next)
        if not has_records or (sender is not None and sender.connection.is_ready):
            return None
        wait = 0.0 if sender is None else sender.connection.wait(monotonic())
        return time.time() + max(SHORTEST_WAIT, wait)

    @retryTime.setter
    def retryTime(self, moment):
        sender = self._outbox.sender
        if moment is None and sender is not None:
            sender.connection.retry_now()
            sender.wakeup.set()

    # -- for the application --

    @property
    def close_timeout(self):
        """Seconds that `close` may take."""
        return self._options.close_timeout

    @close_timeout.setter
    def close_timeout(self, seconds):
        check_number("close_timeout", seconds, 0)
        self._options.close_timeout = seconds

    def flush(self, timeout=None):
        """Wait until the server has acknowledged all that was emitted.

        Called by `logging.shutdown()` in a running process, as `dictConfig()` does, it waits only
        while the server is there and acknowledges.

        Args:
            timeout: seconds; `close_timeout` unless given, or what remains of it at exit.

        Returns:
            Whether it has.
        """
        # logging.shutdown() holds the lock of the handler when it calls; no other caller does.
        is_owned = getattr(self.lock, "_is_owned", None)
        return self._outbox.flush(timeout, is_owned is not None and is_owned())

    def close(self):
        """End when all is sent; the next record opens the handler again.

        It waits only while the server is there and acknowledges, and drops nothing: the sender
        continues to send what is left. At the end of the process it waits for up to `close_timeout`
        seconds. What could not be sent then is counted in `stats()` and reported; in a spool it is
        kept for the next process.
        """
        self._outbox.close()
        logging.Handler.close(self)

    def stats(self):
        """Return what became of the records that this process emitted.

        Returns:
            A dict: `emitted`, `acked`; `pending`: not acknowledged, with `pending_bytes` in memory;
            `dropped`: a dict of counts by reason; `gaps`: spans of dropped records; `sent_batches`,
            `resent_records`, `reconnects`, `new_ids`: how often another client id had to be taken;
            `connected`, `client` (the name of this client in the log and the ledger of the server;
            None while there is none), `server` (the id of the node, in hex), `last_error`,
            `spool_bytes`, and `left`: what was not sent when the process ended.
        """
        return self._outbox.stats()
