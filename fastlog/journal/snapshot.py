"""The snapshot: the client table, which the receiver needs although its blocks' segments are gone.

Two files are written alternately and in place: so no room for a third file is needed on a full
disk, where segments can be deleted only after a snapshot. Each begins with a header; the newer
valid one counts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from pathlib import Path
from typing import NamedTuple

from fastlog.core import crc32c
from fastlog.files import open_file

_NAMES = ("clients.0", "clients.1")
MAGIC = b"FLS2"
"""The digit is the version, also that of the content."""
_HEADER = struct.Struct(">4sIQQ")
_RESERVED = 64 << 10
"""Bytes that each file has from the beginning: enough for 1,300 clients."""


class Snapshot(NamedTuple):
    """The client table after the blocks below an offset of the journal."""

    offset: int
    content: bytes


def paths(directory: Path) -> list[Path]:
    """Return the paths of both files, whether they exist or not."""
    return [directory / name for name in _NAMES]


def reserve(directory: Path) -> None:
    """Make both files if they are missing, with their disk space."""
    for name in _NAMES:
        fd = open_file(directory / name, os.O_RDWR)
        try:
            if os.fstat(fd).st_size < _RESERVED:
                os.posix_fallocate(fd, 0, _RESERVED)
        finally:
            os.close(fd)


def is_reserved(directory: Path) -> bool:
    """Return whether both files exist."""
    return all((directory / name).exists() for name in _NAMES)


def read_snapshot(directory: Path) -> Snapshot | None:
    """Return the newer valid snapshot; None if there is none."""
    found = [s for name in _NAMES if (s := _read(directory / name)) is not None]
    return max(found, key=lambda snapshot: snapshot.offset, default=None)


def write_snapshot(directory: Path, snapshot: Snapshot) -> None:
    """Replace the older snapshot, durably.

    Raises:
        OSError: The disk fails; the newer snapshot is unchanged.
    """
    path = min((directory / name for name in _NAMES), key=_offset_of)
    fields = snapshot.offset, len(snapshot.content)
    body = _HEADER.pack(MAGIC, 0, *fields)[8:] + snapshot.content
    fd = open_file(path, os.O_WRONLY)
    try:
        data = _HEADER.pack(MAGIC, crc32c(body), *fields)[:8] + body
        if os.pwrite(fd, data, 0) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(fd)
    finally:
        os.close(fd)


def _offset_of(path: Path) -> int:
    found = _read(path)
    return -1 if found is None else found.offset


def _read(path: Path) -> Snapshot | None:
    data = b""
    with contextlib.suppress(FileNotFoundError):
        data = path.read_bytes()
    if len(data) < _HEADER.size:
        return None
    magic, crc, offset, length = _HEADER.unpack_from(data)
    end = _HEADER.size + length
    if magic != MAGIC or len(data) < end or crc32c(memoryview(data)[8:end]) != crc:
        return None
    return Snapshot(offset, data[_HEADER.size : end])
