"""The journal's front for the receiver: takes blocks, and never makes the loop wait for a disk.

A thread of the journal writes and syncs. The receiver's thread and this one share the queue of
blocks and the list of segments, under one lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import msgspec

from fastlog.block import HEADER, Block
from fastlog.errors import JournalGoneError
from fastlog.files import make_directory
from fastlog.journal.disk import Disk, segment_size
from fastlog.journal.queue import BlockQueue
from fastlog.journal.recovery import Recovered, examine, known_durable, recover
from fastlog.journal.secret import make_secret, read_secret
from fastlog.journal.segment import Segment, make_node, read_node, segment_path
from fastlog.journal.segment_writer import SegmentWriter
from fastlog.journal.snapshot import Snapshot, reserve

_log = logging.getLogger(__name__)

_GATHER = 0.02
"""Seconds that blocks gather in memory before they are written, unless `_GATHER_BYTES` arrive
earlier: waking up for the few records of each poll costs more than writing them."""
_GATHER_BYTES = 256 << 10


class Full(Enum):
    """Why the journal cannot take a block now."""

    MEMORY = "disk full or too slow"
    SIZE = "journal full"


class JournalState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a journal whose blocks are all durable: what another process needs to become
    its writer without reading it."""

    node: str
    secret: bytes
    end: int
    index: int
    segments: list[int]
    """The journal offset of the first byte of each segment, oldest first."""
    received_us: int = 0
    """When the last block was received, in microseconds since the epoch; 0 if that is not known."""


