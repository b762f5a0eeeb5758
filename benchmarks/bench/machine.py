"""Describe the machine and the versions of a measurement."""

from __future__ import annotations

import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def describe(frame_bytes: int) -> dict[str, str]:
    """Return the head of the report."""
    return {
        "fastlog": version("fastlog-server"),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "Linux": platform.release(),
        "CPU": f"{_processor()} ({len(os.sched_getaffinity(0))} cores)",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "frames of": f"{frame_bytes} bytes",
        "on": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
