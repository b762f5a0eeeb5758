"""The `fastlog` command, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from fastlog.cli import fastlog
from fastlog.cli.command import run


class Result(NamedTuple):
    """The exit code of a command, and what it has printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]
"""Runs `fastlog` with these words."""

DEADLINE = 20.0

STATUS = {
    "at": 0.0, "durable": 5000, "oldest": 0, "index": 100, "size": 5000, "limit": 1 << 30,
    "connections": 3, "accepted": 7, "frames": 100, "dropped": 2, "rejected": {"http": 4},
    "failure": None,
}  # fmt: skip
"""The status of a receiver, as commands read it."""


def command_for(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs `fastlog` for a data directory."""

    def run_it(*args: object) -> Result:
        words = [*map(str, args), "--data-dir", str(data_dir)]
        code = run(fastlog, "fastlog", words)
        return Result(code, *capsys.readouterr())

    return run_it
