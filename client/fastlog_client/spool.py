# -*- coding: utf-8 -*-
"""The queue in files."""

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
_LONGEST_SEGMENT = LONGEST_RECORD + _SEGMENT_BYTES  # nothing behind that is ours
_STATE = struct.Struct(">4s16sQQQQ16s")
"""Mark, client id, incarnation, shift, first, sent, acked by; then their crc32."""
_STATE_MARK = b"FST2"
_MAX_INCARNATION = 1 << 63
_FILE_CHECK_SECONDS = (
    0.001  # seconds between two looks whether the file that is written has a name still
)
_FOLDER_CHECK_SECONDS = 1.0  # between two looks whether the folder is still there
_MOVE_SECONDS = 60.0  # in which a process that lives has moved to another
_TEMPORARY = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.ETIMEDOUT)
SEGMENT_NAME = re.compile(r"[0-9a-f]{16}\.seg\Z")


class Segment(object):
    """A file of entries, or what is to become one; its name is the number of the first."""

    __slots__ = ("base", "data", "file", "name", "size")

    def __init__(self, base):
        self.base = base
        self.name = "%016x.seg" % base
        self.size = 0
        self.data = None  # a bytearray while it is in memory only
        self.file = None  # open, of the last segment


class Spool(Store):
    """A store in files, for one process; another adopts it once that has ended.

    Its folder holds `lock`, which the owner has locked; `state`, which is written anew whenever
    something is sent or acknowledged; and segments, each removed when all of it is acknowledged. A
    record that is written survives the process, however it ends. It survives a loss of power only
    with `fsync`, which waits for the disk at each record.

    `state` says how far was sent before it is: what a server claims to have beyond that, nobody
    has sent under this id, also not the process that left this folder. Then the client takes a new
    id. An heir whose files lost their end knows from it which numbers were used.

    Somebody may remove or replace the folder, or files in it, meanwhile. A write notices that its
    file has no name any more, `check` the rest. The spool then moves to a new folder, with all that
    can still be read. While none can be made, what is new is in memory, up to `memory_bytes`.
    """

    persistent = True

    def __init__(self, folder, lock, max_bytes=0, fsync=False, memory_bytes=0):
        Store.__init__(self)
        self.max_bytes, self._memory_bytes = max_bytes, memory_bytes
        self.error = None  # why the disk rejected something, last
        self._segment_bytes = max(1024, min(_SEGMENT_BYTES, max_bytes // 8))
        self._place = SpoolFolder(folder, lock, None)
        self._fsync = fsync
        self._is_adopted = False  # nothing is added to it any more
        self._position = None  # where the next byte goes in the last segment, if that is known
        self._segments = []
        self._gap = None  # [number, gap, offset or None]: the last entry, if it is a gap
        self._absent = []  # [begin, end) of numbers from `first` on that are no records any more
        self._ahead = collections.deque()  # (number, entry): what was read, from `cursor` on
        self._loaded = 1  # what is below this number was read
        self._reading, self._offset = None, 0  # the segment that is read, and from where on
        self._check_folder_at = 0.0
        self._file_checked_at = 0.0  # wall clock, when the file that is written was checked
        self._old_folders = []  # places that it has moved from

    @classmethod
    def create(cls, directory, max_bytes, fsync, memory_bytes=0):
        """Make a new one below this directory.

        Raises:
            EnvironmentError: it cannot be made.
        """
        folder, lock = make_spool_folder(directory, fsync)
        spool = cls(folder, lock, max_bytes, fsync, memory_bytes)
        try:
            spool.client_id = binascii.unhexlify(os.path.basename(folder.path))
            spool._place.state = spool._make_state(folder)
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
        """Take over the spool of a process that has ended.

        Returns:
            None if its process lives, if somebody else was faster, or if it holds nothing.

        Raises:
            _NotOurs: it is not a folder of this user alone, or a file in it is not.
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
                # It was sent, and something else has kept the folder. Or somebody has removed the
                # lock: then its process, if it lives, notices soon, and moves.
                since = abs(time.time() - os.fstat(folder.descriptor).st_mtime)
                if since < _MOVE_SECONDS or not any(map(SEGMENT_NAME.match, names)):
                    spool.abandon()
                    return None
            spool._place.lock = lock_folder(folder)
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
        return self._place.folder

    @property
    def _lock(self):
        return self._place.lock

    @property
    def _state(self):
        return self._place.state

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

    # -- numbers that are no records any more --

    def _find_absent(self, begin, end):
        """How many of these numbers are none already; and the spans that touch them, as a slice
        and what is to replace it.
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
        """Note that these numbers are no records, and count those that were."""
        count = end - begin - self._find_absent(begin, end)[0]
        if count:
            total = self.dropped[reason] + count
            self._make_change(self._note_absent, begin, end, reason, total, self.gaps + 1)

    def _note_absent(self, begin, end, reason, dropped, gaps):
        _, place, span = self._find_absent(begin, end)
        self._absent[place] = [span]
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
        """How many of these numbers are records that are not acknowledged."""
        begin = max(begin, self.first)
        spans = [(max(begin, low), min(end, high)) for low, high in self._absent]
        return max(0, end - begin) - sum(max(0, high - low) for low, high in spans)

    # -- after an exception --

    def recover(self):
        """Complete a change that an exception interrupted: the segments say what was written."""
        self._trim_absent()
        if self._is_adopted or self._lock is None or not self._segments:
            return  # nothing is added to it any more; or this is the child of a fork
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
            self._check_folder_at = 0.0  # the move goes on

    def _forget_unknown_files(self):
        """Remove a segment's file that was made, and nothing more."""
        try:
            for name in self._folder.names():
                if SEGMENT_NAME.match(name) and int(name[:16], 16) > self._segments[-1].base:
                    self._remove(name, self._folder)
        except EnvironmentError as error:
            self.error = error

    def _recover_end(self):
        """Learn what the last segment ends with, be it counted or not."""
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
            end = segment.size  # its end is damaged: that becomes a gap, and what comes is behind
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
        """All that was written to the last segment, also what is not counted in its size."""
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
        """Have this gap, which ends with the next number, in the place of that which it merges."""
        former, end = self._gap, begin + gap.count
        is_new = former is None or former[0] != begin
        self._gap = [begin, gap, None if is_new else former[2]]
        self._note_absent(end - 1, end, gap.reason, dropped, gaps)
        self._write_gap()
        self.next = end

    def _append(self, record):
        """Write a record; returns whether it is written."""
        if self._gap is not None and self._gap[2] is None and not self._write_gap():
            return False
        entry = make_entry(self.next, len(record), record)
        bound = self._memory_bytes if self._file is None else self.max_bytes
        if self.bytes + len(entry) > bound or not self._write(self.next, entry):
            return False
        self._gap = None
        return True

    def _write_gap(self):
        """Write the gap at the end, or write it anew; it may go beyond the bound."""
        number, gap, offset = self._gap
        entry = make_entry(number, IS_GAP, SPOOLED_GAP.pack(gap.count, gap.reason, gap.t0, gap.t1))
        if not self._write(number, entry, offset):
            return False
        self._gap[2] = self._segments[-1].size - len(entry)
        return True

    def _write(self, number, entry, offset=None):
        """Write an entry at the end, or over the last one; returns whether it is kept."""
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
        if (
            not 0 <= moment - self._file_checked_at < _FILE_CHECK_SECONDS
        ):  # each time costs up to 1.6 us a record
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
        """Remove what was written in part; where that fails too, the next write goes over it."""
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

    # -- a folder that vanishes --

    def check(self, now):
        if self._is_adopted or self._lock is None or now < self._check_folder_at:
            return
        self._check_folder_at = now + _FOLDER_CHECK_SECONDS
        if self._is_in_memory or not self._is_in_place():
            self._renew()
        elif self._old_folders:  # an exception has interrupted that
            try:
                self._complete_move()
            except EnvironmentError as error:
                self.error = error

    def _is_in_place(self):
        segment = self._segments[-1]
        return self._is_folder_in_place() and self._folder.has(segment.name, self._file)

    def _is_folder_in_place(self):
        """Whether it is where another process would find it, with what that would need."""
        try:
            if identity_of(os.lstat(self._folder.path)) != self._folder.identity:
                return False
        except EnvironmentError as error:
            return error.errno not in (errno.ENOENT, errno.ENOTDIR)  # else we may not look any more
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
        for place in self._old_folders:
            self._move_segments(place)
        for segment in self._segments:
            if segment.data is not None:
                self._write_out(segment)
        self._remove_old_folders()

    def _read_into_memory(self):
        """Read the last segment, through its descriptor: the file may have no name any more."""
        segment = self._segments[-1]
        if segment.data is not None:
            return
        try:
            data = self._file.read(0, segment.size)
        except EnvironmentError:
            data = self._salvage(segment, self._folder)
        data += b"\0" * (segment.size - len(data))  # offsets stay; it will be a gap
        segment.data = bytearray(data)
        file, segment.file = segment.file, None
        file.close()

    def _move(self):
        """Make a new folder, to which all goes that is left in the old."""
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
        self._old_folders.append(self._place)  # its lock is kept until all is written again
        self._place = SpoolFolder(folder, lock, state)

    def _move_segments(self, place):
        for segment in self._segments:
            if place is not self._place and segment.data is None and not self._has(segment):
                self._move_segment(segment, place.folder)

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
            place = self._old_folders[-1]
            folder, is_ours = place.folder, place is not self._place
            if is_ours and folder.descriptor >= 0:
                names = [name for name in folder.names() if SEGMENT_NAME.match(name)] + ["state"]
                if place.lock is not None and folder.has("lock", place.lock):
                    names.append("lock")
                for name in names:
                    self._remove(name, folder)
                self._remove_folder(folder)
            self._old_folders.pop()
            if is_ours:
                place.close()

    def _move_segment(self, segment, old):
        """Take a segment's file along; if that cannot be, its records become a gap."""
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
        try:
            return self._read(segment, 0, folder)
        except EnvironmentError:
            return b""

    def _write_out(self, segment):
        """Make a file of a segment that is in memory."""
        self._remove(segment.name, self._folder)  # part of an earlier attempt
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
        """Read on, at most to the end of a segment; what is missing there is a gap."""
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
                self._renew()  # else it would seem to be gone, though it may have moved only
            if segment is not self._reading:
                self._reading, self._offset = segment, 0
            data = self._read(segment, self._offset)
            self._offset = segment.size
        for number, entry in read_entries(data):
            count = entry.count if entry.__class__ is Gap else 1
            if number + count <= expected:
                continue
            if number + count > self.next:
                break  # no file of ours: it has what was never given a number
            if number > expected:
                self._read_damage(expected, number, stamp)
            elif number < expected:  # a gap, of which the server has a part
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
        self._loaded = number + (entry.count if entry.__class__ is Gap else 1)

    def _read(self, segment, begin, folder=None):
        """Bytes of a segment; none if its file is gone, or another's.

        Raises:
            EnvironmentError: it cannot be read now, and perhaps later.
        """
        if segment.data is not None:
            return bytes(segment.data[begin : segment.size])
        if segment is self._segments[-1] and self._file is not None and self._file.is_same():
            self._position = None
            return self._file.read(begin, segment.size)  # also when it has no name any more
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

    # -- what the server has --

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

    # -- the folder --

    def _save(self):
        """Write the state. If that fails, whoever adopts the spool may double records: it has an
        older one, and trusts the server no further.
        """
        if self._lock is None:
            return  # abandoned likewise
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
        """Learn what there is. An entry that is incomplete at the very end was never taken."""
        names = sorted(name for name in self._folder.names() if SEGMENT_NAME.match(name))
        for name in names:
            base = int(name[:16], 16)
            if 0 < base < MAX_NUMBER:
                segment = Segment(base)
                segment.size = self._folder.lstat(name).st_size
                self.bytes += segment.size
                self._segments.append(segment)
        if not self._read_state():
            # How far was sent is not known: nothing that a server claims to have is believed.
            self.client_id = binascii.unhexlify(os.path.basename(self._folder.path))
            self.incarnation = int(time.time())  # above whatever it was
            self.first = self.sent = self._segments[0].base if self._segments else 1
        self.next = self.sent
        if self._segments:
            last = self._segments[-1]
            self.next = max(self.next, last.base)
            for number, entry in read_entries(self._read(last, 0)):
                count = entry.count if entry.__class__ is Gap else 1
                self.next = max(self.next, number + count)
        self._unsend()

    def _read_state(self):
        """Open the state, or make an empty one. Returns whether it could be read."""
        try:
            self._place.state = self._folder.open("state", os.O_RDWR)
        except EnvironmentError as error:
            if error.errno != errno.ENOENT:
                raise
            self._place.state = self._folder.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        state = self._state.read(0, _STATE.size + CRC.size)
        body, crc = state[: _STATE.size], state[_STATE.size :]
        if len(crc) < CRC.size or CRC.unpack(crc)[0] != crc32(body):
            return False
        mark, client_id, incarnation, shift, first, sent, acked_by = _STATE.unpack(body)
        is_sound = shift < first <= sent < MAX_NUMBER and incarnation < _MAX_INCARNATION
        if mark != _STATE_MARK or not is_sound:
            return False
        self.client_id, self.incarnation, self.acked_by = client_id, incarnation, acked_by
        self.shift, self.first, self.sent = shift, first, sent
        return True

    def close(self):
        """Remove it if the server has all of it; else leave it to whoever adopts it."""
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
        except EnvironmentError as error:  # whoever adopts it tries again
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
        """Let go of the files. In a child, its parent's lock stays.

        Args:
            is_interrupted: this is a child, whose fork has interrupted a change of the store.
        """
        close = File.close_in_child if is_interrupted else File.close
        file, places = self._file, [self._place] + self._old_folders
        if file is not None:
            self._segments[-1].file = None
            close(file)
        self._old_folders = []
        for place in places:
            place.close(close)
