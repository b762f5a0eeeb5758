"""The check of a file's format version."""

from __future__ import annotations

from pathlib import Path

from fastlog.errors import JournalError


def require_version(path: Path, version: int, readable: int) -> None:
    """Check that a file of this format version can be read.

    Raises:
        JournalError: It cannot; the message says which fastlog can.
    """
    if version == readable:
        return
    advice = (
        "start the newer fastlog that wrote it"
        if version > readable
        else "let the older fastlog that wrote it store its records, then move the directory away"
    )
    raise JournalError(f"{path} has format {version}, this fastlog reads {readable}: {advice}")
