"""Health: whether a server runs, and whether it accepts records, for probes."""

from __future__ import annotations

import time
from pathlib import Path

from fastlog.config import format_duration
from fastlog.errors import FastlogError
from fastlog.status.data_directory import read_status


def find_fault(data_dir: Path) -> str:
    """Return why a server should be started again; "" if it runs."""
    return _find(data_dir, with_journal=False)


def find_hindrance(data_dir: Path) -> str:
    """Return why a server accepts no records now; "" if it does.

    A sink that fails is no reason: the journal takes the records meanwhile.
    """
    return _find(data_dir, with_journal=True)


def _find(data_dir: Path, *, with_journal: bool) -> str:
    try:
        status = read_status(data_dir)
    except FastlogError as error:
        return str(error)
    if status is None:
        return f"no server has run in {data_dir}"
    if not status.is_fresh():
        age = format_duration(abs(time.time() - status.at))
        return f"the receiver has written no status for {age}"
    return f"journal: {status.failure}" if with_journal and status.failure else ""
