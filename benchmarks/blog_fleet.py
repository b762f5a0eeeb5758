"""A load: the records to send, and the client processes that send them."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import blog_client
import click

START = 120.0
"""Seconds that the clients have to start."""


class Load(NamedTuple):
    """The records to send."""

    id: str
    """Begins each trace_id: a store may hold several loads."""
    processes: int
    runs: dict[str, int]
    """How many records each run has, by its trace_id."""
    pause: tuple[float, float]
    """Milliseconds."""
    seed: int

    @property
    def records(self) -> int:
        return sum(self.runs.values())


def make_load(
    processes: int, runs: int, records: tuple[int, int], pause: tuple[float, float], seed: int
) -> Load:
    """Make a load with a new id; the seed determines everything else."""
    name = os.urandom(4).hex()
    numbers = random.Random(seed)
    counts = {f"{name}-{run}": numbers.randint(*records) for run in range(runs)}
    return Load(name, processes, counts, pause, seed)


class Clients:
    """The client processes. They start to send at `begin`; all are ended by `close`."""

    def __init__(self, load: Load, url: str) -> None:
        self._load, self._url = load, url
        self.processes: list[subprocess.Popen[bytes]] = []
        self._begin = -1

    def __enter__(self) -> Clients:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self) -> None:
        """Let all of them start to send."""
        os.close(self._begin)
        self._begin = -1

    def running(self) -> int:
        return sum(process.poll() is None for process in self.processes)

    def failed(self) -> int:
        """Return how many ended with an error, or were killed."""
        return sum(process.returncode != 0 for process in self.processes)

    def close(self) -> None:
        if self._begin != -1:
            self.begin()
        for process in self.processes:
            process.kill()  # no effect on one that has ended
            process.wait()

    def _start(self) -> None:
        held, self._begin = os.pipe()
        ready, report = os.pipe()
        url = urlsplit(self._url)
        place = [url.path, ""] if url.scheme == "unix" else [url.hostname or "", str(url.port)]
        pauses = [str(pause) for pause in self._load.pause]
        # -I and -S: a client starts in half the time without site-packages, and needs none.
        command = [sys.executable, "-I", "-S", blog_client.__file__]
        command += [*place, *pauses, str(self._load.seed), str(held)]
        try:
            with tempfile.TemporaryFile() as runs:
                runs.writelines(_items(self._load.runs))
                runs.seek(0)
                for _ in range(self._load.processes):
                    self.processes.append(
                        subprocess.Popen(command, stdin=runs, stdout=report, pass_fds=[held])
                    )
            self._await_ready(ready)
        finally:
            for fd in (held, ready, report):
                os.close(fd)

    def _await_ready(self, ready: int) -> None:
        deadline = time.monotonic() + START
        missing = len(self.processes)
        while missing:
            if select.select([ready], [], [], 0.5)[0]:
                missing -= len(os.read(ready, missing))
            elif time.monotonic() > deadline or self.running() < len(self.processes):
                raise click.ClickException(f"{missing} of the clients do not start")


def _items(runs: dict[str, int]) -> Iterator[bytes]:
    for trace_id, count in runs.items():
        yield f"{trace_id} {count}".ljust(blog_client.ITEM - 1).encode() + b"\n"