class Journal:
    """The journal's one writer. Opening it recovers what is on disk, unless `state` is given.

    Args:
        directory: The directory of the segments; made if it is missing.
        segment: Bytes after which a new segment is begun.
        size: Bytes that all segments together may have.
        memory: Bytes in memory, not yet durable, that the journal may have.
        delay: Seconds from one fdatasync to the next, unless a caller waits for it or there is
            much to sync.
        clock: The wall clock, for the times at which blocks are received.
        visit: Called with every block that is there at the start, in order.
        on_durable: Called in the journal's thread with the new durable offset.
        consequence: What happens to records while the disk fails, for the log.
        state: The state of the previous writer, which must have ended before anything is
            appended. Nothing is read then, and nothing written until something is appended.

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
        consequence: str = "new blocks stay in memory until it can",
        state: JournalState | None = None,
    ) -> None:
        if state is None:
            self.node, self._secret = _open_identity(directory)
            recovered = recover(directory, self._secret, visit)
        else:
            self.node, self._secret = state.node, state.secret
            recovered = _recovered_from(directory, state)
        if recovered.cut:
            _log.warning(
                "journal %s: cut %d bytes behind offset %d, which a crash left; nothing of them "
                "was acknowledged",
                *(directory, recovered.cut, recovered.end),
            )
        self._size_limit = size
        self._segment_size = segment_size(directory, segment, size)
        self._clock = clock
        self._lock = threading.Condition()
        self._queue = BlockQueue(recovered.end, recovered.index, memory, recovered.received_us)
        self._writer = SegmentWriter(
            *(directory, self.node, self._secret, self._queue, self._lock, recovered.segments),
            Disk(directory, self._segment_size, consequence),
            segment_size=self._segment_size,
            delay=max(0.0, delay - _GATHER),
            on_durable=on_durable,
        )
        if state is None:
            reserve(directory)
            self._writer.publish_durable()
        self.appended = 0
        """Blocks that were appended since this process began to write."""
        self._needed_from = 0
        """The offset below which no sink needs anything."""
        self._released: list[Segment] = []
        self._snapshot: Snapshot | None = None
        self._check_requested = False
        self._closing = False
        self.crash: BaseException | None = None
        """The bug that ended the thread; the receiver must not continue."""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # ---- for the receiver -------------------------------------------------------------------

    @property
    def end(self) -> int:
        """Journal offset after the last block that was appended."""
        return self._queue.end

    @property
    def durable(self) -> int:
        """The durable offset."""
        return self._queue.durable

    @property
    def durable_received(self) -> float | None:
        """When the newest durable block was received, in seconds since the epoch; None while that
        is not known."""
        return self._queue.durable_received_us / 1e6 or None

    @property
    def index(self) -> int:
        """Ordinal of the next frame."""
        return self._queue.index

    @property
    def oldest(self) -> int:
        """Journal offset of the oldest block that is kept."""
        segments = self._writer.segments
        return segments[0].start if segments else self._queue.written

    @property
    def memory(self) -> int:
        """Bytes that are in memory and not durable yet."""
        return self._queue.memory

    @property
    def size(self) -> int:
        """Bytes of the segments and of the blocks that wait to be written."""
        return self.end - self.oldest

    @property
    def failure(self) -> str | None:
        """The operation that fails on disk now, and its error; None while the disk works."""
        return self._writer.disk.failure

    def look(self) -> None:
        """Make the thread check soon that its files are in place. Call it about once a second,
        since the thread does not check while it writes nothing."""
        with self._lock:
            self._check_requested = True
            self._lock.notify()

    def append(
        self, runs: bytes, frames: int, *, over_size: bool = False, urgent: bool = False
    ) -> Full | None:
        """Append a block of these runs. The thread writes it soon; this never waits.

        Args:
            urgent: A caller waits for the block to be durable: it is written and synced at once,
                with all others that are there by then.
            over_size: Allow the journal to be one segment larger than its limit: for the notices
                of what it could not take.

        Returns:
            None, or why the journal cannot take the block now.
        """
        with self._lock:
            block_size = HEADER.size + len(runs)
            if not self._queue.has_memory_for(block_size):
                return Full.MEMORY
            limit = self._size_limit + (self._segment_size if over_size else 0)
            if self.size and self.size + block_size > limit:
                if self._needed_from < self.end:
                    return Full.SIZE
                # Everything is released, but in the open segment: it can go when another is begun.
                self._writer.begin_new_segment = True
            self.appended += 1
            # The clock may go back: offsets give the order.
            self._queue.append(runs, frames, max(0, int(self._clock() * 1e6)))
            if urgent:
                self._queue.await_all()
            if len(self._queue) == 1 or self._queue.unwritten >= _GATHER_BYTES or urgent:
                self._lock.notify()
            return None

    def flush(self, timeout: float) -> bool:
        """Wait until all blocks are durable, in files that are in place, and all released segments
        are deleted.

        Returns:
            False: that took more than `timeout` seconds.
        """
        with self._lock:
            self._queue.await_all()
            self._check_requested = True
            self._lock.notify_all()
            return self._lock.wait_for(self._is_settled, timeout)

    def _is_settled(self) -> bool:
        return self.durable >= self.end and not (self._released or self._check_requested)

    def state(self) -> JournalState:
        """Return the state for the next writer. Call it after a `flush` that has succeeded."""
        assert self._is_settled()
        return JournalState(
            node=self.node,
            secret=self._secret,
            end=self.end,
            index=self.index,
            segments=[segment.start for segment in self._writer.segments],
            received_us=self._queue.durable_received_us,
        )

    def release(
        self,
        by_all: int,
        by_holding: int,
        make_snapshot: Callable[[], Snapshot | None] | None = None,
    ) -> None:
        """Release segments that are not needed any more; the thread deletes them.

        Args:
            by_all: The offset up to which all sinks have made blocks durable.
            by_holding: The same for the sinks that may hold the journal: when it is nearly full,
                the other sinks have to skip blocks.
            make_snapshot: Returns the snapshot to be made durable before segments are deleted. It
                is called when some can be; those after its offset stay, and all do if it returns
                None.
        """
        with self._lock:
            segments = self._writer.segments
            is_short = self._is_nearly_full() or self._writer.disk.is_full
            needed = max(by_all, by_holding) if is_short else by_all
            snapshot = None
            if make_snapshot and len(segments) > 1 and segments[1].start <= needed:
                snapshot = make_snapshot()
                needed = min(needed, snapshot.offset if snapshot is not None else 0)
            while len(segments) > 1 and segments[1].start <= needed:
                self._released.append(segments.pop(0))
                self._snapshot = snapshot
                if not self._is_nearly_full():  # on a full disk, sinks skip one at a time
                    needed = min(needed, by_all)
            self._needed_from = needed
            stored = self._writer.stored = max(by_all, by_holding)
            if self._writer.disk.is_full and segments and stored >= self._queue.written:
                # Nothing written is held any more. It can be deleted when another segment is begun,
                # which needs hardly any space.
                self._writer.begin_new_segment = segments[-1].start < self._queue.written
            if make_snapshot and self._writer.snapshot_missing:
                self._snapshot = self._snapshot or make_snapshot()
            if self._released or self._snapshot is not None:
                self._lock.notify()

    def _is_nearly_full(self) -> bool:
        return self.size + self._segment_size > self._size_limit

    def close(self, timeout: float = 10.0) -> list[bytes]:
        """Write and sync the remaining blocks, and end the thread.

        Returns:
            The runs of the blocks that are not durable.
        """
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join(timeout)
        with self._lock:
            lost = self._queue.remaining()
        if not self._thread.is_alive():
            self._writer.close()
        return lost

    # ---- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wait():
                self._check_files()
                self._delete_released()
                self._writer.write_group()
                due = self._writer.sync_due
                if due is not None and (self._is_urgent() or time.monotonic() >= due):
                    self._writer.sync()
        except JournalGoneError as error:
            self._writer.disk.failure, self.crash = str(error), error
        except BaseException as error:
            _log.exception("journal: the thread died")
            self.crash = error

    def _wait(self) -> bool:
        """Wait for something to write, to sync, to check or to delete. False: the journal ends."""
        with self._lock:
            while not (self._queue or self._closing or self._released or self._has_request()):
                due = self._writer.sync_due
                if due is not None and self._is_urgent():
                    return True
                if due is None:
                    self._lock.wait()
                elif not self._lock.wait(max(0.0, due - time.monotonic())):
                    return True
            if self._queue:
                self._lock.wait_for(
                    lambda: self._queue.unwritten >= _GATHER_BYTES or self._is_urgent(),
                    timeout=_GATHER,
                )
            requested = self._has_request() and not self._closing
            is_due = self._writer.sync_due is not None
            return bool(self._queue or self._released) or is_due or requested

    def _has_request(self) -> bool:
        return self._check_requested or self._snapshot is not None

    def _is_urgent(self) -> bool:
        return self._closing or self._queue.is_awaited

    def _check_files(self) -> None:
        if self._check_requested and self._writer.check_files():
            with self._lock:
                self._check_requested = False
                self._lock.notify_all()  # flush() waits for it

    def _delete_released(self) -> None:
        with self._lock:
            released, snapshot = list(self._released), self._snapshot
        if snapshot is not None and not self._writer.write_snapshot(snapshot):
            return
        self._writer.delete(released)
        with self._lock:
            del self._released[: len(released)]
            if self._snapshot is snapshot:
                self._snapshot = None
                if snapshot is not None:
                    self._writer.snapshot_missing = False
            self._lock.notify_all()  # flush() waits for it


def _open_identity(directory: Path) -> tuple[str, bytes]:
    """Return the node id and the secret of the journal in `directory`; make them if it is new.

    The node id is a new one where segments were and are gone, since cursors of an old journal must
    not be taken for cursors of the new one.

    Raises:
        JournalError: See `examine`.
    """
    make_directory(directory)
    if known := examine(directory):
        return known
    node = None if known_durable(directory) else read_node(directory)
    secret = read_secret(directory) or make_secret(directory)
    return node or make_node(directory), secret


def _recovered_from(directory: Path, state: JournalState) -> Recovered:
    kept = [Segment(segment_path(directory, start), start) for start in state.segments]
    return Recovered(kept, state.end, state.index, cut=0, received_us=state.received_us)
