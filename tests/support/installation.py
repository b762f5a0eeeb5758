"""Tries what is installed beside this interpreter: server, both handlers, `send` and `query`.

Run it with the interpreter of the environment. It uses the standard library and the installed
packages only, a free port of 127.0.0.1, and the current directory for its data. Prints NAME=VALUE
lines; `test_package.py` compares them.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from logging.handlers import SocketHandler
from pathlib import Path
from urllib.parse import urlsplit

import fastlog_client

import fastlog

PROGRAMS = Path(sys.executable).parent
DATA = Path("data").absolute()
EXPECTED = 3
DEADLINE = 60.0


def start() -> tuple[subprocess.Popen[str], str]:
    """The server, and the URL on which it listens."""
    process = subprocess.Popen(
        [PROGRAMS / "fastlog-server", "--listen", "tcp://127.0.0.1:0", "--data-dir", DATA],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready_line = process.stdout.readline()
    return process, ready_line.partition(" listening on ")[2].partition(";")[0]


def send(url: str) -> None:
    """One record by each of the three ways."""
    port = urlsplit(url).port
    assert port is not None, f"the server printed no URL with a port: {url!r}"
    for text, handler in {
        "from the stock handler": SocketHandler("127.0.0.1", port),
        "from fastlog_client": fastlog_client.SocketHandler("127.0.0.1", port),
    }.items():
        logger = logging.Logger("installed")
        logger.addHandler(handler)
        logger.warning(text)
        handler.close()
    subprocess.run(
        [PROGRAMS / "fastlog", "send", "--url", url, "from fastlog send"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def query() -> list[str]:
    """The messages of all stored records."""
    done = subprocess.run(
        [PROGRAMS / "fastlog", "query", "--data-dir", DATA, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return sorted(json.loads(line)["message"] for line in done.stdout.splitlines())


def main() -> None:
    process, url = start()
    try:
        send(url)
        deadline = time.monotonic() + DEADLINE
        while len(stored := query()) < EXPECTED and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(DEADLINE)
    print(f"fastlog={fastlog.__file__}")
    print(f"fastlog_client={fastlog_client.__file__}")
    print(f"stored={', '.join(stored)}")
    print(f"status={status}")


if __name__ == "__main__":
    main()
