"""The segment writer: writes blocks into segments, syncs them, and retries after failures.

A block is written again at the same place after a failed write. After a failed fdatasync it is
written into a new segment, since the kernel forgets what it could not write (see fsync(2), and
PostgreSQL's wiki on "fsync errors"). Files that another program has removed are made again before
anything more is called durable.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fastlog.files import is_at, open_file, sync_directory
from fastlog.journal.directory import JournalDirectory
from fastlog.journal.disk import Disk, DiskFullError
from fastlog.journal.durable_offset import DurableOffset
from fastlog.journal.queue import BlockQueue, QueuedBlock
from fastlog.journal.segment import Header, Segment, pack_header, segment_path
from fastlog.journal.snapshot import Snapshot, write_snapshot

_log = logging.getLogger(__name__)

_GROUP_BYTES = 4 << 20
"""Bytes that one write has at most, unless its first block has more."""
_GROUP_BLOCKS = 256
SYNC_BYTES = 8 << 20
"""Bytes after which the writer syncs without waiting for `delay`: so the blocks in memory stay few,
and mostly in the processor's caches."""
SLOW_SYNC = 0.05
"""Seconds of a sync after which the next one waits for `delay` in any case: otherwise a disk with
slow syncs would do nothing else."""
_RETRY = 0.5
"""Seconds between attempts while the disk fails."""
_UNWRITTEN = "the client table cannot be written"
_CHECK_INTERVAL = 1.0
"""Seconds between checks for removed segments other than the open one."""


