"""Faults that a test makes: full disks, full journals, stopped processes; and what was stored."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Without rate limits: a throttled connection sends nothing either, and these tests wait for one
# that the full journal stops.
SMALL_JOURNAL = (
    '[limits]\nlag = 0\n[journal]\nsize = "1 MiB"\nsegment = "256 KiB"\nmemory = "1 MiB"\n'
)


def numbers(rows: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Return the numbers of the stored records by client, in stored order."""
    found: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        extra = json.loads(row["extra"])
        found[extra["client"]].append(extra["number"])
    return dict(found)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process with SIGSTOP inside the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # the server has replaced it meanwhile
            os.kill(pid, signal.SIGCONT)


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    """Mount a file system of this size."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("only root can mount the small file system that this needs")
    at.mkdir()
    out = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", at],
        capture_output=True,
        check=False,
    )
    if out.returncode != 0:
        assert not os.environ.get("CI"), "CI insists on a small file system"
        pytest.skip(f"mounting is not allowed here: {out.stderr.decode().strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def replace_database(path: Path, content: bytes) -> None:
    """Write other content into a closed SQLite file.

    A reader that had it open when its writer closed it has kept the write-ahead log, and later
    readers would find the old pages there.
    """
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(content)


def fill(disk: Path) -> Path:
    """Fill a disk, as another program would; return the file that does."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(1 << 12))
    return ballast
