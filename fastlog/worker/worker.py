"""A worker: follows the journal with one sink.

journal → decode → ledger → sink, batch by batch. The sink holds the cursor, so a worker may be
killed at any moment; the next one asks the sink and goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fastlog.block import Block
from fastlog.config import Config
from fastlog.decode import Decoded, Decoder
from fastlog.errors import (
    ConfigError,
    JournalDamagedError,
    JournalError,
    SinkConflictError,
    SinkError,
    SinkUnavailableError,
)
from fastlog.eventlog import EventLog
from fastlog.journal import JournalReader, SkippedError
from fastlog.ledger import Entry, Ledger
from fastlog.record import Rejection, host_of
from fastlog.sinks import Sink, SinkContext, make_sink
from fastlog.worker import rejections
from fastlog.worker.progress import Progress, Reader
from fastlog.worker.sink_status import SinkStatus
from fastlog.worker.throughput import Throughput, weight_of

log = logging.getLogger(__name__)

BATCH_BYTES = 4 << 20
BATCH_FRAMES = 10_000
BATCH_SECONDS = 0.1
"""One transaction: enough to make its cost small, little enough that nothing waits long for it."""
NAP = 0.1
"""Seconds between looks at the journal's mark while there is nothing to do, and no wakeup rings."""
HOUSEKEEPING_INTERVAL = 1.0
PATIENCE = 3
"""Failures of a block before its rows are tried one by one."""
GRACE = 10.0
"""Seconds that the journal's mark may lag behind the sink's cursor: the receiver is starting."""
LINE = 300
"""Characters of a reason that are logged."""
FAREWELL = 10.0
"""Seconds to catch up in when asked to stop."""


class CursorAheadError(JournalError):
    """The sink has blocks of this journal that the journal does not have."""


