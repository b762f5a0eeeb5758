"""The state of each sink: how far it is behind, its errors, and whether its worker is alive."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec

from fastlog.block import Block
from fastlog.config import format_duration
from fastlog.errors import FastlogError
from fastlog.journal import (
    UNKNOWN,
    CommitTimes,
    JournalReader,
    ProgressPage,
    SinkPosition,
    SkippedError,
    read_positions,
)
from fastlog.status.data_directory import Status
from fastlog.worker.life import Life, read_lives

SILENT = 30.0
"""Seconds without a sign of life after which a worker is not taken for alive."""

READ_BYTES = 4096
"""Bytes to read of the journal for the time of one block."""


class SinkReport(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one sink. Times are in seconds since the epoch."""

    name: str
    configured: bool | None
    """Whether the server's configuration has the sink. `None`: not known, as an older server or
    none has run."""
    cursor: int | None = None
    """`None`: the sink has never been opened."""
    durable: int | None = None
    lag_bytes: int | None = None
    lag_records: int | None = None
    """Frames, each of which is a record or a rejection. `None`: no receiver has run, or the worker
    does not know (it was killed, and the sink has been unreachable since)."""
    lag_seconds: float | None = None
    """How long ago the oldest record was received that the sink has not stored; 0 if it has all.
    `None`: not known."""
    at: float | None = None
    """When the worker last wrote the sink's position, which it does when that changes."""
    error: str | None = None
    failing: dict[str, int] = {}
    """Handlers of a `logging:` sink that fail, with the number of failures."""
    when_full: str | None = None
    alive_at: float | None = None
    """The worker's last sign of life; `None`: not known."""
    in_call: str = ""
    """The method of the sink that the worker waits in, such as `apply`; "" for none."""
    in_call_since: float | None = None
    commits: CommitTimes = CommitTimes()
    filtered: int = 0
    """Records that the sink's filter has left out, since its position was first written."""
    redacted: dict[str, int] = {}
    """Stored records that each rule of redaction has changed, by the name of the rule."""

    def is_silent(self, now: float) -> bool:
        """Return whether the worker has given no sign of life for `SILENT` seconds.

        A worker that waits inside its sink's own call gives none either.
        """
        return self.alive_at is not None and now - self.alive_at > SILENT


def shown_age(seconds: float) -> str:
    """Format how long ago something was; workers give several signs of life a second."""
    return "under 1 s ago" if seconds < 1 else f"{format_duration(seconds)} ago"


def read_sinks(data_dir: Path, status: Status | None, now: float) -> list[SinkReport]:
    """Return the state of each sink that the server has, or had."""
    positions, lives = read_positions(data_dir), read_lives(data_dir)
    sinks = None if status is None else status.sinks
    names = sorted({*positions, *(sinks or ())})
    return [
        _report(
            data_dir, name, positions.get(name), lives.get(name), status, now,
            configured=None if sinks is None else name in sinks,
        )
        for name in names
    ]  # fmt: skip


def _report(
    data_dir: Path,
    name: str,
    position: SinkPosition | None,
    life: Life | None,
    status: Status | None,
    now: float,
    *,
    configured: bool | None,
) -> SinkReport:
    alive_at, in_call, in_call_since = (
        (None, "", None) if life is None else (life.at, life.call, life.in_call_since)
    )
    report = SinkReport(
        name=name,
        configured=configured,
        alive_at=alive_at,
        in_call=in_call,
        in_call_since=in_call_since,
    )
    if position is None:
        return report
    cursor, index = _newest_cursor(data_dir, name, position)
    return msgspec.structs.replace(
        report,
        cursor=cursor,
        durable=position.durable,
        lag_bytes=None if status is None else max(0, status.durable - cursor),
        lag_records=_records_behind(cursor, index, status),
        lag_seconds=_seconds_behind(data_dir, position, cursor, status, now),
        at=position.at,
        error=position.error,
        failing=position.failing,
        when_full=position.when_full,
        commits=position.commits,
        filtered=position.left_out.filtered,
        redacted=position.left_out.redacted,
    )


def _newest_cursor(data_dir: Path, name: str, position: SinkPosition) -> tuple[int, int | None]:
    """Return the cursor, and the ordinal of the frame there; None: the worker does not know it.

    The progress page has them some milliseconds after each batch, the position after a second.
    """
    try:
        with closing(ProgressPage(data_dir, name, position.node)) as page:
            reading = page.read()
    except (OSError, ValueError):
        reading = None
    if reading is None or reading.applied <= position.cursor:
        return position.cursor, position.index
    return reading.applied, None if reading.frame == UNKNOWN else reading.frame


def _records_behind(cursor: int, index: int | None, status: Status | None) -> int | None:
    if status is None:
        return None
    if cursor >= status.durable:
        return 0
    return None if index is None else max(0, status.index - index)


def _seconds_behind(
    data_dir: Path, position: SinkPosition, cursor: int, status: Status | None, now: float
) -> float | None:
    """Return for how long the oldest block that the sink has not applied has been waiting.

    The time between the newest received and the newest stored block would be wrong where one
    record comes an hour after the other: as long as the second is on its way, it would be an hour.
    """
    try:
        with closing(JournalReader(data_dir / "journal")) as reader:
            if reader.node != position.node:
                return None
            blocks = _first_blocks(reader, cursor)
            return max(0.0, now - blocks[0].received) if blocks else 0.0
    except (FastlogError, OSError, ValueError):
        pass
    if status is None:
        return None
    if cursor >= status.durable:
        return 0.0
    if status.durable_received is None or position.stored_received is None:
        return None
    return max(0.0, status.durable_received - position.stored_received)


def _first_blocks(reader: JournalReader, cursor: int) -> list[Block]:
    try:
        return reader.read(cursor, READ_BYTES)
    except SkippedError as skipped:  # released: the sink continues behind the gap
        return reader.read(skipped.oldest, READ_BYTES)
