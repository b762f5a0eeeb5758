# -*- coding: utf-8 -*-
"""What a handler has to send: the inbox, the store, and the sender that empties them.

`SocketHandler.emit` appends a record to the inbox with `append`, without a lock, as long as it fits
into `room`; else it calls `put`, which measures the room. What waits, ends, forks or counts is here
too, because each of these must leave inbox, store and sender consistent at any bytecode. Hence this
is one file.
"""

from __future__ import absolute_import, division, print_function

import binascii
import collections
import os
import sys
import threading
import time

from fastlog_client.compat import PYTHON_2, allocate_lock, getpid, monotonic, thread_id
from fastlog_client.gap import LEFT_AT_EXIT, MEMORY_FULL, REASONS, SPOOL_FULL, Gap
from fastlog_client.guard import Guard, frames_at_fork
from fastlog_client.memory import Memory
from fastlog_client.process import call_at_end_of_worker, outboxes, process
from fastlog_client.sender import DECLARE_SECONDS, GATHER_SECONDS, POLL_RECORDS, Sender
from fastlog_client.spool import Spool
from fastlog_client.store import OVERHEAD
from fastlog_client.totals import add_totals, no_totals, totals_of

_NO_ACK_SECONDS = 1.0  # without an acknowledgement, that close() waits in a running process


class Outbox(object):
    """The records of one handler in this process, on their way to the server.

    Args:
        options: `Options` of the handler.
        reporter: `Reporter` of the handler.
    """

    def __init__(self, options, reporter):
        self.options, self.reporter = options, reporter
        self._report = reporter.report
        self._begin()
        outboxes.add(self)

    def _begin(self):
        """Begin with nothing, in this process."""
        self.pid = os.getpid()
        self.guard = Guard()
        self.inbox = collections.deque()  # of records; of gaps too, if `_has_gaps`
        self._has_gaps = False
        self._change = None  # what is being moved from the inbox to the store: see `_move`
        self.append = self.inbox.append
        self.room = -1  # bytes that the inbox may take; below 0: call `put`
        self.needs_wakeup = True  # there is no sender that would find a record by itself
        self.store = self.sender = None
        self._waiters = collections.deque()  # locked locks, released after a poll
        self._past = no_totals()  # of the senders that have ended
        self._reported_left = [0, 0]  # records that were not sent at exit: kept, lost

    # -- a record --

    def put(self, data):
        """Take a record or a gap for which `room` may not suffice. Never raises an Exception."""
        pid, arrival = self.pid, collections.deque((data, None))
        try:
            self.open()
            store = self.store  # another thread may end the sender at any time
            if data.__class__ is Gap or store is None or store.persistent:
                self._keep(arrival)
                self.settle()
            else:
                self._put_in_memory(arrival, len(data) + OVERHEAD)
            if self.needs_wakeup:
                self.wake_sender()
            self._report_store()
        except Exception as error:
            if self.pid == pid:  # else it is the parent's record: this is a child
                self._report("internal", "emit() was interrupted", error)
                self._keep_if_left(arrival)

    def _keep(self, arrival):
        """Move a record to the inbox; either it is in there afterwards or not, whatever happens."""
        if arrival[0].__class__ is Gap:
            self._has_gaps = True
        process.sending.add(self)
        self.inbox.extend(iter(arrival.popleft, None))

    def _keep_if_left(self, arrival):
        if not self.guard.is_mine():
            self._complete_once()  # it may be half in the store
        if arrival and arrival[0] is not None:
            self._keep(arrival)

    def _complete_once(self):
        with self.guard:
            pass

    def _put_in_memory(self, arrival, size):
        """Put a record into the memory, or drop what has to be dropped."""
        deadline = None
        while not self.guard.is_mine():
            if deadline is None:
                seconds = self.options.block_timeout if self._may_block() else 0
                deadline = monotonic() + seconds
            is_last = process.is_ending or monotonic() >= deadline
            if self._try_memory(arrival, size, is_last):
                self.settle()  # what came in between
                return
            self.wake_sender()
            self._wait_for(lambda: self.room >= size or process.is_ending, deadline)
        self._keep(arrival)  # this thread holds the guard already, and will find it

    def _try_memory(self, arrival, size, is_last):
        """Put a record into the memory if it fits there; else drop it, if this is its last try.

        Returns:
            Whether it was put there or dropped.
        """
        with self.guard:
            store, max_bytes = self.store, self.options.max_bytes
            if store is None or store.persistent:  # the sender has ended
                self._keep(arrival)
                return True
            self._empty_inbox()
            excess = store.bytes + size - max_bytes
            if excess > 0 and size <= max_bytes and self.options.when_full == "drop_oldest":
                self._begin_change()
                store.drop_oldest(excess, self.stamp())
                self._end_change()
                excess = store.bytes + size - max_bytes
            if excess > 0 and not is_last:
                return False
            if excess > 0:
                self._has_gaps = True
                arrival[0] = Gap(MEMORY_FULL, self.stamp())
            self._move_all(arrival, [arrival[0]])
            self._measure_room()
            return True

    def _may_block(self):
        is_inside = self._is_inside(self.sender)
        return self.options.when_full == "block" and not is_inside and not _in_event_loop()

    def settle(self):
        """Move what is in the inbox to the store."""
        pid = self.pid
        while self.inbox and self.store is not None and not self.guard.is_mine():
            try:
                self._settle_once()
            except Exception:
                if self.pid == pid:  # else a fork interrupted it, and this is the child
                    raise
                return

    def _settle_once(self):
        with self.guard:
            if self.store is not None:
                self._empty_inbox()
                self._measure_room()

    # The caller of these holds the guard. An exception may end it between any two bytecodes; then
    # the next thread that takes the guard completes the change.

    def _begin_change(self, source=(), records=()):
        change = (self.store, self.store.next, source, records, self.stamp())
        self._change = change
        self.guard.unfinished = self._complete_change
        return change

    def _end_change(self):
        self.guard.unfinished = self._change = None

    def _empty_inbox(self):
        if self.inbox:
            self._move_all(self.inbox, list(self.inbox))

    def _move_all(self, source, records):
        """Move these records, which are at the beginning of that queue, to the store."""
        self._move(*self._begin_change(source, records))
        for _ in records:  # afterwards: a record in neither place would be lost
            source.popleft()
        self._end_change()

    def _complete_change(self):
        change = self._change
        if change is not None:
            store, _, source, records, _ = change
            try:
                store.recover()
            except EnvironmentError as error:
                store.error = error
            self._move(*change)
            done = set(map(id, records))
            while source and id(source[0]) in done:
                source.popleft()
        self._end_change()

    def _move(self, store, number, source, records, stamp):
        """Put these records into the store, except those that have their number there already."""
        if store.next != number:
            records = records[store.next - number :]
        if not self._has_gaps:
            store.extend(records, stamp)
            return
        for record in records:
            if record.__class__ is Gap:
                store.add_gap(record.reason, stamp)
            else:
                store.extend([record], stamp)

    def recover_store(self):
        """Complete the change of the store that an exception has interrupted."""
        with self.guard:
            if self.store is not None:
                self.store.recover()

    def _measure_room(self):
        store = self.store
        if store is not None and not store.persistent and not process.is_ending:
            self.room = self.options.max_bytes - store.bytes

    def stamp(self):
        """Return the time that dates what is dropped, in microseconds since the epoch."""
        return int(self.options.wall_clock() * 1e6)

    # -- the sender --

    def wake_sender(self):
        """Have the sender look at the inbox."""
        sender = self.sender
        if process.is_ending:
            self.finish()
        elif sender is None:
            if self.open():
                self.settle()
        elif sender.has_thread:
            self.needs_wakeup = False
            sender.wakeup.set()
            if self.sender is not sender:  # it has ended meanwhile, and does not look any more
                self.needs_wakeup = True
                if self.inbox:
                    self.wake_sender()
        else:
            self._send_here(sender)

    def _send_here(self, sender):
        """Send in this thread from time to time, until there is a thread for it."""
        sender.start()
        if sender.has_thread:
            return
        self.needs_wakeup = True
        is_due = monotonic() >= sender.poll_at or len(self.inbox) >= POLL_RECORDS
        if is_due and not self._is_inside(sender):
            sender.poll_here(0.0)

    def open(self):
        """Make or resume the sender. Returns whether there is one."""
        sender = self.sender
        if sender is not None and not sender.is_finishing:
            return True
        if self.guard.is_mine():
            return False
        try:
            self._open_sender()
        except EnvironmentError as error:
            self._report("internal", "the records wait: nothing can be sent", error)
        return self.sender is not None

    def _open_sender(self):
        pid = self.pid
        with self.guard:
            sender = self.sender
            if sender is None:
                process.sending.add(self)
                store = self._open_store()
                sender = Sender(self, store, self.options, self.options.spool, self._report)
                self.store = store
                self.sender = sender
                if self.pid != pid:  # a fork interrupted this: they are the parent's
                    self.store = self.sender = None
                    return
                self._measure_room()
            elif not process.is_ending:
                sender.resume()
        sender.start()
        call_at_end_of_worker()

    def _open_store(self):
        options = self.options
        if options.spool is not None:
            try:
                return Spool.create(
                    options.spool, options.spool_max_bytes, options.spool_fsync, options.max_bytes
                )
            except EnvironmentError as error:
                self._report("spool", "no spool: the records are kept in memory", error)
        return Memory()

    def is_current(self, sender):
        """Return whether this is the sender: after a fork, the parent's is not."""
        return self.sender is sender

    def detach(self, sender, is_late):
        """Forget a sender that is about to end, and close its store.

        Returns:
            Whether it may end: all is sent, or it is late.
        """
        with self.guard:
            if self.sender is not sender:
                sender.has_ended = True
                return True
            self._empty_inbox()
            store = self.store
            if not is_late and (store.first != store.next or not sender.is_finishing):
                return False
            self.room, self.needs_wakeup = -1, True
            store.save()
            totals, lost = totals_of(store, sender.connection), store.count_unsaved()
            totals["dropped"][REASONS[LEFT_AT_EXIT]] += lost
            totals["pending"] -= lost
            totals["pending_bytes"] = 0
            self._past = add_totals(self._past, totals)
            self.store = self.sender = None
            self.room, self.needs_wakeup = -1, True  # a thread may have set them in between
            process.sending.discard(self)
            store.close()
            sender.has_ended = True  # close() waits for that: the spool's folder is gone then
        if self.inbox:  # a record came after the inbox was emptied, and found this sender
            process.sending.add(self)
            self.wake_sender()
        return True

    def after_poll(self):
        """Measure the room, report, and notify waiting threads."""
        self._settle_room()
        self._report_store()
        self.notify()

    def _settle_room(self):
        with self.guard:
            self._measure_room()

    def _report_store(self):
        """Report what happened in the store, outside of the guard: the hook may do anything."""
        store = None if self.reporter.is_reporting() else self.store  # its report would be ignored
        while store is not None and store.reports:
            try:
                text, error = store.reports.popleft()
            except IndexError:
                break  # another thread reports it
            self._report("spool", text, error)
        while store is not None and store.new_gap_reasons:
            try:
                reason = store.new_gap_reasons.popleft()
            except IndexError:
                return  # another thread reports it
            error = store.error if reason == SPOOL_FULL else None
            self._report("drop %d" % reason, "records are dropped: %s" % REASONS[reason], error)

    # -- waiting --

    def notify(self):
        """Wake the threads that wait for the sender."""
        waiters = self._waiters
        while waiters:
            try:
                waiters.popleft().release()
            except (IndexError, RuntimeError, threading.ThreadError):
                pass  # another thread does it; or an exception left it unlocked

    def _wait_for(self, condition, until, no_ack_seconds=None):
        """Wait until the condition holds, or until that time. Where the sender has no thread, poll.

        Args:
            no_ack_seconds: wait only while the server is there, and no longer than so many seconds
                without an acknowledgement.

        Returns:
            Whether it holds.
        """
        while not condition():
            sender, seconds = self.sender, until - monotonic()
            if seconds <= 0 or self._is_inside(sender):
                return False
            if sender is not None:
                if no_ack_seconds is not None and not sender.is_progressing(no_ack_seconds):
                    return False
                if sender.needs_poll_here() and sender.poll_here(min(seconds, GATHER_SECONDS)):
                    continue
            self._pause(min(seconds, 0.1))
        return True

    def _is_inside(self, sender):
        """Return whether this thread has interrupted what it would have to wait for, or is the
        sender.
        """
        return self.guard.is_mine() or (sender is not None and sender.poll_guard.is_mine())

    def _pause(self, seconds):
        if PYTHON_2:
            time.sleep(min(seconds, 0.01))
            return
        waiter = allocate_lock()
        waiter.acquire()
        self._waiters.append(waiter)
        waiter.acquire(True, seconds)

    # -- flush and close --

    def flush(self, timeout, is_shutdown):
        """Wait until the server has acknowledged all that was emitted. Returns whether it has.

        Args:
            timeout: seconds; None: `close_timeout`, or what remains of it at exit.
            is_shutdown: without a timeout, wait only while the server is there and acknowledges.
        """
        self.check_process()
        begin, no_ack_seconds = monotonic(), None
        seconds = self.options.close_timeout if timeout is None else timeout
        if timeout is None and process.is_ending:
            seconds = self._seconds_left()
        elif timeout is None and is_shutdown:
            no_ack_seconds = _NO_ACK_SECONDS
        if not self._is_empty():
            if self.sender is None:
                self.open()
            sender = self.sender
            if sender is not None:
                sender.progress_at = max(sender.progress_at, begin)
                sender.wakeup.set()
            self._wait_for(self._is_empty, begin + seconds, no_ack_seconds)
            if timeout is None and process.is_ending:
                process.waited += monotonic() - begin
        return self._is_empty()

    def _is_empty(self):
        if not self.guard.is_mine():
            self.settle()
            return self._is_empty_guarded()
        store = self.store
        return not self.inbox and (store is None or store.first == store.next)

    def _is_empty_guarded(self):
        with self.guard:
            store = self.store
            return not self.inbox and (store is None or store.first == store.next)

    def close(self):
        """Stop the sender when all is sent; wait for it as `SocketHandler.close` does."""
        self.check_process()
        sender = self.sender
        if process.is_ending:
            self.finish()
        elif sender is not None:
            until = monotonic() + self.options.close_timeout
            sender.progress_at = max(sender.progress_at, monotonic())
            sender.finish()
            self.settle()
            # A record that comes now opens it again: then there is nothing to wait for.
            self._wait_for(
                lambda: not sender.is_finishing or _has_ended(sender), until, _NO_ACK_SECONDS
            )

    # -- the end of the process --

    def _seconds_left(self):
        return max(0.0, self.options.close_timeout - process.waited)

    def finish_soon(self):
        """Have the sender end within the time that remains."""
        if self.inbox:
            self.open()
        sender = self.sender
        if sender is not None:
            sender.finish_within(self._seconds_left())

    def finish(self):
        """Send what is left within the time that remains; report what could not be sent."""
        begin, seconds = monotonic(), self._seconds_left()
        self.finish_soon()
        sender = self.sender
        if self._is_inside(sender):
            return
        if sender is not None:
            self._wait_for(lambda: _has_ended(sender), begin + seconds + DECLARE_SECONDS)
            if process.is_ending:
                process.waited += monotonic() - begin
        fates = ("stay in the spool for the next start", "are lost")
        for at, (count, fate) in enumerate(zip(self._count_left(), fates)):
            if count > self._reported_left[at]:
                count, self._reported_left[at] = count - self._reported_left[at], count
                text = "%d records were left at exit: they %s" % (count, fate)
                self._report("left, %s" % fate, text, None)

    def _count_left(self):
        """Return how many records were not sent: those that are kept, and those that are lost."""
        kept, lost = self._past["pending"], self._past["dropped"][REASONS[LEFT_AT_EXIT]]
        store = self.store
        if store is not None:  # the sender resolves the host name, or this is its thread
            unsaved = store.count_unsaved()
            kept += store.pending - unsaved
            lost += unsaved + store.dropped[LEFT_AT_EXIT]
        return kept, lost + len(self.inbox)

    # -- counts --

    def stats(self):
        """Return what `SocketHandler.stats` returns."""
        self.check_process()
        stats = self._add_up() if self.guard.is_mine() else self._add_up_guarded()
        self.settle()  # what came in between
        return stats

    def _add_up_guarded(self):
        with self.guard:
            return self._add_up()

    def _add_up(self):
        sender, stats, waiting = self.sender, self._past, list(self.inbox)
        node = name = None
        if sender is not None:
            connection = sender.connection
            stats = add_totals(stats, totals_of(connection.store, connection))
            node, name = connection.node, connection.store.public_name
        else:
            stats = add_totals(stats, no_totals())
        stats["emitted"] += len(waiting)
        stats["pending"] += len(waiting)
        stats["pending_bytes"] += sum(map(len, waiting)) + len(waiting) * OVERHEAD
        stats["reconnects"] = max(0, stats.pop("connections") - 1)
        stats["connected"] = sender is not None and sender.connection.is_ready
        stats["client"] = name
        stats["server"] = binascii.hexlify(node).decode("ascii") if node else None
        stats["last_error"] = self.reporter.last_error
        stats["left"] = self._past["pending"] + self._past["dropped"][REASONS[LEFT_AT_EXIT]]
        return stats

    # -- forks --

    def check_process(self):
        """Begin anew if this is a child, in which no fork hook was called."""
        if self.pid != os.getpid():
            self.after_fork()

    def after_fork(self):
        """Begin anew in a child: what the parent has is the parent's."""
        if PYTHON_2:
            here = thread_id()
            frames = sys._current_frames().items()
            frames_at_fork.update((id(frame), frame) for thread, frame in frames if thread != here)
        sender, guard = self.sender, self.guard
        is_interrupted = guard.is_mine()
        process.sending.discard(self)
        self.reporter.after_fork()
        self._begin()
        guard.release_others()
        if sender is not None:
            sender.abandon(is_interrupted)


def _has_ended(sender):
    """Return whether the sender has ended, or only the parent of this process has it: it may have
    been ending when a fork interrupted the call that waits for it.
    """
    return sender.has_ended or sender.pid != getpid()


def _in_event_loop():
    """Return whether asyncio runs in this thread."""
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and asyncio._get_running_loop() is not None
