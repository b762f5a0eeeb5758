"""The load generator (`load/load.c`), run for one case."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from bench import build
from bench.cases import Case

END = 60.0
"""Seconds that it may take to give its account once the server has everything."""


class LoadError(Exception):
    """The generator could not do its work; the message is its own."""


class Account(NamedTuple):
    """What the generator says of itself. Times are seconds since the epoch."""

    sent: int
    failed: int
    """Connections that broke."""
    begin: float
    end: float
    """When the last byte was with the kernel."""
    closed: float
    """When the server had closed the last connection."""
    cpu: float

    @property
    def seconds(self) -> float:
        return self.end - self.begin


class Load:
    """Connects at once; sends from `begin` on.

    Args:
        case: what to send. With no records it only connects.
        feed: which pool the records come from.
        cores: where it may run; empty: anywhere.
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
        except BaseException:  # asked to stop while it connects
            self.__exit__()
            raise
        if not ready:
            _, words = self._process.communicate()
            raise LoadError(words.strip())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # nothing happens to one that has ended
        self._process.communicate()

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def account(self) -> Account:
        """What it did, when it has ended.

        Raises:
            LoadError: it has not, or it gave none.
        """
        try:
            words, errors = self._process.communicate(timeout=END)
        except subprocess.TimeoutExpired as error:
            raise LoadError("the generator does not end") from error
        try:
            fields: dict[str, Any] = json.loads(words)
        except ValueError as error:
            raise LoadError(errors.strip() or "the generator gave no account") from error
        return Account(**fields)
