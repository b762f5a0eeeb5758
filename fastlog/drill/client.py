"""A program that logs numbered records until its stdin ends. It is run as a file, by `clients`.

It knows nothing of fastlog but the handler that it is given, as an application would. `log` marks
in a shared file where it is, so that the drill knows what it had logged also when it was killed.
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

from fastlog.protocol import frames as wire

BEGUN, DONE = 0, 8
"""Where in the marks the number stands that is being logged, and the last that was."""
_TICK = 0.01


class Settings:
    """What the drill wants of it: `argv[1]`, as JSON."""

    def __init__(self, text: str) -> None:
        values: dict[str, Any] = json.loads(text)
        self.handler: str = values["handler"]
        """`stock`, `reconnecting` or `fastlog`."""
        self.options: dict[str, Any] = values["options"]
        """More arguments of the handler."""
        self.port: int = values["port"]
        self.client: str = values["client"]
        self.marks: str = values["marks"]
        self.rate: float = values["rate"]
        """Records a second; three times as many in a burst."""
        self.seed: int = values["seed"]
        self.patience: float = values["patience"]
        """Seconds that all may take to be acknowledged in the end."""


class Client:
    """Logs, and watches its handler."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dice = random.Random(settings.seed)  # noqa: S311 - repeatable is what it has to be
        self._marks = _map(settings.marks)
        self._number = 0
        self._handler = _make_handler(settings)
        self._log = logging.getLogger("drill")
        self._log.propagate = False
        self._log.addHandler(self._handler)
        self._socket: object = None
        self._connections = 0

    def run(self, told_to_end: threading.Event) -> None:
        """Log at a steady rate, now and then three times as fast, and now and then a thousand."""
        rate, due = self._settings.rate, 0.0
        until = time.monotonic()
        while not told_to_end.wait(_TICK):
            if time.monotonic() >= until:
                rate = self._settings.rate * self._dice.choice((1, 1, 1, 3))
                until = time.monotonic() + self._dice.uniform(0.2, 0.6)
                due += self._settings.rate if self._dice.random() < 0.2 else 0
            due += rate * _TICK
            while due >= 1:
                due -= 1
                self._log_one()

    def _log_one(self) -> None:
        self._number += 1
        _mark(self._marks, BEGUN, self._number)
        self._log.info(
            "record %d of the drill %s",
            self._number,
            "." * self._dice.randrange(400),
            extra={"client": self._settings.client, "number": self._number},
        )
        _mark(self._marks, DONE, self._number)
        if self._number == 1:
            _say({"id": self._id()})
        sock = getattr(self._handler, "sock", None)
        if sock is not None and sock is not self._socket:
            self._socket = sock  # kept, so that no other object can get its identity
            self._connections += 1

    def _id(self) -> str | None:
        """What the ledger calls it, which the handler tells nobody."""
        store = getattr(getattr(self._handler, "_outbox", None), "store", None)
        return None if store is None else wire.public_name(store.client_id)

    def finish(self) -> None:
        """Wait until all that was logged has arrived, as far as the handler can know; report."""
        unsent = resent = 0
        if self._settings.handler == "fastlog":
            self._handler.flush(self._settings.patience)
            unsent = self._wait_for_orphans()
        self._handler.close()
        if self._settings.handler == "fastlog":
            stats = self._handler.stats()
            self._connections = stats["reconnects"] + 1
            unsent += stats["pending"]
            resent = stats["resent_records"]
        _say({"connections": self._connections, "unsent": unsent, "resent": resent})

    def _wait_for_orphans(self) -> int:
        """Wait until what a process before this one left in the spool is sent; returns how many
        spools are left."""
        spool = self._settings.options.get("spool")
        if spool is None:
            return 0
        deadline = time.monotonic() + self._settings.patience
        while (left := len(list(Path(spool).glob("[0-9a-f]*"))) - 1) > 0:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return left


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


def _mark(marks: mmap.mmap, at: int, number: int) -> None:
    struct.pack_into("=Q", marks, at, number)


def _say(report: dict[str, object]) -> None:
    print(json.dumps(report), flush=True)


def main() -> None:
    """Log until stdin ends."""
    logging.raiseExceptions = False  # an outage is what is wanted: nothing to tell on stderr
    logging.getLogger("drill").setLevel(logging.INFO)
    client = Client(Settings(sys.argv[1]))
    told_to_end = threading.Event()

    def watch() -> None:
        sys.stdin.buffer.read()
        told_to_end.set()

    threading.Thread(target=watch, daemon=True).start()
    client.run(told_to_end)
    client.finish()


if __name__ == "__main__":
    main()
