"""The retention of day files: lists them for `retention.py`, and deletes what that decides."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

from fastlog.clock import steady
from fastlog.config import RetentionConfig, format_size
from fastlog.errors import SinkUnavailableError
from fastlog.sinks.day_cursor import read_summary
from fastlog.sinks.day_directory import DayDirectory, DayFileName, parse_name
from fastlog.sinks.day_schema import Summary
from fastlog.sinks.retention import Deletion, StoredFile, plan

log = logging.getLogger(__name__)

RELEASE_SECONDS = 300.0
"""Seconds within which a disk is expected to return the space of a deleted file. A process that
reads the file keeps its space, and some file systems return it late."""


class DayRetention:
    """Applies the retention to the day files of one sink.

    Args:
        sink: The sink's name, for the log.
        directory: The day files.
        settings: The limits.
        clock: Seconds that never go back.
        clear: Makes a file ready to be deleted: moves the cursors that are in it to another file,
            the second argument. It returns False if the file has to be kept.
    """

    def __init__(
        self,
        sink: str,
        directory: DayDirectory,
        settings: RetentionConfig,
        clock: Callable[[], float] = steady,
        clear: Callable[[DayFileName, DayFileName], bool] = lambda _name, _target: True,
    ) -> None:
        self._sink, self._directory, self._settings = sink, directory, settings
        self._clear = clear
        self._age_from: dict[DayFileName, float] = {}
        """When the age of a file begins to count, for the files that were expired by name."""
        self._undeletable: set[Path] = set()
        self._releasing = _Releasing(clock)
        self._has_warned = False

    def retire(self, now: float | None, in_use: Collection[DayFileName]) -> None:
        """Delete the files that the limits require.

        A file that cannot be deleted is tried again at the next call.

        Args:
            now: The wall clock, in seconds since the epoch; None while it is not trusted.
            in_use: The files that are written to; if there are none, or if they are not known, the
                file that was written last is kept instead.
        """
        files = self._list(now, in_use)
        # A limit that is not set costs nothing.
        free = self._free() if self._settings.keep_free else 0
        deletions = plan(files, self._settings, now, free)
        gained = sum(
            deletion.file.size for deletion in deletions if self._delete(deletion, files[-1].path)
        )
        if self._settings.keep_free:
            self._warn_of_too_little(free + gained)

    def preview(self) -> list[Deletion]:
        """Return what `retire` would delete with a trusted clock. Changes nothing."""
        now = time.time()
        files = self._list(now, ())
        return plan(files, self._settings, now, self._free()) if files else []

    def _list(self, now: float | None, in_use: Collection[DayFileName]) -> list[StoredFile]:
        """List the day files, oldest first."""
        names = [name for name in self._directory.names() if self._directory.is_regular(name)]
        kept = {*in_use, *names[-1:]}
        if not in_use and names:
            # Clocks of file systems are coarse: of two files with equal times, the newer is kept.
            last_write = self._directory.last_write
            kept.add(max(names, key=lambda name: (last_write(name), name)))
        for name in in_use:
            self._age_from.pop(name, None)
        return [
            StoredFile(
                self._directory.file(name),
                self._directory.size(name),
                self._age_begins(name, now),
                is_kept=name in kept,
            )
            for name in names
        ]

    def _age_begins(self, name: DayFileName, now: float | None) -> float:
        """Return when the age of a file begins: at the end of its day, or at its last seal.

        A server whose clock began in 1970 stores into a file of that day. Once the clock is
        right, the age of that file counts from the seal, and not from its name. A file is only
        read if its name makes it too old.
        """
        if now is None or name.end + self._settings.age >= now:
            return name.end
        if name not in self._age_from:
            sealed_at = _summary_of(self._directory.file(name)).sealed_at
            usable = sealed_at is not None and name.end < sealed_at <= now
            self._age_from[name] = sealed_at if usable and sealed_at is not None else name.end
        return self._age_from[name]

    def _free(self) -> int:
        """Return the free bytes of the disk, with those of deleted files that it will return."""
        disk = os.statvfs(self._directory.path)
        return self._releasing.add_to(disk.f_bavail * disk.f_frsize)

    def _delete(self, deletion: Deletion, newest: Path) -> bool:
        """Delete a file; return whether it is gone."""
        file = deletion.file
        name, target = parse_name(file.path.name), parse_name(newest.name)
        assert name is not None and target is not None
        try:
            if not self._clear(name, target):
                return False
            span = _format_span(_summary_of(file.path))
            self._directory.delete(file.path)
        except (OSError, SinkUnavailableError) as error:
            if file.path not in self._undeletable:
                what = error.strerror if isinstance(error, OSError) else error
                log.warning(
                    "sink %s: retention: cannot delete %s: %s; trying again",
                    *(self._sink, file.path, what),
                )
            self._undeletable.add(file.path)
            return False
        self._releasing.expect(file.size)
        self._undeletable.discard(file.path)
        log.info(
            "sink %s: retention: deleted %s: %s; %s, %s",
            *(self._sink, file.path, deletion.reason, format_size(file.size), span),
        )
        return True

    def _warn_of_too_little(self, free: int) -> None:
        is_too_little = free < self._settings.keep_free
        if is_too_little and not self._has_warned:
            log.warning(
                "sink %s: retention: keep_free is %s, but %s are free, and no more files of %s "
                "may be deleted; make room on this disk",
                *(self._sink, format_size(self._settings.keep_free), format_size(free)),
                self._directory.path,
            )
        self._has_warned = is_too_little


class _Releasing:
    """The bytes of deleted files that the disk has not returned yet.

    Without it, one file after another would be deleted while a reader keeps the first one open.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._bytes = 0
        self._free = 0
        """What was free at the last call."""
        self._until = 0.0

    def expect(self, size: int) -> None:
        """Count the bytes of a file that was deleted now."""
        self._bytes += size
        self._until = self._clock() + RELEASE_SECONDS

    def add_to(self, free: int) -> int:
        """Return the free bytes as if everything expected had been returned."""
        returned, self._free = max(0, free - self._free), free
        is_over = self._clock() >= self._until
        self._bytes = 0 if is_over else max(0, self._bytes - returned)
        return free + self._bytes


def _summary_of(path: Path) -> Summary:
    try:
        return read_summary(path)
    except SinkUnavailableError:
        return Summary()


def _format_span(summary: Summary) -> str:
    if summary.first is None or summary.last is None:
        return "the time of its records is not known"
    return f"records of {_format_time(summary.first)} to {_format_time(summary.last)}"


def _format_time(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"@{seconds:.0f}"
