"""Retention: which stored files are to be deleted, and why. A decision only, without I/O.

Three limits decide: the age of a file, the size of all together, and the free space of their disk.
Each deletes the oldest files first, and no more than it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fastlog.config import RetentionConfig, format_duration, format_size


class StoredFile(NamedTuple):
    """A file that retention may delete."""

    path: Path
    size: int
    """Bytes, with the files that belong to it."""
    age_from: float
    """When its age begins to count, in seconds since the epoch."""
    is_kept: bool = False
    """Whether it is never deleted: the newest file, and the one with the cursor."""


class Deletion(NamedTuple):
    """A file to delete."""

    file: StoredFile
    reason: str
    """The limit that it was over, in words."""


def plan(
    files: Sequence[StoredFile],
    settings: RetentionConfig,
    now: float | None,
    free: int,
    noun: str = "day files",
) -> list[Deletion]:
    """Decide which files to delete.

    Args:
        files: All files, the oldest first.
        settings: The limits.
        now: The wall clock, in seconds since the epoch; None while it is not trusted, and then no
            file is too old.
        free: Free bytes of the disk.
        noun: What the files are, for the reasons.

    Returns:
        The deletions, the oldest file first. They may be too few to reach a limit: some files are
        kept.
    """
    reasons: dict[StoredFile, str] = {}
    if now is not None:
        for file in files:
            if not file.is_kept and file.age_from + settings.age < now:
                reasons[file] = f"older than {format_duration(settings.age)}"
    left = [file for file in files if file not in reasons]
    total, gained = sum(file.size for file in left), sum(file.size for file in reasons)
    for file in left:
        if total > settings.size:
            reason = f"all {noun} together were over {format_size(settings.size)}"
        elif free + gained < settings.keep_free:
            reason = f"less than {format_size(settings.keep_free)} of the disk were free"
        else:
            break
        if not file.is_kept:
            reasons[file] = reason
            total, gained = total - file.size, gained + file.size
    return [Deletion(file, reasons[file]) for file in files if file in reasons]
