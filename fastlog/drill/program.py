"""A program that logs numbered records until its stdin ends. `clients` runs it as a file.

It uses fastlog only through the handler that its settings name, as an application would. It writes
its progress to a shared file, so that the drill knows what was logged even after a kill.
"""

from __future__ import annotations

import importlib
import json
import logging
import logging.handlers
import mmap
import random
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

ATTEMPTED, LOGGED = 0, 8
"""Offsets in the progress file: of the last number for which a logging call began, and of the last
for which it returned."""
_TICK = 0.01


class Settings:
    """The settings of the program: `argv[1]`, as JSON."""

    def __init__(self, text: str) -> None:
        values: dict[str, Any] = json.loads(text)
        self.handler: str = values["handler"]
        """`stock`, `reconnecting` or `fastlog`."""
        self.options: dict[str, Any] = values["options"]
        """More arguments of the handler."""
        self.port: int = values["port"]
        self.client: str = values["client"]
        self.progress: str = values["progress"]
        """The path of the progress file."""
        self.rate: float = values["rate"]
        """Records a second; three times as many in a burst."""
        self.seed: int = values["seed"]
        self.timeout: float = values["timeout"]
        """Seconds within which the server must acknowledge all records at the end."""


class Program:
    """Logs through one handler, and counts its connections."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)  # noqa: S311 - it has to be repeatable
        self._progress = _map(settings.progress)
        self._number = 0
        self._handler = _make_handler(settings)
        self._log = logging.getLogger("drill")
        self._log.propagate = False
        self._log.addHandler(self._handler)
        self._socket: object = None
        self._connections = 0

    def run(self, stop: threading.Event) -> None:
        """Log until `stop` is set: at a steady rate, at times at three times that rate, and at
        times with all records of a second at once."""
        rate, due = self._settings.rate, 0.0
        until = time.monotonic()
        while not stop.wait(_TICK):
            if time.monotonic() >= until:
                rate = self._settings.rate * self._random.choice((1, 1, 1, 3))
                until = time.monotonic() + self._random.uniform(0.2, 0.6)
                due += self._settings.rate if self._random.random() < 0.2 else 0
            due += rate * _TICK
            while due >= 1:
                due -= 1
                self._log_one()

    def _log_one(self) -> None:
        self._number += 1
        _store(self._progress, ATTEMPTED, self._number)
        self._log.info(
            "record %d of the drill %s",
            self._number,
            "." * self._random.randrange(400),
            extra={"client": self._settings.client, "number": self._number},
        )
        _store(self._progress, LOGGED, self._number)
        if self._number == 1:
            _print({"id": self._id()})
        sock = getattr(self._handler, "sock", None)
        if sock is not None and sock is not self._socket:
            self._socket = sock  # kept, so that no other object can get its identity
            self._connections += 1

    def _id(self) -> str | None:
        """Return the client's name in the ledger; None if the handler has none."""
        if self._settings.handler != "fastlog":
            return None
        name: str | None = self._handler.stats()["client"]
        return name

    def finish(self) -> None:
        """Wait until all records are acknowledged, where the handler knows that; then report."""
        unsent = resent = 0
        if self._settings.handler == "fastlog":
            self._handler.flush(self._settings.timeout)
            unsent = self._wait_for_orphans()
        self._handler.close()
        if self._settings.handler == "fastlog":
            stats = self._handler.stats()
            self._connections = stats["reconnects"] + 1
            unsent += stats["pending"]
            resent = stats["resent_records"]
        _print({"connections": self._connections, "unsent": unsent, "resent": resent})

    def _wait_for_orphans(self) -> int:
        """Wait until the spools of earlier processes are sent; return how many are not."""
        spool = self._settings.options.get("spool")
        if spool is None:
            return 0
        deadline = time.monotonic() + self._settings.timeout
        while (orphans := len(list(Path(spool).glob("[0-9a-f]*"))) - 1) > 0:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return orphans


def _make_handler(settings: Settings) -> Any:
    address = "127.0.0.1", settings.port
    if settings.handler == "stock":
        return logging.handlers.SocketHandler(*address)
    package = importlib.import_module("fastlog_client")
    kinds = {
        "fastlog": package.SocketHandler,
        "reconnecting": package.ReconnectingSocketHandler,
    }
    return kinds[settings.handler](*address, **settings.options)


def _map(path: str) -> mmap.mmap:
    with Path(path).open("r+b") as file:
        return mmap.mmap(file.fileno(), 16)


def _store(progress: mmap.mmap, offset: int, number: int) -> None:
    struct.pack_into("=Q", progress, offset, number)


def _print(report: dict[str, object]) -> None:
    print(json.dumps(report), flush=True)


def main() -> None:
    """Log until stdin ends."""
    logging.raiseExceptions = False  # outages are intended: no traceback of them on stderr
    logging.getLogger("drill").setLevel(logging.INFO)
    program = Program(Settings(sys.argv[1]))
    stop = threading.Event()

    def watch_stdin() -> None:
        sys.stdin.buffer.read()
        stop.set()

    threading.Thread(target=watch_stdin, daemon=True).start()
    program.run(stop)
    program.finish()


if __name__ == "__main__":
    main()
