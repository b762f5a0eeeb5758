"""A worker: follows the journal with one sink.

journal → decode → ledger → sink, batch by batch. The sink stores the cursor, so a worker may be
killed at any moment; the next one reads the cursor from the sink and continues there.
"""

from __future__ import annotations

import contextlib
import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path

from fastlog.block import Block
from fastlog.decode import Batch, Decoded
from fastlog.errors import (
    ConfigError,
    JournalDamagedError,
    SinkConflictError,
    SinkError,
    SinkUnavailableError,
    describe,
)
from fastlog.eventlog import EventLog
from fastlog.journal import CommitTimes, LeftOut, SkippedError
from fastlog.ledger import Entry, Ledger
from fastlog.routing import BlockDecoder
from fastlog.sinks import Sink
from fastlog.worker import ledger_entries
from fastlog.worker.commit_meter import CommitMeter
from fastlog.worker.cursor_ahead import CursorAhead, CursorAheadError
from fastlog.worker.life import SignsOfLife
from fastlog.worker.linger import Linger
from fastlog.worker.progress import Progress, Reader
from fastlog.worker.rejection_log import log_rejections
from fastlog.worker.rejections import Rejections
from fastlog.worker.sink_status import SinkStatus
from fastlog.worker.throughput import Throughput, weight_of
from fastlog.worker.watched_sink import WatchedSink

log = logging.getLogger(__name__)

BATCH_BYTES = 4 << 20
BATCH_FRAMES = 10_000
BATCH_SECONDS = 0.1
"""Limits of one transaction: enough to make its fixed cost small, and little enough that nothing
waits long for it."""
POLL_INTERVAL = 0.1
"""Seconds between reads of the durable offset while there is nothing to do and no wakeup."""
HOUSEKEEPING_INTERVAL = 1.0
BLOCK_TRIES = 3
"""Failures of a block before its rows are tried one by one."""
STOP_SECONDS = 10.0
"""Seconds to catch up in after a request to stop."""


