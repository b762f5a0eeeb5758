"""The disk under the journal: what must stay free on it, and what the log says when it fails.

The journal leaves some space for the sinks, the ledger and the positions. Otherwise a journal that
had filled the disk could never become smaller: the sinks could not store what it holds.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fastlog.config import format_duration, format_size

_log = logging.getLogger(__name__)

FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
PARTS = 32
"""A segment has at most one part in this many of the disk: only whole segments can be deleted."""
RESERVE = 64 << 20
"""Bytes that stay free, at least, for the logs and batches of sinks; more if segments are large."""
RESERVED_PARTS = 8
"""The most that stays free: one part in this many of the disk."""
MIN_SEGMENT = 64 << 10
SETTLED = 10.0
"""Seconds without a failure after which the log says that the disk works again. While sinks free
one segment after the other, the disk is full again after each."""


def segment_size(directory: Path, segment: int, size: int) -> int:
    """Return the size that segments get: only whole ones can be deleted, so there must be several.

    Args:
        directory: The journal's directory.
        segment: The configured size of a segment.
        size: The configured size of the journal.
    """
    segment = min(segment, size // 4)
    disk = os.statvfs(directory)
    total = disk.f_blocks * disk.f_frsize
    return min(segment, max(total // PARTS, MIN_SEGMENT)) if total else segment


class DiskFullError(OSError):
    """A write would take what must stay free."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Disk:
    """The disk of the journal's directory.

    Args:
        path: The directory.
        segment_size: Bytes of a segment. Sinks need the space of two to free one.
        consequence: What happens to records while the disk fails, for the log.
        monotonic: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        path: Path,
        segment_size: int,
        consequence: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._segment_size, self._consequence = path, segment_size, consequence
        self._monotonic = monotonic
        self.failure: str | None = None
        """The operation that fails now and its error; None while the disk works."""
        self.is_full = False
        """Whether the present failure is that the disk is full."""
        self._failing_since: float | None = None
        """When the failure began that the log has; None if the log says that the disk works."""
        self._failed_at = 0.0

    def room(self, unstored: int) -> int:
        """Return how many bytes a write may have, so that it leaves enough space to the sinks.

        Args:
            unstored: Bytes of the journal that some sink has not stored. It is expected to need no
                more space than they do, and as much for what is written now.

        Raises:
            OSError: The disk cannot be asked.
        """
        disk = os.statvfs(self._path)
        if not disk.f_blocks:
            return sys.maxsize  # a file system that does not know
        free = disk.f_bavail * disk.f_frsize
        return max(free - self._reserve(disk), (free - unstored) // 2)

    def failed(self, operation: str, error: OSError) -> None:
        """Record a failure, and log it if the log says that the disk works."""
        self.is_full = error.errno in FULL_ERRORS
        what = "disk full" if self.is_full else error.strerror or str(error)
        self.failure = f"cannot {operation}: {what}"
        self._failed_at = self._monotonic()
        if self._failing_since is None:
            self._failing_since = self._failed_at
            what = self._describe_full() if self.is_full else str(error)
            _log.error(
                "journal %s: cannot %s: %s; %s", self._path, operation, what, self._consequence
            )

    def worked(self) -> None:
        """Record that the disk works."""
        self.failure, self.is_full = None, False

    def report(self) -> None:
        """Log that the disk works again, once it has for a while. Call this about once a second."""
        if self._monotonic() >= self._failed_at + SETTLED:
            self.settle()

    def settle(self) -> None:
        """Log that the disk works again, if the log has a failure that is over.

        The journal calls this when it ends, too: the next one does not know of that failure.
        """
        if self._failing_since is None or self.failure:
            return
        _log.warning(
            "journal %s: the disk takes blocks again, after %s",
            *(self._path, format_duration(self._failed_at - self._failing_since)),
        )
        self._failing_since = None

    def _describe_full(self) -> str:
        try:
            disk = os.statvfs(self._path)
        except OSError:
            return "disk full"
        free, reserve = disk.f_bavail * disk.f_frsize, self._reserve(disk)
        return (
            f"disk full: {format_size(free)} are free, and {format_size(reserve)} must be left for "
            f"the sinks; make room for {format_size(max(0, reserve - free) + 1)} or more"
        )

    def _reserve(self, disk: os.statvfs_result) -> int:
        part = disk.f_blocks * disk.f_frsize // RESERVED_PARTS
        return min(max(2 * self._segment_size, RESERVE), part)
