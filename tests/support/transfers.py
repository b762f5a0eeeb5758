"""Commands in this process that copy data, clients that load a server, and what came of both."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conditions import wait_for
from faults import numbers
from lossless_clients import Client
from senders import Sender
from servers import FASTLOG, Server

from fastlog.cli import fastlog
from fastlog.cli.command import run as run_command


def run(*words: object, code: int = 0) -> str:
    """Run a `fastlog` command; return what it has printed, of an error its line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        result = run_command(fastlog, "fastlog", list(map(str, words)))
    assert result == code, (out.getvalue(), err.getvalue())
    return out.getvalue() if code in (0, 3) else err.getvalue()


def killed_when(condition: Callable[[], object], *words: object) -> bool:
    """Start a command, and kill it with SIGKILL when a condition holds.

    Returns:
        Whether it was killed before it had ended.
    """
    process = subprocess.Popen(
        [FASTLOG, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: condition() or process.poll() is not None)
    process.kill()
    return process.wait(30) == -signal.SIGKILL


def killed_after(seconds: float, *words: object) -> None:
    """Start a command, and kill it with SIGKILL after this time, unless it has ended."""
    process = subprocess.Popen(
        [FASTLOG, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.wait(30)


class Load(threading.Thread):
    """A fastlog client that logs until it is stopped."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self._client, self._end = client, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._end.wait(0.005):
            self._client.log(20, 200)

    def stop(self) -> None:
        self._end.set()
        self.join(30)


@contextmanager
def load(server: Server) -> Iterator[Client]:
    """Let a fastlog client and a stock client send inside the block."""
    with Client(server.port, "load") as client:
        sender = Sender("stock", server)
        loading = Load(client)
        try:
            yield client
        finally:
            loading.stop()
            sender.stop()


def assert_prefix(found: list[int], least: int, first: int = 1) -> None:
    """Check that these are all numbers from the first on, each once, and at least so many."""
    assert found == list(range(first, first + len(found)))
    assert len(found) >= least


def numbers_of_lines(*files: Path) -> dict[str, list[int]]:
    """Return the numbers in files of lines, by client."""
    lines = [json.loads(line) for path in files for line in path.read_text("utf-8").splitlines()]
    return numbers([{**line, "extra": json.dumps(line["extra"])} for line in lines])
