"""`source.json`: what the source process knows of its nodes, for the commands and the page."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from fastlog.files import replace_file

NAME = "source.json"


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the stream. Times are in seconds since the epoch."""

    node: str
    cursor: int | None = None
    """The journal offset up to which its blocks are applied; None: not known."""
    stored: int = 0
    """The offset up to which they are durable, as its collector knows."""
    received: float | None = None
    """When the newest applied block was received; None: not known."""
    pending: int = 0
    """Messages in the stream that were not read yet."""
    gap: int | None = None
    """The offset from which on blocks are missing; None: none are."""
    gap_since: float | None = None
    damaged: int = 0
    """Messages that could not be read."""
    error: str | None = None
    """Why its blocks cannot be stored now."""

    def lag(self, now: float) -> float | None:
        """Return how old the newest applied block is while others wait, in seconds; 0: none do.

        Returns:
            None if it is not known.
        """
        if not self.pending and self.gap is None and self.error is None:
            return 0.0
        return None if self.received is None else max(0.0, now - self.received)


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one central does."""

    at: float
    """When this was written."""
    url: str
    central: str
    """The id of this central."""
    nodes: list[NodeReport] = []
    """Those that it takes."""
    elsewhere: int = 0
    """How many nodes other centrals take."""
    bytes: int = 0
    """Of the stream."""
    limit: int = 0
    """Bytes that the stream may have; 0: any number."""
    warnings: list[str] = []
    """What makes the stream less safe than it can be."""
    error: str | None = None
    """Why the cluster cannot be used now."""


def write_report(data_dir: Path, report: SourceReport) -> None:
    """Replace the report. A disk that is full leaves the old one."""
    with contextlib.suppress(OSError):
        replace_file(data_dir / NAME, msgspec.json.encode(report), in_place_if_full=True)


def remove_report(data_dir: Path) -> None:
    """Remove the report: the source has ended."""
    with contextlib.suppress(OSError):
        (data_dir / NAME).unlink()


def read_report(data_dir: Path) -> SourceReport | None:
    """Return the last report; None if there is none, or if it is being written."""
    try:
        return msgspec.json.decode((data_dir / NAME).read_bytes(), type=SourceReport)
    except (OSError, msgspec.MsgspecError):
        return None