class Worker:
    """Applies the journal's blocks to one sink.

    `step` applies one batch. It does not raise errors that may pass by themselves; it raises
    `ConfigError`, `JournalDamagedError` and `CursorAheadError`, which an operator has to repair.
    """

    def __init__(
        self,
        reader: Reader,
        decoder: BlockDecoder,
        sink: Sink,
        ledger: Ledger,
        name: str,
        data_dir: Path,
        *,
        when_full: str = "hold",
        segment: int = 64 << 20,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        signs: SignsOfLife | None = None,
        keep_raw: bool = True,
    ) -> None:
        self._reader = reader
        self._decoder = decoder
        self._signs = signs or SignsOfLife(data_dir, name, clock, monotonic)
        self._sink = WatchedSink(sink, self._signs)
        self._ledger = ledger
        self._name = name
        self._data_dir = data_dir
        self._segment, self._keep_raw = segment, keep_raw
        self._monotonic = monotonic

        self._linger = Linger(sink.linger, monotonic)
        self._opened = self._was_opened = False
        self.progress = Progress(reader, name, clock)
        self.durable = 0
        """The offset up to which the sink was durable at the last sync."""
        self._next = 0
        """Journal offset to read next."""
        self._blocks: list[Block] = []
        """Blocks that are read and in no batch yet."""
        self._batch = Batch.of([])
        """Blocks that are to be applied next, or were tried."""
        self._one_by_one = False
        """Whether the whole batch is decoded first, and its blocks are applied one by one: the sink
        rejected it, was not available, or failed before all were decoded."""
        self._failures = 0
        """Failures of the batch's first block."""

        self._throughput = Throughput(data_dir, name, reader.node, monotonic)
        self.status = SinkStatus(data_dir, name, reader.node, when_full, clock)
        last = self.status.last
        self._commits = CommitMeter(CommitTimes() if last is None else last.commits, monotonic)
        self._left_out = LeftOut() if last is None else last.left_out
        self._throughput.publish(*((0, 0) if last is None else (last.cursor, last.index)))
        self._events = EventLog(log)
        self._rejections = Rejections(name, self._events, keep_raw=keep_raw)
        self._retry_at = float("-inf")
        self._housekeeping_at = self._synced_at = float("-inf")
        self._housekeeping_error = ""
        self._ahead = CursorAhead(name, data_dir, monotonic)

    def run(self, stop: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Follow the journal until `stop()`, then catch up, sync and close.

        Args:
            wait: called after each step with the seconds to wait, which may be 0. It may return
                early.
        """
        while not stop():
            wait(self.step())
        self.finish(wait)
        log.info("stopped at offset %d", self.progress.cursor)

    def open(self) -> None:
        """Try to open the sink, once; if that fails for now, `step` tries again.

        Raises:
            ConfigError: the sink cannot work the way it is configured.
        """
        self._signs.give()
        try:
            self._ledger.open()
            self._open()
        except (ConfigError, JournalDamagedError, CursorAheadError):
            raise
        except Exception as error:
            self._delay_after(error)

    def step(self) -> float:
        """Apply one batch, sync if that is due, and do the housekeeping if that is due.

        Returns:
            Seconds until there may be more to do; 0 when there is more now.
        """
        self._signs.give()
        now = self._monotonic()
        delay = self._retry_at - now
        if delay <= 0:
            delay = self._run_once(now)
        if now >= self._housekeeping_at + HOUSEKEEPING_INTERVAL and self._was_opened:
            self._housekeeping_at = now
            self._do_housekeeping()
        return delay

    def _run_once(self, now: float) -> float:
        try:
            try:
                found = self._advance()
            except SinkUnavailableError:
                # What is applied may be all that the journal needs to make room on a full disk.
                self._sync_applied()
                raise
            # A whole segment is synced at once, so that the journal can release it: a small journal
            # would be full before the interval is over.
            is_segment = self.progress.cursor - self.durable >= self._segment
            if is_segment or now >= self._synced_at + HOUSEKEEPING_INTERVAL:
                self._sync()
                self._synced_at = now
        except (ConfigError, JournalDamagedError, CursorAheadError):
            raise
        except Exception as error:
            return self._delay_after(error)
        if not self._ahead.is_waiting:
            self.status.recovered()
        return 0.0 if found else POLL_INTERVAL

    def finish(self, wait: Callable[[float], object]) -> None:
        """Catch up with the durable offset of now, unless that takes too long; sync and close."""
        self._linger.end()
        end, deadline = self._reader.durable(), self._monotonic() + STOP_SECONDS
        while self.progress.cursor < end and self._monotonic() < deadline:
            if self.step():
                break  # the sink fails, or there is nothing more
            wait(0)
        try:
            self._sync()
        except Exception as error:
            log.warning("sink %s: not synced at the end: %s", self._name, error)
        else:
            self.status.settle()
        self.close()

    def close(self) -> None:
        """Close everything, without another sync."""
        self._events.flush(final=True)
        self._throughput.close()
        self._sink.close()
        self._ledger.close()
        self._signs.close()

    def _delay_after(self, error: Exception) -> float:
        """Record an error; return the seconds until the next attempt."""
        if isinstance(error, SinkConflictError):
            self._opened = False
        self._throughput.publish_failure()
        delay = self.status.failed(error)
        self._retry_at = self._monotonic() + delay
        return delay

    def _do_housekeeping(self) -> None:
        """Flush the event log and call the sink's `tick`, about once a second.

        This is done while the sink fails, too: its retention may free the disk that is full.
        """
        self._events.flush()
        try:
            self._sink.tick()
        except Exception as error:
            if isinstance(error, SinkConflictError):
                self._opened = False
            text = describe(error)
            if text != self._housekeeping_error:
                log.warning("sink %s: housekeeping: %s; trying again", self._name, text)
            self._housekeeping_error = text
        else:
            self._housekeeping_error = ""

    # ---- the steps of a batch ----

    def _advance(self) -> bool:
        """Apply the current batch, or the next one.

        Returns:
            Whether there was one.
        """
        if not self._opened and not self._open():
            return False
        self._rejections.enter(self._ledger, self._reader.node)
        began = self._monotonic()
        if not self._batch and not self._linger.holds(self._reader.durable() - self._next):
            self._fetch()
        if not self._batch:
            return False
        self._linger.called()
        part = self._batch
        if self._one_by_one or not self._sink.streams:
            part.complete()
        if self._one_by_one:
            part, began = Batch.of(part[:1]), self._monotonic()
        try:
            with self._commits.measured():
                self._sink.apply(part)
        except SinkUnavailableError:
            self._one_by_one = True  # on a full disk, less may fit
            raise
        except SinkConflictError:
            raise
        except Exception as error:
            if not self._batch.is_complete:  # perhaps not an answer to its records
                self._one_by_one = True  # decode all of them before the next attempt
                raise
            self._handle_rejection(part, error)
        finally:
            self._throughput.measure(self._drop_applied(), self._monotonic() - began)
            self._throughput.publish(self.progress.cursor, self.progress.index)
        return True

    def _open(self) -> bool:
        """Open the sink and continue at its cursor. False: the durable offset is still below it."""
        cursor = self._sink.open(self._reader.node)
        if self._ahead.is_ahead(self._reader.node, cursor, self._reader.durable()):
            return False
        self.progress.begin(cursor, self.status.last, self._sink.index())
        self._next = cursor
        self._blocks, self._batch = [], Batch.of([])
        self._one_by_one, self._failures = False, 0
        if not self._was_opened:
            log.info("started at offset %d", cursor)
        self._opened = self._was_opened = True
        self._throughput.publish(cursor, self.progress.index)
        return True

    def _fetch(self) -> None:
        """Read the next batch."""
        if not self._blocks:
            self._blocks = self._read()
        count, frames, weight = 0, 0, 0
        max_weight = max(self._throughput.speed * BATCH_SECONDS, self._sink.batch_bytes)
        for block in self._blocks:
            count, frames, weight = count + 1, frames + block.frames, weight + weight_of(block)
            if frames >= BATCH_FRAMES or weight >= max_weight:
                break
        if count:
            self._batch = Batch(self._blocks[:count], self._decode, self._enter)
            self._next = self._batch.raw[-1].end
            del self._blocks[:count]

    def _decode(self, block: Block) -> Decoded:
        with self._signs.working():  # a batch may take long, and a sink that streams waits for it
            return self._decoder.decode(block)

    def _enter(self, batch: Sequence[Decoded]) -> None:
        """Enter the rejections and losses of a batch into the ledger."""
        entries = ledger_entries.of_notices(batch)
        if entries:
            known = self._ledger.record(self._reader.node, entries, batch[-1].block.end)
            # Those before `known` another worker has entered, and so logged.
            log_rejections(self._events, [one for one in batch if one.block.offset >= known])

    def _read(self) -> list[Block]:
        try:
            blocks = self._reader.read(self._next, BATCH_BYTES)
        except SkippedError as skipped:
            loss = self.progress.gap(skipped, self.status.last, self._sink.missing())
            if loss is not None:
                entry = Entry(self.progress.cursor, 0, loss, self._name)
                self._ledger.record(self._reader.node, [entry], 0)
            self._next = skipped.oldest
            return []
        if blocks:
            self.progress.block_read(blocks[0])
        return blocks

    def _drop_applied(self) -> Sequence[Block]:
        """Remove from the batch the blocks that the sink has applied, and return them."""
        raw = self._batch.raw
        self._rejections.collect(self._sink.rejections(), raw)
        count = bisect_right(raw, self._sink.cursor(), key=attrgetter("end"))
        if not count:
            return []
        applied = raw[:count]
        for decoded in self._batch[:count]:
            self.progress.block_applied(decoded.block)
            self._left_out = self._left_out.plus(decoded.filtered, decoded.redacted)
        self._failures = 0
        self._batch.drop(count)
        if not self._batch:
            self._one_by_one = False
        return applied

    # ---- what the sink rejects ----

    def _handle_rejection(self, part: Sequence[Decoded], error: Exception) -> None:
        """Find the block, then the rows that the sink rejects; remove the rows from the block.

        Raises:
            SinkError: The block is to be tried again later.
        """
        if len(part) > 1:
            log.warning(
                "sink %s: it rejects a batch (%s: %s); applying its %d blocks one by one",
                *(self._name, type(error).__name__, error, len(part)),
            )
            self._one_by_one = True
            return
        (decoded,) = part
        self._failures += 1
        what = f"block {decoded.block.offset} is rejected: {type(error).__name__}: {error}"
        if self._failures < BLOCK_TRIES:
            raise SinkError(what) from error
        # Lines have no idx: a rejected line cannot be mapped to a row.
        reasons = self._sink.offending(decoded) if self._sink.form != "lines" else {}
        if not reasons:
            raise SinkError(f"{what}; the sink names no row to leave out") from error
        entries = ledger_entries.of_rows(
            decoded.block, reasons, self._name, keep_raw=self._keep_raw
        )
        self._ledger.record(self._reader.node, entries, 0)
        log.error(
            "sink %s: %d rows of block %d are in the ledger instead: %s",
            *(self._name, len(reasons), decoded.block.offset, next(iter(reasons.values()))),
        )
        self._batch = Batch.of([decoded.without(reasons), *self._batch[1:]])
        self._failures = 0

    def _sync_applied(self) -> None:
        """Try to sync what is applied, while the sink fails; write the position of a new one."""
        at = self.progress.cursor
        is_new = self.status.last is None and bool(self._batch) and self._batch.raw[0].offset == at
        if self.durable != at or is_new:
            with contextlib.suppress(Exception):  # the error that was there before is reported
                self._sync()

    def _sync(self) -> None:
        """Make the sink durable, and write its position."""
        if not self._opened:
            return
        self._rejections.enter(self._ledger, self._reader.node)
        cursor = self.progress.cursor
        if self.durable != cursor:
            self.durable = self._sink.sync()
        progress = self.progress
        self.status.write(
            *(cursor, self.durable, progress.index, progress.received),
            *(self._sink.failing(), self._commits.times(), self._left_out),
        )
