# -*- coding: utf-8 -*-
"""The thread that sends the records of one handler."""

from __future__ import absolute_import, division, print_function

import threading
import time

from fastlog_client.compat import getpid, monotonic
from fastlog_client.connection import Connection
from fastlog_client.guard import Guard
from fastlog_client.orphans import Orphans
from fastlog_client.process import is_thread_starting, process
from fastlog_client.sockets import wait_for_descriptors
from fastlog_client.wakeup import Wakeup

GATHER_SECONDS = 0.02  # while records keep coming: they are gathered
DECLARE_SECONDS = 0.5  # before the deadline at exit, at most: to declare what cannot be sent
POLL_RECORDS = 1000  # without a thread: emit polls after that many, or after _POLL_SECONDS
_POLL_SECONDS = 0.05
_LONGEST_SLEEP = 5.0
_START_SECONDS = 1.0  # between two attempts to start a thread; and for one that started, to begin
_LONG_START_SECONDS = 60.0  # for one that does not begin: until another is started


class Sender(object):
    """Moves records from the inbox to the store, and from there to the server, poll by poll.

    Only the holder of `poll_guard` uses the connections: the thread, for as long as it runs. Where
    no thread can be started (the interpreter ends, is an isolated subinterpreter, or has too many
    threads), the application's threads poll in `emit`, `flush` and `close`.

    Args:
        outbox: the `Outbox` whose records are sent. The sender uses its `guard`, `inbox`,
            `needs_wakeup`, `stamp`, `settle`, `recover_store`, `after_poll`, `detach`, `is_current`
            and `notify`.
        store: from which the records are sent.
        options: `Options` of the handler.
        directory: the spool directory, or None.
        report: called with (kind, text, exception or None).
    """

    def __init__(self, outbox, store, options, directory, report):
        self._outbox, self._report = outbox, report
        self.connection = Connection(store, outbox.guard, options.address, options, report)
        self.wakeup = Wakeup()
        self.poll_guard = Guard()
        self.pid = getpid()
        self.has_thread = False
        self.has_ended = False
        self.is_finishing = False  # the handler was closed: end when all is sent
        self.progress_at = monotonic()  # when the server last acknowledged something
        self.poll_at = 0.0  # when an application's thread may poll next, if there is no other
        self._start_at = 0.0  # when to try again to start a thread
        self._is_interrupted = False  # an exception ended the last poll
        self._first = self._next = 1  # the store's `first` and `next` when this poll began
        self._orphans = Orphans(directory, options, report)
        self._deadline = self._declare_at = None
        self._has_declared = False

    def start(self):
        """Start the thread, if that is possible now."""
        now = monotonic()
        if self.has_thread or process.is_ending or now < self._start_at or is_thread_starting():
            return
        self._start_at = now + _START_SECONDS
        try:
            thread = threading.Thread(target=self._run, name="fastlog-sender")
            thread.daemon = True
            thread.start()
            self.poll_at, self._start_at = now + _START_SECONDS, now + _LONG_START_SECONDS
        except Exception:
            pass  # not a RuntimeError in Python 2

    def resume(self):
        """Continue after `finish`: there are new records."""
        self.is_finishing = False

    def finish(self):
        """End when all is sent."""
        self.is_finishing = True
        self.wakeup.set()

    def finish_within(self, seconds):
        """Send all that can be sent in that time; then end."""
        deadline = monotonic() + seconds
        self._declare_at = deadline - min(DECLARE_SECONDS, seconds / 4)
        self._deadline = deadline
        self.finish()

    def abandon(self, is_interrupted):
        """Close the child's copies of the parent's descriptors, after a fork.

        Args:
            is_interrupted: the fork has interrupted a change of the store, in this thread.
        """
        self.has_ended = True
        for connection in self._connections():
            connection.close()
            connection.store.abandon(is_interrupted)
        self.wakeup.close()

    def needs_poll_here(self):
        """Return whether a waiting thread of the application should poll."""
        is_starting = self._start_at - monotonic() > _LONG_START_SECONDS - _START_SECONDS
        return not self.has_thread and not is_starting

    def is_progressing(self, seconds):
        """Return whether the server is there, or may be, and has acknowledged something within
        `seconds`.
        """
        return self.connection.may_progress and monotonic() - self.progress_at < seconds

    def poll_here(self, seconds):
        """Poll in a thread of the application, and wait `seconds` at most.

        Returns:
            Whether it has polled: another thread may be polling.
        """
        if not self.poll_guard.attempt():
            return False
        try:
            if self._is_interrupted:
                for connection in self._connections():
                    connection.close()
                self._outbox.recover_store()
            self._is_interrupted = True
            self.poll(seconds)
            self._is_interrupted = False
            self.poll_at = monotonic() + (_POLL_SECONDS if not seconds else 0.0)
        except Exception:
            if self._outbox.is_current(self):  # else a fork interrupted it, and this is the child
                raise
        finally:
            self.poll_guard.release()
        return True

    def poll(self, longest=None):
        """Do everything that can be done now; then wait for more work, if there is none.

        Args:
            longest: seconds that it waits at most; None waits for as long as there is no work.
        """
        outbox, connection, now = self._outbox, self.connection, monotonic()
        stamp = outbox.stamp()
        outbox.settle()
        previous, self._next = self._next, connection.store.next
        connection.finishing = self.is_finishing
        if self._deadline is not None and now >= self._declare_at:
            self._declare_left(stamp)
        connection.step(now, stamp)
        if connection.store.first != self._first:
            self._first, self.progress_at = connection.store.first, now
        self._orphans.step(now, stamp)
        outbox.after_poll()
        is_late = self._deadline is not None and now >= self._deadline
        if is_late or (self.is_finishing and self._is_done()):
            self._end()
        if not self.has_ended:
            self._wait_for_work(now, self._next != previous, longest)

    def _run(self):
        for _ in range(100):
            if self.poll_guard.attempt():
                break
            time.sleep(0.01)  # a thread of the application polls
        else:
            self._start_at = 0.0
            return
        if self.has_ended:
            return  # two threads of the application have started one each
        self._is_interrupted = False
        self.has_thread = True
        self._outbox.needs_wakeup = False
        while not self.has_ended:
            try:
                self.poll()
            except Exception as error:
                self._report("internal", "the sender failed, and starts again", error)
                for connection in self._connections():
                    connection.close()
                wait_for_descriptors([], 1.0)
                if self._deadline is not None and monotonic() >= self._deadline:
                    self._end()

    def _wait_for_work(self, now, is_busy, longest):
        outbox, connections = self._outbox, self._connections()
        dues = [connection.due for connection in connections] + [self._orphans.due]
        dues = [due for due in dues if due is not None] + [now + _LONGEST_SLEEP]
        if self._deadline is not None:
            dues.append(self._deadline if now >= self._declare_at else self._declare_at)
        may_gather = longest is None and not self.is_finishing
        descriptors = [(self.wakeup.fileno(), False)]
        if is_busy and may_gather and not any(each.has_backlog for each in connections):
            # Records keep coming. To be woken by each of them would cost more than sending it.
            wait_for_descriptors(descriptors, GATHER_SECONDS)
        else:
            found = [connection.descriptor() for connection in connections]
            descriptors += [descriptor for descriptor in found if descriptor is not None]
            seconds = min(dues) - now
            if longest is not None:
                seconds = min(seconds, longest)
            elif self.connection.can_send_now(now) or self.connection.store.first == self._next:
                # Otherwise records wait already, and another one need not wake this thread.
                outbox.needs_wakeup = True
                if outbox.inbox or self.connection.store.next != self._next:
                    seconds = 0.0  # a record came before its thread could see `needs_wakeup`
            elif is_busy or outbox.inbox:
                seconds = min(seconds, GATHER_SECONDS)
            wait_for_descriptors(descriptors, max(0.0, seconds))
            outbox.needs_wakeup = not self.has_thread
        self.wakeup.clear()

    def _connections(self):
        adopted = self._orphans.connection
        return [self.connection] if adopted is None else [self.connection, adopted]

    def _is_done(self):
        return self.connection.is_done and not self._orphans.may_connect

    def _declare_left(self, stamp):
        """Declare to the server what it will not get. The next start sends what is on disk."""
        store = self.connection.store
        if self.connection.is_ready and not self._has_declared and not store.persistent:
            self._has_declared = True
            with self._outbox.guard:
                store.declare_left_at_exit(stamp)

    def _end(self):
        """Close everything, unless there is something to send and still time for it."""
        is_late = self._deadline is not None and monotonic() >= self._deadline
        if not self._outbox.detach(self, is_late):
            return
        for connection in self._connections():
            connection.close()
        self._orphans.abandon()
        self.wakeup.close()
        self._outbox.notify()
