"""A `fastlog web` that is measured."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

FASTLOG = Path(sys.executable).parent / "fastlog"
STOP = 30.0
"""Seconds that it has to end."""


class WebServer(NamedTuple):
    """A web server that answers."""

    url: str
    pid: int


@contextmanager
def serving(data_dir: Path) -> Iterator[WebServer]:
    """Serve a data directory on a free port of the loopback address.

    Raises:
        RuntimeError: It has not started.
    """
    command = [FASTLOG, "web", "--url", "http://127.0.0.1:0", "--data-dir", data_dir]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://[^\s/]+", process.stdout.readline())
        if found is None:
            raise RuntimeError(f"{' '.join(map(str, command))} has not started")
        try:
            yield WebServer(found[0], process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP)
