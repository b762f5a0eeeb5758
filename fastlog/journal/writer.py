"""Writing the journal: a thread that writes and syncs, so that the loop never waits for a disk.

A block is in one of three places: queued (in memory), written (in the file, still in memory) or
durable. Blocks stay in memory until they are durable, because a write or a sync can fail, and then
they are written again: after a failed write at the same place, after a failed fdatasync into a new
segment, since the kernel forgets what it could not write (see fsync(2), and PostgreSQL's wiki on
"fsync errors").
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import msgspec

from fastlog.block import HEADER, Block
from fastlog.errors import JournalGoneError
from fastlog.files import is_at, make_directory, open_file, sync_directory
from fastlog.journal.durable_offset import Mark
from fastlog.journal.place import Place
from fastlog.journal.recovery import Recovered, examine, known_durable, recover
from fastlog.journal.secret import make_secret, read_secret
from fastlog.journal.segment import (
    Header,
    Segment,
    make_node,
    pack_header,
    read_node,
    segment_path,
)
from fastlog.journal.snapshot import Snapshot, reserve, write_snapshot

_log = logging.getLogger(__name__)

_GROUP_BYTES = 4 << 20
"""About how much one write may carry."""
_GROUP_BLOCKS = 256
_GATHER = 0.02
"""Seconds that blocks gather in memory before they are written, unless `_GATHER_BYTES` are there
earlier: waking up for each turn's few records costs more than writing them."""
_GATHER_BYTES = 256 << 10
_SYNC_BYTES = 8 << 20
"""Bytes after which they are synced without waiting for `delay`: what is in memory stays little,
and so in the processor's caches until it is done with."""
_SLOW_SYNC = 0.05
"""Seconds of a sync after which the next one waits for its time all the same: else a disk that is
slow to sync would do nothing else."""
_RETRY = 0.5
"""Seconds between tries while the disk rejects."""
_LOOK_EVERY = 1.0
"""Seconds between looks for segments that are not written any more."""


class Full(Enum):
    """Why a block cannot be taken now."""

    MEMORY = "disk full or too slow"
    SIZE = "journal full"


class JournalState(msgspec.Struct, frozen=True, kw_only=True):
    """A journal of which every block is durable: all that another process needs to go on with it
    as its writer, without reading it."""

    node: str
    secret: bytes
    end: int
    index: int
    stamp: int
    segments: list[int]
    """The journal offset of each one's first byte, oldest first."""


class _Queued:
    """A block in memory."""

    __slots__ = ("frames", "index", "offset", "runs", "stamp")

    def __init__(self, offset: int, runs: bytes, frames: int, index: int, stamp: int) -> None:
        self.offset, self.runs, self.frames, self.index = offset, runs, frames, index
        self.stamp = stamp

    @property
    def size(self) -> int:
        return HEADER.size + len(self.runs)


