"""Checks of the journal: whether it can be read, and how long it can hold records."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from fastlog.cli.checks import State, Verdict, existing_parent
from fastlog.config import Config, format_duration, format_size
from fastlog.errors import FastlogError
from fastlog.status.data_directory import Status, read_status

STATUS_TIMEOUT = 3.0
"""Seconds to wait for the receiver's next status."""
FULL = 0.8
"""The part of its limit above which a journal is nearly full."""


def check_journal(config: Config, status: Status | None, *, running: bool) -> Verdict:
    """Check that this version can read the journal, and estimate how long it lasts.

    Args:
        status: the last status of the receiver; `None`: there is none that can be read.
    """
    return _check_readable(config.data_dir / "journal") or _check_space(config, status, running)


def _check_readable(directory: Path) -> Verdict | None:
    """Return a failure if this version cannot read the journal, or only after a repair."""
    from fastlog.journal import examine

    try:
        examine(directory)
    except FastlogError as error:
        return Verdict(State.FAILED, "journal", str(error))
    except OSError as error:
        return Verdict(State.FAILED, "journal", f"{error.filename}: {error.strerror}")
    return None


def _check_space(config: Config, first: Status | None, running: bool) -> Verdict:
    """Estimate how long the journal can hold records if no sink stores any."""
    free = shutil.disk_usage(existing_parent(config.data_dir)).free
    if not running or first is None or not first.is_fresh():
        state = State.OK if free >= config.journal.size else State.WARNING
        text = (
            f"may grow to {format_size(config.journal.size)}, {format_size(free)} are free; "
            "the server is not running, so its rate is unknown"
        )
        return Verdict(state, "journal", text)
    if first.failure:
        return Verdict(State.FAILED, "journal", first.failure)
    second = _next_status(config.data_dir, first)
    rate = (second.durable - first.durable) / max(second.at - first.at, 1e-3)
    room = min(max(0, second.limit - second.size), free)
    used = f"{format_size(second.size)} of {format_size(second.limit)} used"
    if second.fill > FULL:
        text = f"{used}, {second.fill:.0%}; fastlog stats shows which sink is behind"
        return Verdict(State.FAILED, "journal", text)
    if rate <= 0:
        return Verdict(State.OK, "journal", f"{used}; no records arrive at present")
    text = (
        f"{used}; at the present {format_size(rate)}/s it lasts {format_duration(room / rate)} "
        f"if no sink stores anything ({format_size(free)} of disk are free)"
    )
    return Verdict(State.OK if room / rate > 60 else State.WARNING, "journal", text)


def _next_status(data_dir: Path, first: Status) -> Status:
    deadline = time.monotonic() + STATUS_TIMEOUT
    while time.monotonic() < deadline:
        status = read_status(data_dir)
        if status is not None and status.at > first.at:
            return status
        time.sleep(0.1)
    return first