class SegmentWriter:
    """Writes a journal's segments. Only the journal's thread calls its methods.

    Args:
        directory: The journal's directory, with the identity `node` and `secret`.
        queue: The blocks to write.
        lock: Guards `queue` and `segments`. Notified when blocks become durable.
        segments: The existing segments, oldest first.
        segment_size: Bytes after which a new segment is begun.
        disk: The directory's disk, and its failures.
        delay: Seconds from one fdatasync to the next.
        on_durable: Called with the new durable offset after each sync.
    """

    def __init__(
        self,
        directory: Path,
        node: str,
        secret: bytes,
        queue: BlockQueue,
        lock: threading.Condition,
        segments: list[Segment],
        disk: Disk,
        *,
        segment_size: int,
        delay: float,
        on_durable: Callable[[int], None] | None,
    ) -> None:
        self._path, self._secret = directory, secret
        self._queue, self._lock = queue, lock
        self._segment_size, self._delay = segment_size, delay
        self._on_durable = on_durable
        self.disk = disk
        """Its failures: the journal cannot be written while there is one."""
        self.segments = segments
        """The segments that are not released, oldest first; guarded by the lock."""
        self.sync_due: float | None = None
        """When written blocks are to be synced, by the monotonic clock; None: there are none."""
        self.stored = 0
        """The offset up to which the sinks that hold the journal have stored it."""
        self.begin_new_segment = False
        """Set to end the open segment early, before it is full."""
        self.snapshot_missing = False
        """Whether the snapshot on disk was removed, or segments that a start needs without it."""
        self._durable_page = DurableOffset(directory, writable=True)
        self._directory = JournalDirectory(directory, node, secret)
        self._fd: int | None = None
        self._sync_failed = False  # for the open segment: nothing more is written to it
        self._synced_at, self._sync_seconds = time.monotonic(), 0.0
        self._checked_at = time.monotonic()
        self._said: set[str] = set()
        """Errors that were logged, and have not been over since."""
        # Open the segment that is written next, so that it can be copied when it is removed.
        with contextlib.suppress(FileNotFoundError):
            if self.segments:
                self._fd = os.open(self.segments[-1].path, os.O_RDWR | os.O_CLOEXEC)

    def publish_durable(self) -> None:
        """Publish the durable offset for the readers."""
        self._durable_page.publish(self._queue.durable)

    def close(self) -> None:
        """Close all files."""
        self.disk.settle()
        if self._fd is not None:
            os.close(self._fd)
        self._durable_page.close()
        self._directory.close()

    # ---- writing and syncing ----------------------------------------------------------------

    def write_group(self) -> None:
        """Write some queued blocks with one system call."""
        if self._is_segment_full() and not self.sync():
            return  # the queue has another order now
        if not self._queue:
            return
        try:
            room = self.disk.room(self._queue.written - self.stored)
        except OSError:
            room = sys.maxsize  # the directory was removed: the write and its sync find that out
        with self._lock:
            group = self._queue.next_group(min(self._room(), max(0, room)), _GROUP_BLOCKS)
        buffers = self._pack(group)
        size = sum(map(len, buffers))
        try:
            fd = self._segment_for(group[0].offset)
            if size > room:
                raise DiskFullError
            at = group[0].offset - self.segments[-1].start
            written = os.pwritev(fd, buffers, at)
            if written != size:
                raise OSError(errno.ENOSPC, f"only {written} of {size} bytes were written")
        except OSError as error:
            self.disk.failed("write", error)
            self._truncate_failed_write()
            return
        with self._lock:
            self._queue.mark_written(len(group))
        undurable = self._queue.written - self._queue.durable
        is_much = undurable >= SYNC_BYTES and self._sync_seconds < SLOW_SYNC
        self.sync_due = self._synced_at + (0.0 if is_much else self._delay)

    def sync(self) -> bool:
        """Make the written blocks durable and publish the durable offset.

        Returns:
            False: the disk fails; the blocks are queued again.
        """
        self.sync_due = None
        if not self._queue.has_written:
            return True
        began = time.monotonic()
        assert self._fd is not None
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self.disk.failed("sync", error)
            self._requeue()
            return False
        if not self.check_files():
            self.sync_due = time.monotonic()  # again after the wait of `check_files`
            return False
        self._synced_at = time.monotonic()
        self._sync_seconds = self._synced_at - began
        with self._lock:
            self._queue.mark_durable()
            self._lock.notify_all()  # flush() waits for it
        self.publish_durable()
        self.disk.worked()
        if self._on_durable is not None:
            self._on_durable(self._queue.durable)
        return True

    def _pack(self, group: list[QueuedBlock]) -> list[bytes]:
        buffers: list[bytes] = []
        for block in group:
            header = Header(
                length=len(block.runs),
                frames=block.frames,
                offset=block.offset,
                durable=self._queue.durable,
                index=block.index,
                received_us=block.received_us,
            )
            buffers += pack_header(header, block.runs, self._secret), block.runs
        return buffers

    def _room(self) -> int:
        """Return how many bytes the next write may have."""
        room = self._segment_size
        if self.segments and not self._is_segment_full():
            room -= self._queue.written - self.segments[-1].start
        return min(room, _GROUP_BYTES)

    def _is_segment_full(self) -> bool:
        size = self._queue.written - self.segments[-1].start if self.segments else 0
        return size >= self._segment_size or (self.begin_new_segment and size > 0)

    def _segment_for(self, offset: int) -> int:
        """Return the descriptor of the segment for the block at `offset`."""
        if not self.segments or self._sync_failed or self._is_segment_full():
            self._begin_segment(offset)
        elif self._fd is None:
            self._fd = os.open(self.segments[-1].path, os.O_RDWR | os.O_CLOEXEC)
        assert self._fd is not None
        return self._fd

    def _begin_segment(self, offset: int) -> None:
        self._restore_files()
        path = segment_path(self._path, offset)
        path.unlink(missing_ok=True)  # of a failed sync or a failed start: it has nothing durable
        fd = open_file(path, os.O_RDWR | os.O_EXCL)
        try:
            sync_directory(self._path)
        except OSError:
            os.close(fd)
            raise
        with self._lock:
            if self.segments and self.segments[-1].start == offset:
                self.segments.pop()
            self.segments.append(Segment(path, offset))
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._sync_failed, self.begin_new_segment = fd, False, False

    # ---- deleting ---------------------------------------------------------------------------

    def write_snapshot(self, snapshot: Snapshot) -> bool:
        """Write the client table, durably. False: the disk fails; this waits before it returns."""
        try:
            write_snapshot(self._path, snapshot)
        except OSError as error:
            self._say_once(_UNWRITTEN, error)
            time.sleep(_RETRY)
            return False
        self._said.discard(_UNWRITTEN)
        return True

    def delete(self, released: list[Segment]) -> None:
        """Delete segments durably, oldest first: a gap would look like damage."""
        try:
            for segment in released:
                segment.path.unlink(missing_ok=True)
            if released:
                sync_directory(self._path)
        except OSError as error:
            self._say_once(f"{segment.path} cannot be deleted", error)

    def _say_once(self, what: str, error: OSError) -> None:
        if what not in self._said:
            self._said.add(what)
            _log.error(
                "journal %s: %s: %s; segments are kept until then",
                self._path,
                what,
                error.strerror,
            )

    # ---- files that another program removes -------------------------------------------------

    def check_files(self) -> bool:
        """Make removed files again. False: the disk fails; this waits before it returns."""
        try:
            self._restore_files()
        except OSError as error:
            self.disk.failed("restore its files", error)
            time.sleep(_RETRY)
            return False
        if self._queue.is_empty:
            self.disk.worked()
        self.disk.report()
        return True

    def _restore_files(self) -> None:
        """Make sure that everything written has a name, and all files that a start needs exist.

        Raises:
            OSError: The disk fails, or something else has a file's name.
            JournalGoneError: The writer must not continue.
        """
        now, is_named = time.monotonic(), self._is_open_segment_named()
        if is_named and self._fd is not None and now < self._checked_at + _CHECK_INTERVAL:
            return  # the segment's path leads through the directories
        self._checked_at = now
        if not (self._directory.is_complete() and self._durable_page.is_in_place() and is_named):
            self._restore()
        self._drop_missing_segments()

    def _is_open_segment_named(self) -> bool:
        """Return whether the open segment, if there is one, is still the file of its name."""
        return self._fd is None or is_at(self._fd, self.segments[-1].path)

    def _restore(self) -> None:
        self._directory.restore()
        if not self._durable_page.is_in_place():
            page = DurableOffset(self._path, writable=True)
            self._durable_page.close()
            self._durable_page = page
            self.publish_durable()
        if self._fd is not None and not self._is_open_segment_named():
            self._copy_open_segment(self._fd)
        sync_directory(self._path)
        self.snapshot_missing = True
        _log.error(
            "journal: another program removed files of %s; restored what the server knows of them",
            self._path,
        )

    def _copy_open_segment(self, fd: int) -> None:
        """Copy the open segment, which no name refers to, to a new file of its name."""
        path = self.segments[-1].path
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        new = open_file(temporary, os.O_RDWR | os.O_EXCL)
        try:
            end, at = self._queue.written - self.segments[-1].start, 0
            while at < end:
                copied = os.sendfile(new, fd, at, end - at)
                if not copied:
                    raise OSError(errno.EIO, "the removed segment is shorter than what was written")
                at += copied
            os.fsync(new)
            temporary.replace(path)
        except BaseException:
            os.close(new)
            raise
        os.close(fd)
        self._fd = new

    def _drop_missing_segments(self) -> None:
        """Record older segments that are gone. Sinks that have not stored them count a loss."""
        with self._lock:
            expected = self.segments[: -1 if self._fd is not None else None]
            ends = [segment.start for segment in self.segments[1:]] + [self._queue.written]
            oldest = self.segments[0].start if self.segments else self._queue.written
        missing = self._directory.missing(expected)
        if not missing:
            return
        spans = [
            (segment.start, end)
            for segment, end in zip(expected, ends, strict=False)
            if segment in missing
        ]
        self._directory.record_removed(spans, oldest)
        with self._lock:
            self.segments[:] = [each for each in self.segments if each not in missing]
        self.snapshot_missing = True
        _log.error(
            "journal: another program removed %d segments, %d bytes; what a sink had not stored of "
            "them is lost for it, and counted",
            *(len(missing), sum(end - start for start, end in spans)),
        )

    # ---- failures of the disk ---------------------------------------------------------------

    def _requeue(self) -> None:
        """After a failed sync: everything that is not durable goes into a new segment."""
        with self._lock:
            self._queue.requeue_written()
        self._sync_failed = True
        time.sleep(_RETRY)

    def _truncate_failed_write(self) -> None:
        """After a failed write: remove what it has written, and wait."""
        if self._fd is not None and not self._sync_failed:
            try:
                os.ftruncate(self._fd, self._queue.written - self.segments[-1].start)
            except OSError as error:
                # The next write goes to the same place in any case.
                self.disk.failed("truncate", error)
        if self.sync_due is not None:
            self.sync()  # earlier writes need not wait for this one
        time.sleep(_RETRY)
