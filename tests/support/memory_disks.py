"""Temporary directories in memory, for tests that sync many files and need no disk for that.

A process that is killed loses nothing that it has written, on any file system. Only a power cut
would, and no test makes one: those of durability look at the calls of `fdatasync`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 2 << 30
"""Bytes that have to be free. A worker of pytest uses less than a tenth of them."""
_PREFIX = "fastlog-tests-"


@contextmanager
def memory_disk(keep: Callable[[], object]) -> Iterator[Path | None]:
    """Make a directory in memory for this process; None if there is too little room.

    It is removed at the end, unless `keep` returns true: then when the next one is made after the
    end of this process.
    """
    if not _has_room():
        yield None
        return
    for left in MEMORY.glob(f"{_PREFIX}*"):
        if not Path("/proc", left.name.removeprefix(_PREFIX).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=MEMORY))
    try:
        yield made
    finally:
        if not keep():
            shutil.rmtree(made, ignore_errors=True)


def _has_room() -> bool:
    return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM
