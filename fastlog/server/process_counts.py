"""`processes.json`: how often each child has failed, for `fastlog stats` and the metrics.

The supervisor replaces the file when a number changes, which is rare.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fastlog.files import replace_file

log = logging.getLogger(__name__)

NAME = "processes.json"


class ProcessCount(msgspec.Struct, frozen=True):
    """The failures of one child since the service was started."""

    failures: int = 0
    """How often it has ended without a request, or had to be killed."""
    hangs: int = 0
    """How often of these it was killed because it gave no sign of life."""


class ProcessCounts:
    """Counts the failures of all children of the service.

    Args:
        data_dir: Where the file is.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NAME
        self.counts: dict[str, ProcessCount] = {}
        """By the role of the child, such as `tls` or `worker[sqlite]`."""

    def restore(self, counts: Mapping[str, ProcessCount]) -> None:
        """Continue what another supervisor has counted."""
        self.counts = dict(counts)
        self._write()

    def expect(self, role: str) -> None:
        """Count from 0 on, so that readers see the first failure as an increase."""
        if role not in self.counts:
            self._count(role, 0, 0)

    def failed(self, role: str, *, hung: bool = False) -> None:
        """Count a failure."""
        self._count(role, 1, int(hung))

    def _count(self, role: str, failures: int, hangs: int) -> None:
        old = self.counts.get(role, ProcessCount())
        self.counts[role] = ProcessCount(old.failures + failures, old.hangs + hangs)
        self._write()

    def _write(self) -> None:
        try:
            replace_file(self._path, msgspec.json.encode(self.counts), in_place_if_full=True)
        except OSError as error:
            log.debug("%s: %s", NAME, error)  # the disk fails: the journal logs that


def read_process_counts(data_dir: Path) -> dict[str, ProcessCount]:
    """Return what the supervisor of a data directory has counted; nothing if it cannot be read."""
    try:
        content = (data_dir / NAME).read_bytes()
        return msgspec.json.decode(content, type=dict[str, ProcessCount])
    except (OSError, msgspec.MsgspecError):
        return {}
