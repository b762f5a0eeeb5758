"""Records that are in the journal and not in the store yet, which a search cannot find."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from fastlog.cli.safe_text import print_line
from fastlog.config import Config
from fastlog.errors import FastlogError
from fastlog.status.data_directory import is_running, read_status

if TYPE_CHECKING:
    from fastlog.journal import JournalReader

PATIENCE = 0.3
"""Seconds in which a worker that runs stores what has just been received."""
COUNTED_BYTES = 64 << 20
"""Bytes of the journal up to which the records in it are counted one block after the other."""


class _Cursor(msgspec.Struct):
    """The part of a sink position that shows that nothing waits."""

    cursor: int
    node: str = ""
    error: str | None = None


def report_unstored(config: Config, sink: str, *, at_end: bool = True) -> None:
    """Print to stderr how many records of the journal are not in the store yet, if any.

    Call this before the search: it first gives the sink a moment to store what was received
    before the command began.

    Args:
        sink: The sink that writes the store; "" if none of this server does.
        at_end: print it when the command ends, where a long answer does not hide it.
    """
    text = describe_unstored(config.data_dir, sink) if sink else ""
    if not text:
        return
    context = click.get_current_context()
    line = f"{context.command_path}: {text}"
    if at_end:
        context.call_on_close(lambda: print_line(line, err=True))
    else:
        print_line(line, err=True)


def describe_unstored(data_dir: Path, sink: str) -> str:
    """Return how many records of the journal the sink has not stored yet; "" if it has all."""
    position = _read_cursor(data_dir, sink)
    if _is_empty(data_dir / "journal", position):
        return ""
    from fastlog.journal import JournalReader  # a search of a store that is complete needs it not

    running = is_running(data_dir)
    may_wait = running and position.error is None
    try:
        with closing(JournalReader(data_dir / "journal")) as reader:
            durable = reader.durable()
            cursor = _wait_for_cursor(data_dir, sink, reader.node, durable, may_wait)
            count = _count_frames(reader, data_dir, cursor, durable)
    except (FastlogError, OSError, ValueError) as error:
        return f"the journal cannot be read, and it may hold records that are not stored: {error}"
    if not count:
        return ""
    records = "1 record is" if count == 1 else f"{count} records are"
    return f"{records} in the journal and not stored yet{_reason(position, sink, running)}"


def _reason(position: _Cursor, sink: str, running: bool) -> str:
    if position.error is not None:
        return f": sink {sink}: {position.error}"
    return "" if running else ": fastlog-server is not running"


def _read_cursor(data_dir: Path, sink: str) -> _Cursor:
    try:
        content = (data_dir / "positions" / f"{sink}.json").read_bytes()
        return msgspec.json.decode(content, type=_Cursor)
    except (OSError, msgspec.DecodeError):
        return _Cursor(0)


def _is_empty(journal: Path, position: _Cursor) -> bool:
    """Return whether the journal ends at or before the position, by the length of its last file."""
    last = max(journal.glob("*.seg"), default=None)
    if last is None:
        return True
    try:
        if (journal / "node").read_text("ascii").strip() != position.node:
            return False
        return int(last.stem) + last.stat().st_size <= position.cursor
    except (OSError, ValueError):
        return False


def _wait_for_cursor(data_dir: Path, sink: str, node: str, durable: int, may_wait: bool) -> int:
    """Return the offset up to which the sink has stored, once it is `durable` or a moment later."""
    from fastlog.journal import ProgressPage, read_positions

    known = read_positions(data_dir).get(sink)
    cursor = known.cursor if known is not None and known.node == node else 0
    try:
        with closing(ProgressPage(data_dir, sink, node)) as page:
            deadline = time.monotonic() + PATIENCE
            while True:
                reading = page.read()
                cursor = max(cursor, 0 if reading is None else reading.applied)
                if cursor >= durable or not may_wait or time.monotonic() > deadline:
                    return cursor
                time.sleep(0.005)
    except OSError:  # no worker has run yet
        return cursor


def _count_frames(reader: JournalReader, data_dir: Path, cursor: int, durable: int) -> int:
    """Return the number of frames between two offsets, as far as the journal still has them."""
    from fastlog.journal import SkippedError

    at, count, first = cursor, 0, None
    while at < durable and at - cursor < COUNTED_BYTES:
        try:
            blocks = reader.read(at)
        except SkippedError as skipped:
            at = skipped.oldest
            continue
        if not blocks:
            break
        for block in blocks:
            first = block.index if first is None else first
            count += block.frames if block.offset < durable else 0
            at = block.end
    if at < durable and first is not None:
        status = read_status(data_dir)
        count = max(count, 0 if status is None else status.index - first)
    return count