class Worker:
    """One sink and how far it is.

    `step` does one batch and never raises for what may pass; it raises `ConfigError`,
    `JournalDamagedError` and `CursorAheadError`, which somebody has to repair.
    """

    def __init__(
        self,
        reader: Reader,
        decoder: Decoder,
        sink: Sink,
        ledger: Ledger,
        name: str,
        data_dir: Path,
        *,
        when_full: str = "hold",
        segment: int = 64 << 20,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._decoder = decoder
        self._sink = sink
        self._ledger = ledger
        self._name = name
        self._data_dir = data_dir
        self._segment = segment
        self._monotonic = monotonic

        self._opened = self._was_opened = False
        self._progress = Progress(reader, name, clock)
        self._durable = 0
        self._next = 0
        """Journal offset that is read next."""
        self._blocks: list[Block] = []
        """Read, not decoded."""
        self._batch: list[Decoded] = []
        """Decoded and in the ledger, not applied."""
        self._one_by_one = False
        """Whether a block of this batch was rejected, and which is to be found out."""
        self._failures = 0
        """Of the batch's first block."""

        self._pace = Throughput(data_dir, name, reader.node, monotonic)
        self._standing = SinkStatus(data_dir, name, reader.node, when_full, clock)
        last = self._standing.last
        self._pace.show(*((0, 0) if last is None else (last.cursor, last.index)))
        self._events = EventLog(log)
        self._retry_at = float("-inf")
        self._housekeeping_at = self._synced_at = float("-inf")
        self._chores_error = ""
        self._ahead_since: float | None = None

    def run(self, stop: Callable[[], bool], nap: Callable[[float], object]) -> None:
        """Follow the journal until `stop()`, then catch up, sync and close.

        Args:
            nap: called after each step with the seconds to wait, which may be 0. It may return
                early.
        """
        while not stop():
            nap(self.step())
        self.finish(nap)
        log.info("stopped at offset %d", self._progress.cursor)

    def open(self) -> None:
        """Try to open the sink, once; where that fails for now, `step` goes on trying.

        Raises:
            ConfigError: the sink cannot work the way it is configured.
        """
        try:
            self._ledger.open()
            self._open()
        except (ConfigError, JournalDamagedError, CursorAheadError):
            raise
        except Exception as error:
            self._later(error)
        log.info("started at offset %d", self._progress.cursor)

    def step(self) -> float:
        """Apply one batch and do what is due.

        Returns:
            Seconds until there may be more to do; 0 when there is more now.
        """
        now = self._monotonic()
        wait = self._retry_at - now
        if wait <= 0:
            wait = self._turn(now)
        if now >= self._housekeeping_at + HOUSEKEEPING_INTERVAL and self._was_opened:
            self._housekeeping_at = now
            self._do_housekeeping()
        return wait

    def _turn(self, now: float) -> float:
        try:
            found = self._advance()
            # A segment must not wait for the clock to be released: a small journal would be full.
            full = self._progress.cursor - self._durable >= self._segment
            if full or now >= self._synced_at + HOUSEKEEPING_INTERVAL:
                self._sync()
                self._synced_at = now
        except (ConfigError, JournalDamagedError, CursorAheadError):
            raise
        except Exception as error:
            return self._later(error)
        if self._ahead_since is None:
            self._standing.well()
        return 0.0 if found else NAP

    def finish(self, nap: Callable[[float], object]) -> None:
        """Catch up to the durable mark of this moment if that takes no long time; sync; close."""
        mark, deadline = self._reader.durable(), self._monotonic() + FAREWELL
        while self._progress.cursor < mark and self._monotonic() < deadline:
            if self.step():
                break  # in trouble, or nothing more to be had
            nap(0)
        try:
            self._sync()
        except Exception as error:
            log.warning("sink %s: not synced at the end: %s", self._name, error)
        self._events.flush()
        self._pace.close()
        self._sink.close()
        self._ledger.close()

    def _later(self, error: Exception) -> float:
        """Note what is wrong; returns the seconds until the next try."""
        if isinstance(error, SinkConflictError):
            self._opened = False
        self._pace.trouble()
        delay = self._standing.trouble(error)
        self._retry_at = self._monotonic() + delay
        return delay

    def _do_housekeeping(self) -> None:
        """What is due about once a second, whatever else fails: retention may be what ends that."""
        self._events.flush()
        try:
            self._sink.tick()
        except Exception as error:
            if isinstance(error, SinkConflictError):
                self._opened = False
            text = f"{type(error).__name__}: {error}"
            if text != self._chores_error:
                log.warning("sink %s: housekeeping: %s; trying again", self._name, text)
            self._chores_error = text
        else:
            self._chores_error = ""

    # The way of a batch

    def _advance(self) -> bool:
        """Apply the batch in hand, or the next.

        Returns:
            Whether there was one.
        """
        if not self._opened and not self._open():
            return False
        began = self._monotonic()
        if not self._batch:
            self._fetch()
        if not self._batch:
            return False
        part = self._batch[:1] if self._one_by_one else self._batch
        try:
            self._sink.apply(part)
        except (SinkUnavailableError, SinkConflictError):
            raise
        except Exception as error:
            self._rejected(part, error)
        finally:
            self._pace.batch(self._drop_applied(), self._monotonic() - began)
            self._pace.show(self._progress.cursor, self._progress.index)
        return True

    def _open(self) -> bool:
        """Ask the sink where it stands, and go on from there."""
        cursor = self._sink.open(self._reader.node)
        if cursor > self._reader.durable():
            return self._wait_for_mark(cursor)
        self._ahead_since = None
        self._progress.begin(cursor, self._standing.last, self._sink.index())
        self._next = cursor
        self._blocks, self._batch = [], []
        self._one_by_one, self._failures = False, 0
        self._opened = self._was_opened = True
        self._pace.show(cursor, self._progress.index)
        return True

    def _wait_for_mark(self, cursor: int) -> bool:
        now = self._monotonic()
        if self._ahead_since is None:
            self._ahead_since = now
        if now < self._ahead_since + GRACE:
            return False
        raise CursorAheadError(
            f"sink {self._name} stands at offset {cursor} of journal {self._reader.node}, which "
            f"ends at {self._reader.durable()}: the journal in {self._data_dir} is older than the "
            "sink's data; restore a matching one, or move the journal away to begin a new one"
        )

    def _fetch(self) -> None:
        """Read and decode the next batch, and enter what is wrong with it into the ledger."""
        if not self._blocks:
            self._blocks = self._read()
        count, frames, weight = 0, 0, 0
        most = self._pace.speed * BATCH_SECONDS
        for block in self._blocks:
            count, frames, weight = count + 1, frames + block.frames, weight + weight_of(block)
            if frames >= BATCH_FRAMES or weight >= most:
                break
        if not count:
            return
        batch = [self._decoder.decode(block) for block in self._blocks[:count]]
        entries = [
            Entry(decoded.block.offset, located.idx, located.note, received=decoded.block.received)
            for decoded in batch
            for located in decoded.notes
        ]
        if entries:
            known = self._ledger.record(self._reader.node, entries, batch[-1].block.end)
            self._tell(decoded for decoded in batch if decoded.block.offset >= known)
        del self._blocks[:count]
        self._batch = batch
        self._next = batch[-1].block.end

    def _read(self) -> list[Block]:
        try:
            blocks = self._reader.read(self._next, BATCH_BYTES)
        except SkippedError as skipped:
            loss = self._progress.gap(skipped, self._standing.last, self._sink.missing())
            if loss is not None:
                entry = Entry(self._progress.cursor, 0, loss, self._name)
                self._ledger.record(self._reader.node, [entry], 0)
            self._next = skipped.oldest
            return []
        if blocks:
            self._progress.comes(blocks[0])
        return blocks

    def _tell(self, found: Iterable[Decoded]) -> None:
        """Log the rejections that no other worker has entered, and so logged, before."""
        for decoded in found:
            for _, note, by_receiver in decoded.notes:
                if isinstance(note, Rejection) and not by_receiver:
                    text = f"rejected frames of {host_of(note.peer)}: {note.reason}"
                    self._events.add("rejected", _one_line(text), note.count)

    def _drop_applied(self) -> list[Block]:
        """Take from the batch what the sink has; returns those blocks."""
        cursor = self._sink.cursor()
        applied = [one.block for one in self._batch if one.block.end <= cursor]
        for block in applied:
            self._progress.passed(block)
            self._failures = 0
        del self._batch[: len(applied)]
        if not self._batch:
            self._one_by_one = False
        return applied

    # What the sink does not take

    def _rejected(self, part: Sequence[Decoded], error: Exception) -> None:
        """Find out which block, then which rows; take the rows out of the block.

        Raises:
            SinkError: to try again later.
        """
        if len(part) > 1:
            log.warning("sink %s: %r; applying blocks one by one", self._name, error)
            self._one_by_one = True
            return
        (decoded,) = part
        self._failures += 1
        what = f"block {decoded.block.offset} is rejected: {type(error).__name__}: {error}"
        if self._failures < PATIENCE:
            raise SinkError(what) from error
        # Lines have no numbers: there is no telling which of them is which row.
        reasons = self._sink.offending(decoded) if self._sink.form == "records" else {}
        if not reasons:
            raise SinkError(f"{what}; the sink names no row to leave out") from error
        entries = rejections.entries(decoded.block, reasons, self._name)
        self._ledger.record(self._reader.node, entries, 0)
        log.error(
            "sink %s: %d rows of block %d are in the ledger instead: %s",
            *(self._name, len(reasons), decoded.block.offset, next(iter(reasons.values()))),
        )
        kept = [record for record in decoded.records if record.idx not in reasons]
        self._batch[0] = decoded._replace(records=kept)
        self._failures = 0

    # How it stands

    def _sync(self) -> None:
        if not self._opened:
            return
        cursor = self._progress.cursor
        if self._durable != cursor:
            self._durable = self._sink.sync()
        self._standing.leave(cursor, self._durable, self._progress.index)


def _one_line(text: str) -> str:
    """Fit for a log: what a stranger sent may be in it."""
    return "".join(c if c.isprintable() else "?" for c in text[:LINE])


def make_worker(config: Config, name: str) -> Worker:
    """The worker of the sink that the config calls `name`.

    Raises:
        ConfigError: there is no such sink, or its URL is wrong.
        JournalError: there is no journal yet.
    """
    settings = next((sink for sink in config.sinks if sink.name == name), None)
    if settings is None:
        raise ConfigError(f"the configuration has no sink called {name!r}")
    sink = make_sink(SinkContext(name, urlsplit(settings.url), config.data_dir, config.retention))
    reader = JournalReader(config.data_dir / "journal")
    return Worker(
        reader,
        Decoder(config.decode.engine, sink.form),
        sink,
        Ledger(config.data_dir / "ledger.db"),
        name,
        config.data_dir,
        when_full=settings.when_full,
        segment=config.journal.segment,
    )
