"""Bring free memory into a known state before a run.

A virtual machine may have returned its free pages to its host. The next use of such a page costs a
fault of 4 to 11 µs here, while writing a page of a file costs 0.8 µs in all. Whether a server pays
this depends on what other programs have freed a second before. Therefore as much page cache as the
run may fill is filled and freed before each run, so that its pages are present; or, in a cold run,
all page cache is freed, and the run waits until the kernel has returned the free pages.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.cases import Case

RECORD = 2048
"""The most bytes that a record takes in the files of a server: its journal and its output."""
MORE = 64 << 20
"""Bytes for all buffers, including the kernel's."""
PIECE = bytes(1 << 20)
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
REPORTED = 5.0
"""Seconds after which Linux has reported pages that were freed: it does so every two."""


def prepare(home: Path, case: Case) -> None:
    """Bring the free memory of the machine into the state that the case asks for."""
    if case.cold:
        release()
    else:
        touch(home, case.records)


def can_release() -> bool:
    """Return whether this process may free the page cache of the machine."""
    return os.access(DROP_CACHES, os.W_OK)


def release() -> None:
    """Free all page cache, and wait until a host that takes free pages back has them."""
    os.sync()
    DROP_CACHES.write_text("3")
    time.sleep(REPORTED)


def touch(home: Path, records: int) -> None:
    """Fill and free the page cache that a run with `records` records may need, at most half of the
    free memory."""
    page = os.sysconf("SC_PAGE_SIZE")
    most = os.sysconf("SC_AVPHYS_PAGES") * page // 2
    path = home / "touched"
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(min(most, records * RECORD + MORE) // len(PIECE)):
                file.write(PIECE)
    finally:
        path.unlink(missing_ok=True)
