# -*- coding: utf-8 -*-
"""The store in memory. `outbox` decides when it is full, and what is dropped."""

from __future__ import absolute_import, division, print_function

import collections
import itertools

from fastlog_client.errors import ACK_BEYOND_SENT, NewIdNeeded
from fastlog_client.gap import LEFT_AT_EXIT, MEMORY_FULL, REASONS, TOO_LARGE, Gap, count_numbers
from fastlog_client.store import BATCH_RECORDS, OVERHEAD, Store


class Memory(Store):
    """A store in memory, which ends with the process."""

    def __init__(self):
        Store.__init__(self)
        self.pending = 0  # records, without the gaps between them
        self._sent = collections.deque()  # from `first` to `cursor`
        self._waiting = collections.deque()  # from `cursor` to `next`
        self._declared = dict.fromkeys(REASONS, 0)  # dropped records that were acknowledged

    def recover(self):
        """Complete a change that an exception interrupted, and count the queues again."""
        self._complete_change()
        self.cursor = self.first + sum(map(count_numbers, self._sent))
        self.sent = max(self.sent, self.cursor)
        self.next = self.cursor + sum(map(count_numbers, self._waiting))
        dropped, pending, size = self._declared.copy(), 0, 0
        for entry in itertools.chain(self._sent, self._waiting):
            if entry.__class__ is Gap:
                dropped[entry.reason] += entry.count
            else:
                pending += 1
                size += len(entry) + OVERHEAD
        self.dropped, self.pending, self.bytes = dropped, pending, size

    def extend(self, records, stamp):
        """Append records; those that do not fit are dropped at `stamp`."""
        count = len(records)
        self._waiting.extend(records)
        self.next += count
        self.pending += count
        self.bytes += sum(map(len, records)) + count * OVERHEAD

    def add_gap(self, reason, stamp):
        """Give the next number to a record that is dropped at `stamp`."""
        last = self._waiting[-1] if self._waiting else None
        merges = last.__class__ is Gap and last.reason == reason
        if merges:
            last.grow(stamp)
        else:
            self._waiting.append(Gap(reason, stamp))
        self.next += 1
        self._count_gap(reason, not merges)

    def drop_oldest(self, size, stamp):
        """Drop records that were not sent, the oldest first, until `size` bytes are free."""
        waiting, at = self._waiting, 0
        while at < len(waiting) and size > 0:
            entry = waiting[at]
            if entry.__class__ is Gap:
                at += 1
                continue
            size -= len(entry) + OVERHEAD
            merges = at > 0 and waiting[at - 1].reason == MEMORY_FULL
            if merges:
                gap = waiting[at - 1]
                gap.t1 = max(gap.t1, stamp)
                self._make_change(self._merge, gap, gap.count + 1, len(waiting) - 1, at)
            else:
                waiting[at] = Gap(MEMORY_FULL, stamp)
                at += 1
            self._remove(entry)
            self._count_gap(MEMORY_FULL, not merges)

    def _merge(self, gap, count, length, at):
        """Add the record at `at` to the gap before it."""
        gap.count = count
        if len(self._waiting) > length:
            del self._waiting[at]

    def declare_left_at_exit(self, stamp):
        """Turn all records that were not sent into gaps: left at exit."""
        entries, gaps = [], 0
        for entry in self._waiting:
            if entry.__class__ is Gap:
                entries.append(Gap(entry.reason, entry.t0, entry.t1, entry.count))
            elif entries and entries[-1].reason == LEFT_AT_EXIT:
                entries[-1].grow(stamp)
            else:
                entries.append(Gap(LEFT_AT_EXIT, stamp))
                gaps += 1
        self._waiting = collections.deque(entries)
        self.gaps += gaps
        self.new_gap_reasons.extend([LEFT_AT_EXIT] * gaps)
        self.recover()

    def take(self, limit, must, max_record, stamp):
        """Return what is to be sent next, and move the cursor past it.

        Args:
            limit: bytes that the records may have, with 4 more for each.
            must: whether a single record may exceed the limit.
            max_record: a record that is larger becomes a gap.

        Returns:
            Its first number, and a list of records or a gap; or None.
        """
        waiting, base, records, size = self._waiting, self.cursor, [], 0
        for entry in itertools.islice(waiting, BATCH_RECORDS):
            if entry.__class__ is Gap:
                break
            if len(entry) > max_record:
                self._reject_next(entry, stamp, not records)
                break
            size += 4 + len(entry)
            if size > limit and (records or not must):
                break
            records.append(entry)
        if records:
            self._advance(records)
            return base, records
        if waiting and waiting[0].__class__ is Gap:
            gap = waiting[0]
            self._advance([gap])
            return base, gap
        return None

    def _reject_next(self, record, stamp, is_first):
        if is_first:  # else the next call does it
            self._waiting[0] = Gap(TOO_LARGE, stamp)
            self._remove(record)
            self._count_gap(TOO_LARGE, True)

    def _advance(self, entries):
        count = len(entries)
        lengths = (len(self._sent) + count, len(self._waiting) - count)
        cursor = self.cursor + sum(map(count_numbers, entries))
        self._make_change(self._move_to_sent, entries, lengths, cursor)

    def _move_to_sent(self, entries, lengths, cursor):
        """Move these entries from `_waiting` to `_sent`."""
        if len(self._sent) < lengths[0]:
            self._sent.extend(entries)
        while len(self._waiting) > lengths[1]:
            self._waiting.popleft()
        self.cursor = cursor
        self.sent = max(self.sent, cursor)

    def ack(self, last, node):
        """Remove what is up to this number, which is below `cursor`: the server `node` has it."""
        self._forget(self._sent, last, node)

    def _forget(self, entries, last, node):
        if last < self.first:
            return
        self.acked_by = node
        number, length, pending, size = self.first, len(entries), self.pending, self.bytes
        declared, rest = self._declared.copy(), None
        for entry in entries:
            if number > last:
                break
            if entry.__class__ is not Gap:
                pending -= 1
                size -= len(entry) + OVERHEAD
                number += 1
            elif number + entry.count - 1 <= last:
                declared[entry.reason] += entry.count
                number += entry.count
            else:
                declared[entry.reason] += last + 1 - number
                rest = number + entry.count - 1 - last
                break
            length -= 1
        self._make_change(self._remove_first, entries, length, rest, last + 1, declared)
        self.pending, self.bytes = pending, size

    def _remove_first(self, entries, length, rest, first, declared):
        while len(entries) > length:
            entries.popleft()
        if rest is not None:
            entries[0].count = rest
        self.first, self._declared = first, declared

    def rewind(self, last, node):
        """Send everything after this number again, over a new connection. Returns how many numbers.

        Raises:
            NewIdNeeded: the server has numbers that were never sent.
        """
        if last >= self.sent:
            raise NewIdNeeded(ACK_BEYOND_SENT, last)
        cursor = self.cursor
        self._unsend()
        self._forget(self._waiting, last, node)
        self.cursor = self.first
        return max(0, cursor - self.first)

    def close(self):
        """Do nothing: what is left ends with the process."""

    def abandon(self, is_interrupted=False):
        """Do nothing: there are no files."""

    def _unsend(self):
        self._make_change(self._put_back, len(self._waiting) + len(self._sent))

    def _put_back(self, length):
        if len(self._waiting) < length:
            self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self.cursor = self.first

    def _remove(self, record):
        self.pending -= 1
        self.bytes -= len(record) + OVERHEAD
