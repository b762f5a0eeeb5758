"""Run the load generator (`load/load.c`) for one case."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from bench import build
from bench.cases import Case

REPORT_TIMEOUT = 60.0
"""Seconds that it may take to report after the server has everything."""


class LoadError(Exception):
    """The generator failed; with its message."""


class Account(NamedTuple):
    """The report of the generator. Times are seconds since the epoch."""

    sent: int
    failed: int
    """Connections that broke."""
    begin: float
    end: float
    """When the kernel had taken the last byte."""
    closed: float
    """When the server had closed the last connection."""
    cpu: float

    @property
    def seconds(self) -> float:
        return self.end - self.begin


class Load:
    """A generator process. It connects at once, and sends after `begin`.

    Args:
        case: what to send; with no records, it only connects.
        feed: the pool of the records.
        cores: the cores to run on; empty: all.
    """

    def __init__(self, case: Case, port: int, feed: str, cores: Collection[int] = ()) -> None:
        options = {
            "-p": port, "-f": build.pool(feed), "-c": case.connections, "-n": case.records,
            "-s": case.send_bytes, "-r": case.rate,
        }  # fmt: skip
        command: list[str | Path] = [build.program("load")]
        for option, value in options.items():
            command += [option, str(value)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if cores:
            os.sched_setaffinity(self._process.pid, cores)

    def __enter__(self) -> Load:
        assert self._process.stdout is not None
        try:
            ready = self._process.stdout.readline() == "ready\n"
        except BaseException:  # interrupted while it connects
            self.__exit__()
            raise
        if not ready:
            _, output = self._process.communicate()
            raise LoadError(output.strip())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # no effect if it has ended
        self._process.communicate()

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def account(self) -> Account:
        """Return its report after it has ended.

        Raises:
            LoadError: it does not end, or did not report.
        """
        try:
            output, errors = self._process.communicate(timeout=REPORT_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise LoadError("the generator does not end") from error
        try:
            fields: dict[str, Any] = json.loads(output)
        except ValueError as error:
            raise LoadError(errors.strip() or "the generator gave no account") from error
        return Account(**fields)
