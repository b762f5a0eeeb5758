# -*- coding: utf-8 -*-
"""The store in files.

This is one file because adding, reading, acknowledging and recovering change the same numbers and
the same last gap, and `recover` completes each of them. It knows what the entries mean; how they
get into files and out of them is in `spool_files`.
"""

from __future__ import absolute_import, division, print_function

import binascii
import bisect
import collections
import errno
import os
import stat
import time

from fastlog_client.directory import lock_folder, make_spool_folder
from fastlog_client.entry import (
    GAP_ENTRY_BYTES,
    IS_GAP,
    LONGEST_RECORD,
    MAX_NUMBER,
    SPOOLED_GAP,
    make_entry,
    read_entries,
    read_entries_with_ends,
)
from fastlog_client.errors import ACK_BEYOND_SENT, NewIdNeeded
from fastlog_client.files import open_directory
from fastlog_client.gap import DAMAGED, MEMORY_FULL, SPOOL_FULL, TOO_LARGE, Gap, count_numbers
from fastlog_client.spool_files import SEGMENT_NAME, Segment, SpoolFiles
from fastlog_client.store import BATCH_RECORDS

_MOVE_SECONDS = 60.0  # within which a running process has moved to a new folder


class Spool(SpoolFiles):
    """A store in files, of one process; another process adopts it when the first has ended.

    A record that is written survives the process, however it ends. It survives a loss of power only
    with `fsync`, which waits for the disk at each record.

    `state` is written before a record is sent, and holds the number up to which records were sent:
    if a server claims to have more, no process has sent that under this id, and the client takes a
    new id. A process that adopts a spool whose files lost their end reads in `state` which numbers
    were used.

    While the folder is gone and none can be made, what is new is in memory, up to `memory_bytes`.
    """

    persistent = True

    def __init__(self, folder, lock, max_bytes=0, fsync=False, memory_bytes=0):
        SpoolFiles.__init__(self, folder, lock, max_bytes, fsync)
        self.max_bytes, self._memory_bytes = max_bytes, memory_bytes
        self._gap = None  # [number, gap, offset or None]: of the last entry, if it is a gap
        self._absent = []  # [begin, end) of numbers from `first` on that are not records any more
        self._ahead = collections.deque()  # (number, entry) that were read, from `cursor` on
        self._loaded = 1  # all below this number was read

    @classmethod
    def create(cls, directory, max_bytes, fsync, memory_bytes=0):
        """Make a spool below this directory.

        Raises:
            EnvironmentError: it cannot be made.
        """
        folder, lock = make_spool_folder(directory, fsync)
        spool = cls(folder, lock, max_bytes, fsync, memory_bytes)
        try:
            spool.client_id = binascii.unhexlify(os.path.basename(folder.path))
            spool._current.state = spool._make_state(folder)
            spool._begin_segment(1)
            mode = os.stat(directory).st_mode
        except Exception:
            spool.close()  # and removes it
            raise
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            spool.reports.append(
                ("all users can remove what waits in %s: set its mode to 0700" % directory, None)
            )
        return spool

    @classmethod
    def adopt(cls, folder):
        """Adopt the spool of a process that has ended.

        Returns:
            None if its process is running, if another process was faster, or if it is empty.

        Raises:
            UnsafeFile: it is not a folder of this user alone, or a file in it is not.
            EnvironmentError: it cannot be read.
        """
        parent = open_directory(os.path.dirname(folder))
        try:
            folder = parent.folder(os.path.basename(folder))
        except EnvironmentError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        finally:
            parent.close()
        spool = cls(folder, None)
        try:
            names = folder.names()
            has_lock = "lock" in names
            if not has_lock:
                # It was sent, and another file has kept the folder. Or another program has removed
                # the lock: then its process, if it is running, soon detects that, and moves.
                since = abs(time.time() - os.fstat(folder.descriptor).st_mtime)
                if since < _MOVE_SECONDS or not any(map(SEGMENT_NAME.match, names)):
                    spool.abandon()
                    return None
            # A lock that was there is not made anew: its process may run, and had it locked.
            spool._current.lock = lock_folder(folder, may_make=not has_lock)
            if spool._lock is None or not folder.has("lock", spool._lock):
                spool.abandon()  # it was sent and removed between open and lock
                return None
            spool._read_folder()
            spool._is_adopted = True
            spool.incarnation += 1
            spool._write_state(spool._state)
        except Exception:
            spool.abandon()
            raise
        return spool

    def _read_folder(self):
        """Read which segments there are. An incomplete entry at the very end was never accepted."""
        names = sorted(name for name in self._folder.names() if SEGMENT_NAME.match(name))
        for name in names:
            base = int(name[:16], 16)
            if 0 < base < MAX_NUMBER:
                segment = Segment(base)
                segment.size = self._folder.lstat(name).st_size
                self.bytes += segment.size
                self._segments.append(segment)
        if not self._read_state():
            # It is not known how far was sent: no claim of a server is believed.
            self.client_id = binascii.unhexlify(os.path.basename(self._folder.path))
            self.incarnation = int(time.time())  # higher than it was
            self.first = self.sent = self._segments[0].base if self._segments else 1
        self.next = self.sent
        if self._segments:
            last = self._segments[-1]
            self.next = max(self.next, last.base)
            data = self._read(last, 0)
            if self.error is not None and self.error.errno != errno.ENOENT:
                raise self.error  # else the spool would seem to be empty, and be removed
            for number, entry in read_entries(data):
                count = count_numbers(entry)
                self.next = max(self.next, number + count)
        self._unsend()

    @property
    def pending(self):
        """Records that are not acknowledged, without the gaps between them."""
        return self._count_records(self.first, self.next)

    def count_unsaved(self):
        if not self._is_in_memory:
            return 0
        if not self._is_folder_in_place():
            return self.pending
        ends = [segment.base for segment in self._segments[1:]] + [self.next]
        return sum(
            self._count_records(segment.base, end)
            for segment, end in zip(self._segments, ends)
            if segment.data is not None
        )

    # -- numbers that are not records any more --

    def _find_absent(self, begin, end):
        """Find the absent numbers among these.

        Returns:
            How many there are; the slice of the spans that touch these numbers; and the span that
            is to replace them.
        """
        spans = self._absent
        at = bisect.bisect_left(spans, [begin])
        if at and spans[at - 1][1] >= begin:
            at -= 1
        stop, known, low, high = at, 0, begin, end
        while stop < len(spans) and spans[stop][0] <= end:
            known += max(0, min(end, spans[stop][1]) - max(begin, spans[stop][0]))
            low, high = min(low, spans[stop][0]), max(high, spans[stop][1])
            stop += 1
        return known, slice(at, stop), [low, high]

    def _drop(self, begin, end, reason):
        """Note that these numbers are not records any more, and count those that were."""
        count = end - begin - self._find_absent(begin, end)[0]
        if count:
            total = self.dropped[reason] + count
            self._make_change(self._note_absent, begin, end, reason, total, self.gaps + 1)

    def _note_absent(self, begin, end, reason, dropped, gaps):
        _, spans, span = self._find_absent(begin, end)
        self._absent[spans] = [span]
        self.dropped[reason] = dropped
        if self.gaps != gaps:
            self.new_gap_reasons.append(reason)
            self.gaps = gaps

    def _trim_absent(self):
        spans, at = self._absent, 0
        while at < len(spans) and spans[at][1] <= self.first:
            at += 1
        del spans[:at]
        if spans and spans[0][0] < self.first:
            spans[0][0] = self.first

    def _count_records(self, begin, end):
        """Return how many of these numbers are records that are not acknowledged."""
        begin = max(begin, self.first)
        spans = [(max(begin, low), min(end, high)) for low, high in self._absent]
        return max(0, end - begin) - sum(max(0, high - low) for low, high in spans)

    # -- after an exception --

    def recover(self):
        """Complete a change that an exception interrupted: the segments show what was written."""
        self._trim_absent()
        if self._is_adopted or self._lock is None or not self._segments:
            return  # no record is added any more; or this is the child of a fork
        self._position, self._file_checked_at = None, 0.0
        for segment in self._segments:
            is_written = segment is self._segments[-1] and segment.data is None
            if segment.file is not None and not is_written:
                file, segment.file = segment.file, None
                file.close()
        self._forget_unknown_files()
        self._recover_end()
        self.bytes = sum(segment.size for segment in self._segments)
        self._complete_change()
        if self._old_folders:
            self._check_folder_at = 0.0  # the move continues

    def _recover_end(self):
        """Find the last entry of the last segment, whether it is counted or not."""
        segment, gap = self._segments[-1], self._gap
        try:
            data = self._read_all(segment)
        except EnvironmentError as error:
            self.error = error
            return
        end, written, last = 0, None, None
        for number, entry, behind in read_entries_with_ends(data):
            if segment.base <= number and number + count_numbers(entry) <= self.next + 1:
                end, written, last = behind, number, entry
        if written is None:
            end = min(segment.size, len(data))
        elif end < segment.size and written + count_numbers(last) < self.next:
            end = segment.size  # the end is damaged: it becomes a gap, and new entries follow it
            last = None
        if last is not None and last.__class__ is not Gap:
            self.next = max(self.next, written + 1)
            if gap is not None and gap[0] <= written:
                self._gap = None
        segment.size = end
        if self._gap is not None:
            is_last = last.__class__ is Gap and written == self._gap[0]
            self._gap[2] = end - GAP_ENTRY_BYTES if is_last else None

    # -- writing --

    def extend(self, records, stamp):
        for record in records:
            if len(record) > LONGEST_RECORD:
                self.add_gap(TOO_LARGE, stamp)
            elif self._append(record):
                self.next += 1
            else:
                self.add_gap(MEMORY_FULL if self._is_in_memory else SPOOL_FULL, stamp)

    def add_gap(self, reason, stamp):
        self._counting = (self.next, reason, self.dropped[reason])
        last, begin, gap = self._gap, self.next, Gap(reason, stamp)
        is_in_place = last is not None and last[0] >= max(self._loaded, self._segments[-1].base)
        merges = is_in_place and last[1].reason == reason
        if merges:
            begin = last[0]
            gap = Gap(reason, last[1].t0, max(last[1].t1, stamp), last[1].count + 1)
        dropped, gaps = self.dropped[reason] + 1, self.gaps + (not merges)
        self._make_change(self._end_with, begin, gap, dropped, gaps)

    def _end_with(self, begin, gap, dropped, gaps):
        """Write this gap, which ends with the next number, over the gap that it extends."""
        former, end = self._gap, begin + gap.count
        is_new = former is None or former[0] != begin
        self._gap = [begin, gap, None if is_new else former[2]]
        self._note_absent(end - 1, end, gap.reason, dropped, gaps)
        self._write_gap()
        self.next = end

    def _append(self, record):
        """Write a record. Returns whether it is written."""
        if self._gap is not None and self._gap[2] is None and not self._write_gap():
            return False
        entry = make_entry(self.next, len(record), record)
        limit = self._memory_bytes if self._file is None else self.max_bytes
        if self.bytes + len(entry) > limit or not self._write(self.next, entry):
            return False
        self._gap = None
        return True

    def _write_gap(self):
        """Write the gap at the end, or write it anew; it may exceed the limit."""
        number, gap, offset = self._gap
        entry = make_entry(number, IS_GAP, SPOOLED_GAP.pack(gap.count, gap.reason, gap.t0, gap.t1))
        if not self._write(number, entry, offset):
            return False
        self._gap[2] = self._segments[-1].size - len(entry)
        return True

    # -- reading --

    def take(self, limit, must, max_record, stamp):
        if not self._ahead:
            self._load(stamp)
        ahead, base, records, size = self._ahead, self.cursor, [], 0
        while ahead and len(records) < BATCH_RECORDS:
            number, entry = ahead[0]
            if entry.__class__ is Gap:
                break
            if len(entry) > max_record:
                ahead[0] = (number, Gap(TOO_LARGE, stamp))
                self._drop(number, number + 1, TOO_LARGE)
                break
            size += 4 + len(entry)
            if size > limit and (records or not must):
                break
            records.append(entry)
            ahead.popleft()
        if records:
            self._move_cursor(len(records))
            return base, records
        if ahead and ahead[0][1].__class__ is Gap:
            gap = ahead.popleft()[1]
            self._move_cursor(gap.count)
            return base, gap
        return None

    def _move_cursor(self, count):
        self.cursor += count
        if self.cursor > self.sent:
            self.sent = self.cursor
            self._save()
            if self._fsync:
                self._sync_state()

    def _load(self, stamp):
        """Read the next entries, at most to the end of a segment; missing numbers become a gap."""
        expected = self.cursor
        if expected >= self.next:
            return
        index = len(self._segments) - 1
        while index > 0 and self._segments[index].base > expected:
            index -= 1
        data = b""
        if index >= 0:
            segment = self._segments[index]
            is_own = not self._is_adopted and self._lock is not None
            if is_own and index + 1 < len(self._segments) and not self._is_in_place():
                self._renew()  # else it would seem to be lost, though it may only have moved
            if segment is not self._reading:
                self._reading, self._offset = segment, 0
            data = self._read(segment, self._offset)
            self._offset = segment.size
        for number, entry in read_entries(data):
            count = count_numbers(entry)
            if number + count <= expected:
                continue
            if number + count > self.next:
                break  # not a file of this client: that number was never used
            if number > expected:
                self._read_damage(expected, number, stamp)
            elif number < expected:  # a gap, of which the server has acknowledged a part
                entry.count = count = number + count - expected
                number = expected
            self._read_ahead(number, entry)
            expected = number + count
        in_memory = self._gap is not None and self._gap[2] is None
        if index + 1 < len(self._segments):
            end = self._segments[index + 1].base
        else:
            end = self._gap[0] if in_memory else self.next
        if end > expected:
            self._read_damage(expected, end, stamp)
        if in_memory and index + 1 == len(self._segments):
            begin, gap = max(end, expected), self._gap[1]
            self._read_ahead(begin, Gap(gap.reason, gap.t0, gap.t1, self.next - begin))

    def _read_damage(self, begin, end, stamp):
        self._drop(begin, end, DAMAGED)
        self._read_ahead(begin, Gap(DAMAGED, stamp, count=end - begin))

    def _read_ahead(self, number, entry):
        self._ahead.append((number, entry))
        self._loaded = number + count_numbers(entry)

    # -- acknowledgements --

    def ack(self, last, node):
        if last < self.first:
            return
        self.acked_by = node
        self.first = last + 1
        self._trim_absent()
        while len(self._segments) > 1 and self._segments[1].base <= self.first:
            segment = self._segments[0]
            if segment.data is None:
                self._remove(segment.name, self._folder)
            del self._segments[0]
            self.bytes -= segment.size
        self._save()

    def rewind(self, last, node):
        if last >= self.sent:
            raise NewIdNeeded(ACK_BEYOND_SENT, last)
        again = self.cursor
        self.ack(last, node)
        self._unsend()
        return max(0, again - self.first)

    def renumber(self, claimed=None):
        doubtful = SpoolFiles.renumber(self, claimed)
        self._save()
        return doubtful

    def _unsend(self):
        self.cursor = self._loaded = self.first
        self._ahead.clear()
        self._reading = None

    # -- the end --

    def close(self):
        """Remove the spool if the server has everything; else keep it to be adopted."""
        if self._lock is not None and self.first == self.next:
            names = [segment.name for segment in self._segments if segment.data is None]
            for name in names + ["state", "lock"]:
                self._remove(name, self._folder)
            self._remove_folder(self._folder)
            self._forget_old_folders()
        else:
            self.save()
        self.abandon()
