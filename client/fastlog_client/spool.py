# -*- coding: utf-8 -*-
"""The store in files.

This is one file because all its parts share one state: writing, reading, moving to a new folder and
recovering change the same segments, the same last gap and the same folder. Each must leave them so
that `recover` can complete what an exception interrupted at any bytecode. What has no part in that
state is elsewhere: `files`, `entry`, `directory`.
"""

from __future__ import absolute_import, division, print_function

import binascii
import bisect
import collections
import errno
import os
import re
import stat
import struct
import time

from fastlog_client.compat import crc32, wall_clock
from fastlog_client.directory import SpoolFolder, lock_folder, make_spool_folder
from fastlog_client.entry import (
    CRC,
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
from fastlog_client.files import (
    VANISHED,
    File,
    identity_of,
    make_directory,
    open_directory,
    write_all,
)
from fastlog_client.gap import DAMAGED, MEMORY_FULL, SPOOL_FULL, TOO_LARGE, Gap, count_numbers
from fastlog_client.store import BATCH_RECORDS, Store

_SEGMENT_BYTES = 1024 * 1024
_LONGEST_SEGMENT = LONGEST_RECORD + _SEGMENT_BYTES  # bytes; this client writes none behind them
_STATE = struct.Struct(">4s16sQQQQ16s")
"""Mark, client id, incarnation, shift, first, sent, acked by; then their crc32."""
_STATE_MARK = b"FST2"
_MAX_INCARNATION = 1 << 63
_FILE_CHECK_SECONDS = 0.001  # between two checks that the file still has a name
_FOLDER_CHECK_SECONDS = 1.0  # between two checks that the folder is still there
_MOVE_SECONDS = 60.0  # within which a running process has moved to a new folder
_TEMPORARY = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.ETIMEDOUT)
SEGMENT_NAME = re.compile(r"[0-9a-f]{16}\.seg\Z")


class Segment(object):
    """A file of entries, or what is to become one; its name is the number of the first entry."""

    __slots__ = ("base", "data", "file", "name", "size")

    def __init__(self, base):
        self.base = base
        self.name = "%016x.seg" % base
        self.size = 0
        self.data = None  # a bytearray while it is in memory only
        self.file = None  # open, of the last segment


