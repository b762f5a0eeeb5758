"""A real server with its page, and records that stock handlers write to it."""

from __future__ import annotations

import logging
import logging.handlers
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from conditions import wait_for
from servers import FASTLOG, Server

from fastlog.drill.ports import ReservedPort

NOW = time.time()


class PageSite:
    """A server and a `fastlog web` over its store.

    Args:
        options: Of the server.
    """

    def __init__(self, home: Path, *, web_config: str = "", **options: Any) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.server = Server(home, **options).fixed()
        self._port = ReservedPort()
        self.url = f"http://127.0.0.1:{self._port.number}"
        self._web_config = web_config
        self.sent = 0
        self._web: subprocess.Popen[str] | None = None
        self._handler: logging.handlers.SocketHandler | None = None

    def __enter__(self) -> PageSite:
        self.server.start()
        self._handler = logging.handlers.SocketHandler("127.0.0.1", self.server.port)
        self.start_web()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_web()
        if self._handler is not None:
            self._handler.close()
        self.server.__exit__()
        self._port.close()

    def start_web(self) -> None:
        """Serve the page, always on the same address."""
        command: list[str | Path] = [FASTLOG, "web", "--url", self.url]
        if self._web_config:
            path = self.server.home / "web.toml"
            path.write_text(self._web_config)
            command += ["--config", path]
        with self.server.log.open("a") as log:
            self._web = subprocess.Popen(
                [*command, "--data-dir", self.server.data],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.server.home,
            )
        assert self._web.stdout is not None
        line = self._web.stdout.readline()
        assert " serving " in line, self.server.messages()

    def stop_web(self) -> None:
        if self._web is not None:
            self._web.send_signal(signal.SIGTERM)
            self._web.wait(60)
            assert self._web.stdout is not None
            self._web.stdout.close()
            self._web = None

    @property
    def web_pid(self) -> int:
        assert self._web is not None
        return self._web.pid

    def write(self, records: Iterable[logging.LogRecord], *, wait: bool = True) -> None:
        """Send records with the stock handler, and wait until they are stored."""
        assert self._handler is not None
        for record in records:
            self._handler.handle(record)
            self.sent += 1
        if wait:
            wait_for(lambda: self.server.stored() >= self.sent, "the records are stored", 60)

    def log(self, *messages: str, **fields: Any) -> None:
        """Write records that differ only in their messages."""
        self.write(make_record(message, **fields) for message in messages)


class Room:
    """A logger of a site, for a test that shares the site with others.

    Args:
        name: The logger.
    """

    numbers = count()

    def __init__(self, site: PageSite, name: str) -> None:
        self.site, self.name = site, name
        self.query = f"logger:{name}"
        """What its records have in common."""

    @property
    def url(self) -> str:
        return self.site.url

    def view(self, query: str = "", **view: object) -> str:
        """Return the address of a view of its records."""
        return "/?" + urlencode({"q": f"{self.query} {query}".strip(), **view})

    def write(self, records: Iterable[logging.LogRecord]) -> None:
        """Send records with the stock handler, and wait until they are stored."""
        self.site.write(self._named(records))

    def log(self, *messages: str, **fields: Any) -> None:
        """Write records that differ only in their messages."""
        self.write(make_record(message, **fields) for message in messages)

    def _named(self, records: Iterable[logging.LogRecord]) -> Iterator[logging.LogRecord]:
        for record in records:
            record.name = self.name
            yield record


def make_record(message: str, **fields: Any) -> logging.LogRecord:
    """Make a record of an application. Fields without a place in a record become extras."""
    level = fields.pop("level", logging.INFO)
    name = fields.pop("name", "app")
    extra = fields.pop("extra", {})
    raised = fields.pop("raised", None)
    record = logging.LogRecord(
        name, level, "/srv/shop/orders/views.py", 42, message, None, raised, "handle"
    )
    vars(record).update(extra)
    vars(record).update(fields)
    return record


def raised(error: Exception) -> Any:
    """Return what `sys.exc_info` says while an error is handled."""
    try:
        _query(error)
    except type(error):
        return sys.exc_info()
    raise AssertionError


def _query(error: Exception) -> None:
    raise error


TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/shop/orders/views.py", line 88, in submit
    order = pool.fetch(number, timeout=5)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/db/pool.py", line 141, in fetch
    return self._connection(timeout).execute(QUERY, number)
           ^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/db/pool.py", line 97, in _connection
    raise TimeoutError(f"after {timeout} s: {self.name}")
TimeoutError: after 5 s: postgres at 10.0.0.9"""


def demonstration(now: float, total: int = 3000) -> Iterable[logging.LogRecord]:
    """Yield the records of a small shop over three hours, the oldest first."""
    for number in range(total):
        created = now - 10_800 * (1 - (number / total) ** 0.8)
        yield _of_shop(number, created)


def _of_shop(number: int, created: float) -> logging.LogRecord:
    trace = f"{number // 4 * 7919 % 0xFFFFFF:06x}"
    common = {"created": created, "process": 4101 + number % 3, "processName": "gunicorn"}
    beat = (number + 186) % 211  # the newest records have some of all kinds
    user = {"user": 70 + number % 9, "trace_id": trace}
    if beat == 17:
        return make_record(
            f"query failed for order {number}", level=logging.ERROR, name="shop.db.pool",
            exc_text=TRACEBACK, extra={**user, "db": {"host": "10.0.0.9", "pool": [3, 8]}},
            **common,
        )  # fmt: skip
    if beat in (4, 5, 6, 7, 8):
        return make_record(
            f"connection to postgres refused, attempt {beat - 3}", level=logging.WARNING,
            name="shop.db.pool", **common,
        )  # fmt: skip
    if number % 1409 == 300:
        return make_record(
            "disk is full: /srv/data", level=logging.CRITICAL, name="shop.storage", **common
        )
    if number % 37 == 5:
        return make_record(
            f"slow query: {number % 50 / 10 + 1:.1f} s", level=logging.WARNING,
            name="shop.db.pool", extra={**user, "seconds": number % 50 / 10 + 1}, **common,
        )  # fmt: skip
    if number % 5 == 0:
        return make_record(
            f"cache miss for product:{number % 400}", level=logging.DEBUG, name="shop.cache",
            extra=user, **common,
        )  # fmt: skip
    path = ("/cart", "/checkout", "/product/1234", "/login", "/")[number % 5]
    return make_record(
        f"GET {path} 200 in {number * 31 % 190 + 3} ms",
        name=("shop.web.shop", "shop.web.api")[number % 2],
        extra={**user, "status": 200}, **common,
    )  # fmt: skip
