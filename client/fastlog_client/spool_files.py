# -*- coding: utf-8 -*-
"""The files of a spool: its segments and its state, in a folder that other programs may remove.

This is one file because writing, reading and moving to a new folder change the same segments and
the same folder. Each must leave them so that `Spool.recover` can complete what an exception
interrupted at any bytecode. What has no part in that state is elsewhere: `files`, `entry`,
`directory`.
"""

from __future__ import absolute_import, division, print_function

import errno
import os
import re
import struct

from fastlog_client.compat import crc32, wall_clock
from fastlog_client.directory import SpoolFolder, make_spool_folder
from fastlog_client.entry import CRC, LONGEST_RECORD, MAX_NUMBER
from fastlog_client.files import (
    VANISHED,
    File,
    identity_of,
    make_directory,
    open_directory,
    write_all,
)
from fastlog_client.store import Store

_SEGMENT_BYTES = 1024 * 1024
_LONGEST_SEGMENT = LONGEST_RECORD + _SEGMENT_BYTES  # bytes; this client writes none after them
_STATE = struct.Struct(">4s16sQQQQ16s")
"""Mark, client id, incarnation, shift, first, sent, acked by; then their crc32."""
_STATE_MARK = b"FST2"
_MAX_INCARNATION = 1 << 63
_FILE_CHECK_SECONDS = 0.001  # between two checks that the file still has a name
_FOLDER_CHECK_SECONDS = 1.0  # between two checks that the folder is still there
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


class SpoolFiles(Store):
    """The files of a spool, without the meaning of their entries, which is `Spool`'s.

    The folder holds `lock`, which the owner has locked; `state`, which is written anew whenever
    something is sent or acknowledged; and segments, each removed when all of it is acknowledged.

    Other programs may remove or replace the folder, or files in it. A write detects that its file
    has no name any more, `check` detects the rest. The spool then moves to a new folder, with all
    that can still be read. While none can be made, what is new is in memory.
    """

    def __init__(self, folder, lock, max_bytes, fsync):
        Store.__init__(self)
        self.error = None  # the last error of the disk
        self._segment_bytes = max(1024, min(_SEGMENT_BYTES, max_bytes // 8))
        self._current = SpoolFolder(folder, lock, None)
        self._fsync = fsync
        self._is_adopted = False  # no record is added any more
        self._position = None  # of the descriptor in the last segment's file; None if unknown
        self._segments = []
        self._reading, self._offset = None, 0  # the segment that is read, and the offset
        self._check_folder_at = 0.0
        self._file_checked_at = 0.0  # wall clock, when the file that is written was checked
        self._old_folders = []  # from which segments are moved

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
    def outlives_process(self):
        return not self._is_in_memory

    @property
    def _is_in_memory(self):
        return bool(self._segments) and self._segments[-1].data is not None

    # -- writing --

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
            if segment.file is not None:
                segment.file.check()  # closed, a file without a name could not be read any more
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
        try:
            if self._fsync:
                self._folder.sync()
        except EnvironmentError:
            file.close()
            self._remove(segment.name, self._folder)  # else the next attempt would find it
            raise
        return file

    def _forget_unknown_files(self):
        """Remove the file of a segment that was made, but not added."""
        try:
            for name in self._folder.names():
                if SEGMENT_NAME.match(name) and int(name[:16], 16) > self._segments[-1].base:
                    self._remove(name, self._folder)
        except EnvironmentError as error:
            self.error = error

    # -- reading --

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

    def _read_all(self, segment):
        """Return all bytes of the last segment, also those that its size does not count."""
        if segment.data is not None:
            return bytes(segment.data)
        return segment.file.read(0, _LONGEST_SEGMENT)

    # -- a folder that is removed or replaced --

    def check(self, now):
        """Move to a new folder if this one was changed.

        Raises:
            EnvironmentError: the spool is adopted, and its lock was removed.
        """
        if self._lock is None or now < self._check_folder_at:
            return
        self._check_folder_at = now + _FOLDER_CHECK_SECONDS
        if self._is_adopted:
            if not self._folder.has("lock", self._lock):  # another process adopts it in a minute
                raise EnvironmentError(errno.ESTALE, "the file lock was removed")
        elif self._is_in_memory or not self._is_in_place():
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

    def _forget_old_folders(self):
        """Remove what a move has left, after all of it was acknowledged."""
        try:
            self._remove_old_folders()
        except EnvironmentError as error:
            self.error = error

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

    # -- the state --

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

    # -- the end --

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