class Spool(Store):
    """A store in files, of one process; another process adopts it when the first has ended.

    Its folder holds `lock`, which the owner has locked; `state`, which is written anew whenever
    something is sent or acknowledged; and segments, each removed when all of it is acknowledged. A
    record that is written survives the process, however it ends. It survives a loss of power only
    with `fsync`, which waits for the disk at each record.

    `state` is written before a record is sent, and holds the number up to which records were sent:
    if a server claims to have more, no process has sent that under this id, and the client takes a
    new id. A process that adopts a spool whose files lost their end reads in `state` which numbers
    were used.

    Other programs may remove or replace the folder, or files in it. A write detects that its file
    has no name any more, `check` detects the rest. The spool then moves to a new folder, with all
    that can still be read. While none can be made, what is new is in memory, up to `memory_bytes`.
    """

    persistent = True

    def __init__(self, folder, lock, max_bytes=0, fsync=False, memory_bytes=0):
        Store.__init__(self)
        self.max_bytes, self._memory_bytes = max_bytes, memory_bytes
        self.error = None  # the last error of the disk
        self._segment_bytes = max(1024, min(_SEGMENT_BYTES, max_bytes // 8))
        self._current = SpoolFolder(folder, lock, None)
        self._fsync = fsync
        self._is_adopted = False  # no record is added any more
        self._position = None  # of the descriptor in the last segment's file; None if unknown
        self._segments = []
        self._gap = None  # [number, gap, offset or None]: of the last entry, if it is a gap
        self._absent = []  # [begin, end) of numbers from `first` on that are not records any more
        self._ahead = collections.deque()  # (number, entry) that were read, from `cursor` on
        self._loaded = 1  # all below this number was read
        self._reading, self._offset = None, 0  # the segment that is read, and the offset
        self._check_folder_at = 0.0
        self._file_checked_at = 0.0  # wall clock, when the file that is written was checked
        self._old_folders = []  # from which segments are moved

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
            if "lock" not in names:
                # It was sent, and another file has kept the folder. Or another program has removed
                # the lock: then its process, if it is running, soon detects that, and moves.
                since = abs(time.time() - os.fstat(folder.descriptor).st_mtime)
                if since < _MOVE_SECONDS or not any(map(SEGMENT_NAME.match, names)):
                    spool.abandon()
                    return None
            spool._current.lock = lock_folder(folder)
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

    @property
    def folder(self):
        return self._folder.path

    @property
    def _folder(self):
        return self._current.folder

    @property
    def _lock(self):
        return self._current.lock

    @property
    def _state(self):
        return self._current.state

    @property
    def _file(self):
        return self._segments[-1].file if self._segments else None

    @property
    def pending(self):
        """Records that are not acknowledged, without the gaps between them."""
        return self._count_records(self.first, self.next)

    @property
    def outlives_process(self):
        return not self._is_in_memory

    @property
    def _is_in_memory(self):
        return bool(self._segments) and self._segments[-1].data is not None

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

    def _forget_unknown_files(self):
        """Remove the file of a segment that was made, but not added."""
        try:
            for name in self._folder.names():
                if SEGMENT_NAME.match(name) and int(name[:16], 16) > self._segments[-1].base:
                    self._remove(name, self._folder)
        except EnvironmentError as error:
            self.error = error

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

    def _read_all(self, segment):
        """Return all bytes of the last segment, also those that its size does not count."""
        if segment.data is not None:
            return bytes(segment.data)
        return segment.file.read(0, _LONGEST_SEGMENT)

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
        merges = last is not None and last[0] >= self._loaded and last[1].reason == reason
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

    def _write(self, number, entry, offset=None):
        """Write an entry at the end, or over the last one. Returns whether it is kept."""
        for is_last_try in (False, True):
            if self._lock is None:
                return False  # abandoned: a fork interrupted the caller, and this is the child
            try:
                self._put(number, entry, offset)
                break
            except EnvironmentError as error:
                self.error = error
                self._cut()
                if is_last_try or self._lock is None or error.errno not in VANISHED:
                    return False
                self._renew()
        if offset is None:
            self._segments[-1].size += len(entry)
            self.bytes += len(entry)
        return True

    def _put(self, number, entry, offset):
        segment = self._segments[-1]
        if offset is None and segment.size and segment.size + len(entry) > self._segment_bytes:
            segment = self._begin_segment(number)
        at = segment.size if offset is None else offset
        if segment.data is not None:
            segment.data[at:] = entry
            return
        file = self._file
        moment = wall_clock()
        # A check of each record would cost up to 1.6 us.
        if not 0 <= moment - self._file_checked_at < _FILE_CHECK_SECONDS:
            file.check()
            self._file_checked_at = moment
        if self._position != at:
            os.lseek(file.descriptor, at, os.SEEK_SET)
        self._position = None
        write_all(file.descriptor, entry)
        self._position = at + len(entry)
        if self._fsync:
            os.fsync(file.descriptor)

    def _cut(self):
        """Remove a partial entry; where that fails too, the next write overwrites it."""
        try:
            if self._file is not None and self._file.is_same():
                os.ftruncate(self._file.descriptor, self._segments[-1].size)
        except EnvironmentError as error:
            self.error = error

    def _begin_segment(self, number):
        segment = Segment(number)
        former = self._segments[-1] if self._segments else None
        if self._is_in_memory:
            segment.data = bytearray()
        else:
            segment.file = self._make_file(segment)
            self._position, self._file_checked_at = 0, 0.0
        self._segments.append(segment)
        if former is not None and former.file is not None:
            file, former.file = former.file, None
            file.close()
        return segment

    def _make_file(self, segment):
        file = self._folder.open(segment.name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        if self._fsync:
            self._folder.sync()
        return file

    # -- a folder that is removed or replaced --

    def check(self, now):
        if self._is_adopted or self._lock is None or now < self._check_folder_at:
            return
        self._check_folder_at = now + _FOLDER_CHECK_SECONDS
        if self._is_in_memory or not self._is_in_place():
            self._renew()
        elif self._old_folders:  # an exception has interrupted the move
            try:
                self._complete_move()
            except EnvironmentError as error:
                self.error = error

    def _is_in_place(self):
        segment = self._segments[-1]
        return self._is_folder_in_place() and self._folder.has(segment.name, self._file)

    def _is_folder_in_place(self):
        """Return whether another process would find the folder, with `lock` and `state`."""
        try:
            if identity_of(os.lstat(self._folder.path)) != self._folder.identity:
                return False
        except EnvironmentError as error:
            return error.errno not in (
                errno.ENOENT,
                errno.ENOTDIR,
            )  # else this user has no access any more
        return self._folder.has("lock", self._lock) and self._folder.has("state", self._state)

    def _renew(self):
        """Move to a new folder, or to memory while none can be made."""
        was_in_memory, old = self._is_in_memory, self._folder.path
        self._read_into_memory()
        try:
            if not self._is_folder_in_place():
                self._move()
            self._complete_move()
        except EnvironmentError as error:
            self.error = error
        if was_in_memory != self._is_in_memory:
            if was_in_memory:
                text = "the records are in the spool again: %s" % self._folder.path
            else:
                text = "the spool %s was removed, and none can be made: records are in memory" % old
            self.reports.append((text, self.error if self._is_in_memory else None))
        elif not was_in_memory:
            text = "the spool %s was removed or replaced: what can be read of it is in %s now"
            self.reports.append((text % (old, self._folder.path), None))

    def save(self):
        if self._is_in_memory and self._lock is not None:
            self._renew()

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

    def _complete_move(self):
        for old in self._old_folders:
            self._move_segments(old)
        for segment in self._segments:
            if segment.data is not None:
                self._write_out(segment)
        self._remove_old_folders()

    def _read_into_memory(self):
        """Read the last segment into memory by its descriptor: the file may have no name."""
        segment = self._segments[-1]
        if segment.data is not None:
            return
        try:
            data = self._file.read(0, segment.size)
        except EnvironmentError:
            data = self._salvage(segment, self._folder)
        data += b"\0" * (
            segment.size - len(data)
        )  # the offsets stay valid; these bytes become a gap
        segment.data = bytearray(data)
        file, segment.file = segment.file, None
        file.close()

    def _move(self):
        """Make a new folder, to which everything in the old one is moved."""
        directory = os.path.dirname(self._folder.path)
        make_directory(directory)
        folder, lock = make_spool_folder(directory, self._fsync)
        try:
            state = self._make_state(folder)
        except EnvironmentError:
            for name in ("state", "lock"):
                self._remove(name, folder)
            self._remove_folder(folder)
            lock.close()
            folder.close()
            raise
        self._reading = None
        self._old_folders.append(self._current)  # its lock is held until all is written again
        self._current = SpoolFolder(folder, lock, state)

    def _move_segments(self, old):
        for segment in self._segments:
            if old is not self._current and segment.data is None and not self._has(segment):
                self._move_segment(segment, old.folder)

    def _has(self, segment):
        try:
            self._folder.lstat(segment.name)
            return True
        except EnvironmentError as error:
            if error.errno != errno.ENOENT:
                raise
            return False

    def _remove_old_folders(self):
        while self._old_folders:
            old = self._old_folders[-1]
            folder, is_old = old.folder, old is not self._current
            if is_old and folder.descriptor >= 0:
                names = [name for name in folder.names() if SEGMENT_NAME.match(name)] + ["state"]
                if old.lock is not None and folder.has("lock", old.lock):
                    names.append("lock")
                for name in names:
                    self._remove(name, folder)
                self._remove_folder(folder)
            self._old_folders.pop()
            if is_old:
                old.close()

    def _move_segment(self, segment, old):
        """Move a segment's file to the new folder; if that fails, its records become a gap."""
        try:
            old.rename(segment.name, self._folder, segment.name)
            return
        except EnvironmentError as error:
            is_elsewhere = error.errno == errno.EXDEV
        data = self._salvage(segment, old) if is_elsewhere else b""
        self.bytes -= segment.size - len(data)
        segment.size = len(data)
        if data:
            segment.data = bytearray(data)
            try:
                self._write_out(segment)
            except EnvironmentError as error:  # it stays in memory until the next attempt
                self.error = error

    def _salvage(self, segment, folder):
        """Return the bytes of a segment that can be read."""
        try:
            return self._read(segment, 0, folder)
        except EnvironmentError:
            return b""

    def _write_out(self, segment):
        """Write a segment that is in memory to a file."""
        self._remove(segment.name, self._folder)  # a partial file of an earlier attempt
        file = self._make_file(segment)
        try:
            write_all(file.descriptor, bytes(segment.data))
            if self._fsync:
                os.fsync(file.descriptor)
        except EnvironmentError:
            file.close()
            self._remove(segment.name, self._folder)
            raise
        if segment is self._segments[-1]:
            self._position = None
            segment.file = file
            segment.data = None
        else:
            segment.data = None
            file.close()

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

    def _read(self, segment, begin, folder=None):
        """Return bytes of a segment; none if its file was removed or replaced.

        Raises:
            EnvironmentError: it cannot be read now, and perhaps later.
        """
        if segment.data is not None:
            return bytes(segment.data[begin : segment.size])
        if segment is self._segments[-1] and self._file is not None and self._file.is_same():
            self._position = None
            return self._file.read(begin, segment.size)  # also if it has no name any more
        try:
            file = (folder or self._folder).open(segment.name, os.O_RDONLY)
            try:
                return file.read(begin, min(segment.size, _LONGEST_SEGMENT))
            finally:
                file.close()
        except EnvironmentError as error:
            self.error = error
            if error.errno in _TEMPORARY:
                raise
            return b""

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
        doubtful = Store.renumber(self, claimed)
        self._save()
        return doubtful

    def _unsend(self):
        self.cursor = self._loaded = self.first
        self._ahead.clear()
        self._reading = None

    # -- the state, and the end --

    def _save(self):
        """Write the state.

        If that fails, a process that adopts the spool may send records twice: it reads an older
        state, and does not believe the server beyond that.
        """
        if self._lock is None:
            return  # abandoned: this is the child of a fork
        try:
            self._write_state(self._state)
        except EnvironmentError as error:
            self.error = error
            self._check_folder_at = 0.0

    def _make_state(self, folder):
        file = folder.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            self._write_state(file)
            return file
        except Exception:
            file.close()
            raise

    def _write_state(self, file):
        state = _STATE.pack(
            _STATE_MARK,
            self.client_id,
            self.incarnation,
            self.shift,
            self.first,
            self.sent,
            self.acked_by,
        )
        file.check()
        os.lseek(file.descriptor, 0, os.SEEK_SET)
        write_all(file.descriptor, state + CRC.pack(crc32(state)))

    def _sync_state(self):
        try:
            os.fsync(self._state.descriptor)
        except EnvironmentError as error:
            self.error = error

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
            for number, entry in read_entries(self._read(last, 0)):
                count = count_numbers(entry)
                self.next = max(self.next, number + count)
        self._unsend()

    def _read_state(self):
        """Open the state, or make an empty one. Returns whether it is valid."""
        try:
            self._current.state = self._folder.open("state", os.O_RDWR)
        except EnvironmentError as error:
            if error.errno != errno.ENOENT:
                raise
            self._current.state = self._folder.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        state = self._state.read(0, _STATE.size + CRC.size)
        body, crc = state[: _STATE.size], state[_STATE.size :]
        if len(crc) < CRC.size or CRC.unpack(crc)[0] != crc32(body):
            return False
        mark, client_id, incarnation, shift, first, sent, acked_by = _STATE.unpack(body)
        is_valid = shift < first <= sent < MAX_NUMBER and incarnation < _MAX_INCARNATION
        if mark != _STATE_MARK or not is_valid:
            return False
        self.client_id, self.incarnation, self.acked_by = client_id, incarnation, acked_by
        self.shift, self.first, self.sent = shift, first, sent
        return True

    def close(self):
        """Remove the spool if the server has everything; else keep it to be adopted."""
        if self._lock is not None and self.first == self.next:
            names = [segment.name for segment in self._segments if segment.data is None]
            for name in names + ["state", "lock"]:
                self._remove(name, self._folder)
            self._remove_folder(self._folder)
        else:
            self.save()
        self.abandon()

    def _remove(self, name, folder):
        try:
            folder.unlink(name)
        except EnvironmentError as error:  # a process that adopts the spool tries again
            if error.errno != errno.ENOENT:
                self.error = error

    def _remove_folder(self, folder):
        try:
            parent = open_directory(os.path.dirname(folder.path))
            try:
                name = os.path.basename(folder.path)
                if parent.has(name, folder):
                    parent.rmdir(name)
            finally:
                parent.close()
        except EnvironmentError as error:
            if error.errno != errno.ENOENT:
                self.error = error

    def abandon(self, is_interrupted=False):
        """Close the files. In a child, the parent keeps the lock.

        Args:
            is_interrupted: this is a child, whose fork has interrupted a change of the store.
        """
        close = File.close_in_child if is_interrupted else File.close
        file, folders = self._file, [self._current] + self._old_folders
        if file is not None:
            self._segments[-1].file = None
            close(file)
        self._old_folders = []
        for each in folders:
            each.close(close)