class Journal:
    """The journal's one writer. Opening it recovers what is there, unless its state is given.

    Args:
        directory: Where the segments are; made if it is not there.
        segment: Bytes after which a new segment is begun.
        size: Bytes that all segments together may have.
        memory: Bytes that may be in memory, not yet durable.
        delay: Seconds from one fdatasync to the next, unless somebody waits for it or there is
            much to sync.
        clock: The wall clock, for receive stamps.
        visit: Is shown every block that is there at the start, in order.
        on_durable: Called in the journal's thread with the new mark.
        state: Of the writer before, which must have ended before anything is appended. Nothing
            is read then, and nothing written until something is appended.

    Raises:
        JournalDamagedError: See `recover`.
        OSError: The directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment: int = 64 << 20,
        size: int = 1 << 30,
        memory: int = 64 << 20,
        delay: float = 0.1,
        clock: Callable[[], float] = time.time,
        visit: Callable[[Block], None] | None = None,
        on_durable: Callable[[int], None] | None = None,
        state: JournalState | None = None,
    ) -> None:
        if state is None:
            self.node, self._secret = _open(directory)
        else:
            self.node, self._secret = state.node, state.secret
        self._directory, self._size_limit = directory, size
        self._segment_size = min(segment, size // 4)  # only whole segments can be released
        self._memory_limit, self._clock = memory, clock
        self._delay = max(0.0, delay - _GATHER)
        self._on_durable = on_durable
        if state is None:
            recovered = recover(directory, self._secret, visit)
        else:
            recovered = _known(directory, state)
        if recovered.cut:
            _log.warning("journal: cut a torn tail of %d bytes at %d", recovered.cut, recovered.end)
        self._end = self._written = self._durable = recovered.end
        self._index, self._stamp = recovered.index, recovered.stamp
        self._segments = recovered.segments
        self._needed_from = 0
        self._released: list[Segment] = []
        self._snapshot: Snapshot | None = None
        self._roll = False
        self._fd: int | None = None
        self._spoilt = False  # a sync of the open segment failed: nothing more goes into it
        self._changed = threading.Condition()
        self._queue: deque[_Queued] = deque()
        self._undurable: deque[_Queued] = deque()
        self._memory = self._queued = 0
        self._due: float | None = None
        self._synced_at, self._sync_took = time.monotonic(), 0.0
        self._awaited = 0
        self._closing = False
        self.failure: str | None = None
        """What the disk rejects now, in words; None while it works."""
        self.crash: BaseException | None = None
        """A bug that ended the thread; the receiver must not go on."""
        self._looked_at = time.monotonic()
        self._look = False
        self._wants_snapshot = False
        """The table of clients that was on the disk is gone, or segments that a start needs."""
        self._mark = Mark(directory, writable=True)
        if state is None:
            reserve(directory)
            self._mark.publish(self._durable)
        self._place = Place(directory, self.node, self._secret)
        self._open_last()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # ---- for the receiver -----------------------------------------------------------------

    @property
    def end(self) -> int:
        """Journal offset behind the last block that was taken."""
        return self._end

    @property
    def durable(self) -> int:
        """Journal offset up to which blocks are durable."""
        return self._durable

    @property
    def index(self) -> int:
        """Ordinal of the next frame."""
        return self._index

    @property
    def oldest(self) -> int:
        """Journal offset of the oldest block that is kept."""
        return self._segments[0].start if self._segments else self._written

    @property
    def memory(self) -> int:
        """Bytes that are in memory and not durable yet."""
        return self._memory

    @property
    def size(self) -> int:
        """Bytes that the segments have, with what waits to be written."""
        return self._end - self.oldest

    def look(self) -> None:
        """Lets the thread see soon whether its files are still there; to be called every second or
        so, for while nothing is written."""
        with self._changed:
            self._look = True
            self._changed.notify()

    def append(
        self, runs: bytes, frames: int, *, over_size: bool = False, urgent: bool = False
    ) -> Full | None:
        """Takes a block of these runs, to be written soon; or says why it cannot. Never waits.

        Args:
            urgent: Somebody waits for it to be durable: it is written and synced at once, with all
                others that are there by then.
            over_size: Up to a segment more than the journal may have: for notes of what it could
                not take.
        """
        with self._changed:
            block_size = HEADER.size + len(runs)
            if self._memory and self._memory + block_size > self._memory_limit:
                return Full.MEMORY
            limit = self._size_limit + (self._segment_size if over_size else 0)
            if self.size and self.size + block_size > limit:
                if self._needed_from < self._end:
                    return Full.SIZE
                self._roll = True  # all of it was released but for the segment that is open
            self._stamp = max(0, int(self._clock() * 1e6))  # may go back: offsets give the order
            self._queue.append(_Queued(self._end, runs, frames, self._index, self._stamp))
            self._end += block_size
            self._index += frames
            self._memory += block_size
            self._queued += block_size
            if urgent:
                self._awaited = self._end
            if len(self._queue) == 1 or self._queued >= _GATHER_BYTES or urgent:
                self._changed.notify()
            return None

    def flush(self, timeout: float) -> bool:
        """Waits until all that was taken is durable, in files that are still in their places, and
        all that was released is deleted. False: it is not, after so many seconds."""
        with self._changed:
            self._awaited, self._look = self._end, True
            self._changed.notify_all()
            return self._changed.wait_for(self._is_settled, timeout)

    def _is_settled(self) -> bool:
        return self._durable >= self._end and not (self._released or self._look)

    def state(self) -> JournalState:
        """For the next writer; to be called after a `flush` that succeeded."""
        assert self._is_settled()
        return JournalState(
            node=self.node,
            secret=self._secret,
            end=self._end,
            index=self._index,
            stamp=self._stamp,
            segments=[segment.start for segment in self._segments],
        )

    def release(
        self,
        everyone: int,
        holders: int,
        make_snapshot: Callable[[], Snapshot | None] | None = None,
    ) -> None:
        """Lets go of segments that are not needed any more; the thread deletes them.

        Args:
            everyone: The offset up to which all sinks have made blocks durable.
            holders: The same for those sinks that may hold the journal: when it is nearly full,
                the others have to skip.
            make_snapshot: Gives what is to be durable before segments go, and is asked when some
                could; those behind its offset stay, and all do if there is none now.
        """
        with self._changed:
            needed = max(everyone, holders) if self._is_nearly_full() else everyone
            snapshot = None
            if make_snapshot and len(self._segments) > 1 and self._segments[1].start <= needed:
                snapshot = make_snapshot()
                needed = min(needed, snapshot.offset if snapshot is not None else 0)
            while len(self._segments) > 1 and self._segments[1].start <= needed:
                self._released.append(self._segments.pop(0))
                self._snapshot = snapshot
                if not self._is_nearly_full():
                    needed = min(needed, everyone)
            self._needed_from = needed
            if make_snapshot and self._wants_snapshot:
                self._snapshot = self._snapshot or make_snapshot()
            if self._released or self._snapshot is not None:
                self._changed.notify()

    def _is_nearly_full(self) -> bool:
        return self.size + self._segment_size > self._size_limit

    def close(self, timeout: float = 10.0) -> list[bytes]:
        """Writes and syncs what is left, and ends. Returns the runs of blocks that could not be."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        with self._changed:
            lost = [block.runs for block in (*self._undurable, *self._queue)]
        if not self._thread.is_alive():
            if self._fd is not None:
                os.close(self._fd)
            self._mark.close()
            self._place.close()
        return lost

    # ---- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wait():
                if self._look and self._look_after_files():
                    with self._changed:
                        self._look = False
                        self._changed.notify_all()  # who waits in flush()
                self._delete_released()
                self._write_some()
                if self._due is not None and (self._is_urgent() or time.monotonic() >= self._due):
                    self._sync()
        except JournalGoneError as error:
            self.failure, self.crash = str(error), error
        except BaseException as error:
            _log.exception("journal: the thread died")
            self.crash = error

    def _wait(self) -> bool:
        """Waits for something to write, to sync or to delete. False: the end."""
        with self._changed:
            while not (self._queue or self._closing or self._released or self._has_errand()):
                if self._due is not None and self._is_urgent():
                    return True
                if self._due is None:
                    self._changed.wait()
                elif not self._changed.wait(max(0.0, self._due - time.monotonic())):
                    return True
            if self._queue:
                self._changed.wait_for(
                    lambda: self._queued >= _GATHER_BYTES or self._is_urgent(), timeout=_GATHER
                )
            errand = self._has_errand() and not self._closing
            return bool(self._queue or self._released) or self._due is not None or errand

    def _has_errand(self) -> bool:
        return self._look or self._snapshot is not None

    def _is_urgent(self) -> bool:
        return self._closing or self._durable < self._awaited

    def _delete_released(self) -> None:
        """Deletes in order, oldest first, and durably: a gap would look like damage."""
        with self._changed:
            released, snapshot = list(self._released), self._snapshot
        if snapshot is not None and not self._keep(snapshot):
            time.sleep(_RETRY)
            return
        try:
            for segment in released:
                segment.path.unlink(missing_ok=True)
            if released:
                sync_directory(self._directory)
        except OSError as error:
            _log.error("journal: cannot delete %s: %s", segment.path, error.strerror)
        with self._changed:
            del self._released[: len(released)]
            if self._snapshot is snapshot:
                self._snapshot = None
                self._wants_snapshot = self._wants_snapshot and snapshot is None
            self._changed.notify_all()  # who flushes

    def _keep(self, snapshot: Snapshot) -> bool:
        try:
            write_snapshot(self._directory, snapshot)
        except OSError as error:
            _log.error("journal: cannot keep its table of clients: %s", error.strerror)
            return False
        return True

    def _write_some(self) -> None:
        if self._is_segment_full() and not self._sync():
            return  # the order in the queue is another now
        group = self._next_group()
        if not group:
            return
        buffers: list[bytes] = []
        for block in group:
            header = Header(
                length=len(block.runs),
                frames=block.frames,
                offset=block.offset,
                durable=self._durable,
                index=block.index,
                stamp=block.stamp,
            )
            buffers += pack_header(header, block.runs, self._secret), block.runs
        size = sum(map(len, buffers))
        try:
            fd = self._segment_for(group[0].offset)
            at = group[0].offset - self._segments[-1].start
            written = os.pwritev(fd, buffers, at)
            if written != size:
                raise OSError(errno.ENOSPC, f"only {written} of {size} bytes were written")
        except OSError as error:
            self._rejected("write", error)
            self._cut_back()
            return
        with self._changed:
            for _ in group:
                self._undurable.append(self._queue.popleft())
            self._queued -= size
            self._written += size
        is_much = self._written - self._durable >= _SYNC_BYTES and self._sync_took < _SLOW_SYNC
        self._due = self._synced_at + (0.0 if is_much else self._delay)

    def _next_group(self) -> list[_Queued]:
        group: list[_Queued] = []
        size = 0
        with self._changed:
            room = self._segment_size
            if self._segments and not self._is_segment_full():
                room -= self._written - self._segments[-1].start
            room = min(room, _GROUP_BYTES)
            for block in self._queue:
                if group and (size + block.size > room or len(group) == _GROUP_BLOCKS):
                    break
                group.append(block)
                size += block.size
        return group

    def _is_segment_full(self) -> bool:
        written = self._written - self._segments[-1].start if self._segments else 0
        return written >= self._segment_size or (self._roll and written > 0)

    def _segment_for(self, offset: int) -> int:
        """The descriptor of the segment that the block at `offset` goes into."""
        if not self._segments or self._spoilt or self._is_segment_full():
            self._begin_segment(offset)
        elif self._fd is None:
            self._fd = os.open(self._segments[-1].path, os.O_RDWR | os.O_CLOEXEC)
        assert self._fd is not None
        return self._fd

    def _begin_segment(self, offset: int) -> None:
        self._keep_in_place()
        path = segment_path(self._directory, offset)
        path.unlink(missing_ok=True)  # left by a failed sync or a failed start: nothing durable
        fd = open_file(path, os.O_RDWR | os.O_EXCL)
        try:
            sync_directory(self._directory)
        except OSError:
            os.close(fd)
            raise
        with self._changed:
            if self._segments and self._segments[-1].start == offset:
                self._segments.pop()
            self._segments.append(Segment(path, offset))
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._spoilt, self._roll = fd, False, False

    def _sync(self) -> bool:
        """Makes what was written durable, and says so. False: the disk rejected."""
        self._due = None
        if not self._undurable:
            return True
        began = time.monotonic()
        assert self._fd is not None
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._rejected("sync", error)
            self._write_again()
            return False
        if not self._look_after_files():
            self._due = time.monotonic()  # once more, when the disk has had its moment
            return False
        self._synced_at = time.monotonic()
        self._sync_took = self._synced_at - began
        with self._changed:
            self._durable = self._written
            self._memory -= sum(block.size for block in self._undurable)
            self._undurable.clear()
            self._changed.notify_all()  # who waits in flush()
        self._mark.publish(self._durable)
        self._recovered()
        if self._on_durable is not None:
            self._on_durable(self._durable)
        return True

    # ---- files that another program removes -------------------------------------------------

    def _open_last(self) -> None:
        """Opens the segment that is written next, so that it can be made anew when it vanishes."""
        with contextlib.suppress(FileNotFoundError):
            if self._segments:
                self._fd = os.open(self._segments[-1].path, os.O_RDWR | os.O_CLOEXEC)

    def _look_after_files(self) -> bool:
        """Makes anew what was removed. False: that cannot be done now."""
        try:
            self._keep_in_place()
        except OSError as error:
            self._rejected("make its files anew", error)
            time.sleep(_RETRY)
            return False
        if self.failure is not None and not (self._queue or self._undurable):
            self._recovered()
        return True

    def _keep_in_place(self) -> None:
        """Sees to it that names stand for all that was written and is needed at a start.

        Raises:
            OSError: The disk rejects, or something else is in the way.
            JournalGoneError: The writer must not go on.
        """
        now, named = time.monotonic(), self._is_last_named()
        if named and self._fd is not None and now < self._looked_at + _LOOK_EVERY:
            return  # the segment's path leads through the directories
        self._looked_at = now
        if not (self._place.is_whole() and self._mark.is_in_place() and named):
            self._make_anew()
        self._drop_missing()

    def _is_last_named(self) -> bool:
        """Whether the open segment, if there is one, is still the file of its name."""
        return self._fd is None or is_at(self._fd, self._segments[-1].path)

    def _make_anew(self) -> None:
        self._place.restore()
        if not self._mark.is_in_place():
            mark = Mark(self._directory, writable=True)
            mark.publish(self._durable)
            self._mark.close()
            self._mark = mark
        if self._fd is not None and not self._is_last_named():
            self._copy_last(self._fd)
        sync_directory(self._directory)
        self._wants_snapshot = True
        _log.error(
            "journal: files of %s were removed by another program; made anew with what is known",
            self._directory,
        )

    def _copy_last(self, fd: int) -> None:
        """Gives the segment that is open, and that no name stands for, a new file."""
        path = self._segments[-1].path
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        new = open_file(aside, os.O_RDWR | os.O_EXCL)
        try:
            end, at = self._written - self._segments[-1].start, 0
            while at < end:
                sent = os.sendfile(new, fd, at, end - at)
                if not sent:
                    raise OSError(errno.EIO, "the removed segment is shorter than what was written")
                at += sent
            os.fsync(new)
            aside.replace(path)
        except BaseException:
            os.close(new)
            raise
        os.close(fd)
        self._fd = new

    def _drop_missing(self) -> None:
        """Notes older segments that are gone. Sinks that have not stored them count a loss."""
        with self._changed:
            expected = self._segments[: -1 if self._fd is not None else None]
            ends = [segment.start for segment in self._segments[1:]] + [self._written]
        gone = self._place.missing(expected)
        if not gone:
            return
        spans = [
            (segment.start, end)
            for segment, end in zip(expected, ends, strict=False)
            if segment in gone
        ]
        self._place.note_removed(spans, self.oldest)
        with self._changed:
            self._segments[:] = [each for each in self._segments if each not in gone]
        self._wants_snapshot = True
        _log.error(
            "journal: %d of its segments, %d bytes, were removed by another program; what a sink "
            "had not stored of them is lost to it, and counted",
            *(len(gone), sum(end - start for start, end in spans)),
        )

    # ---- what the disk rejects -------------------------------------------------------------

    def _write_again(self) -> None:
        """After a failed sync: all that is not durable goes into a new segment."""
        with self._changed:
            self._queue.extendleft(reversed(self._undurable))
            self._queued += self._written - self._durable
            self._undurable.clear()
            self._written = self._durable
        self._spoilt = True
        time.sleep(_RETRY)

    def _cut_back(self) -> None:
        """After a failed write: nothing of it stays, and the disk gets a moment."""
        if self._fd is not None and not self._spoilt:
            try:
                os.ftruncate(self._fd, self._written - self._segments[-1].start)
            except OSError as error:
                self._rejected("cut back", error)  # the next write goes to the same place anyway
        if self._due is not None:
            self._sync()  # what was written before need not wait for what cannot be
        time.sleep(_RETRY)

    def _recovered(self) -> None:
        if self.failure is not None:
            _log.warning("journal: the disk takes blocks again")
            self.failure = None

    def _rejected(self, what: str, error: OSError) -> None:
        if self.failure is None:
            _log.error("journal: cannot %s: %s; keeping what comes in memory", what, error)
        self.failure = f"cannot {what}: {error.strerror or error}"


def _open(directory: Path) -> tuple[str, bytes]:
    """Id and secret of the journal there, made if it is new. The id is a new one where segments
    were and are no more, since cursors of an old journal must not be taken for its own.

    Raises:
        JournalError: See `examine`.
    """
    make_directory(directory)
    if known := examine(directory):
        return known
    node = None if known_durable(directory) else read_node(directory)
    secret = read_secret(directory) or make_secret(directory)
    return node or make_node(directory), secret


def _known(directory: Path, state: JournalState) -> Recovered:
    kept = [Segment(segment_path(directory, start), start) for start in state.segments]
    return Recovered(kept, state.end, state.index, state.stamp, cut=0)
