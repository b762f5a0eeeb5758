"""Web servers for tests: a real `fastlog web` over day files, and requests to it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from day_files import START_NAME, make_record, write_day
from servers import FASTLOG, Server

from fastlog.drill.ports import ReservedPort
from fastlog.drill.processes import dying_with_parent
from fastlog.record import Record

ANY_PORT = "http://127.0.0.1:0"
SECONDS = 60.0
"""A deadline of requests: a loaded machine is not a failure."""


class Answer(NamedTuple):
    """What the server has answered."""

    status: int
    headers: dict[str, str]
    """Their names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Event(NamedTuple):
    """A server-sent event."""

    kind: str
    data: Any
    id: str | None


class Events:
    """The events of a tail, as a browser reads them."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._answer = urlopen(Request(url, headers=headers), timeout=SECONDS)
        assert self._answer.headers["content-type"].startswith("text/event-stream")

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()

    def __iter__(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self._answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
                fields = {}

    def next_line(self) -> str:
        """Return the next line of the stream, without its end."""
        return str(self._answer.readline().decode().rstrip("\n"))

    def messages(self, count: int) -> list[str]:
        """Return the messages of new records, once there are as many, or they were dropped."""
        found: list[str] = []
        dropped = 0
        for event in self:
            if event.kind == "records":
                found += [record["message"] for record in event.data]
            elif event.kind == "dropped":
                dropped += event.data["dropped"]
            if len(found) + dropped >= count:
                break
        return found


class Site:
    """A web server that runs."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def ask(self, path: str, headers: dict[str, str] | None = None, **parameters: object) -> Answer:
        """Send a GET below `/api/v1`."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self.request(f"/api/v1{path}{query}", headers=headers)

    def get(self, path: str, **parameters: object) -> Any:
        """Return the JSON of an answer, which must be a success."""
        answer = self.ask(path, **parameters)
        assert answer.status == 200, answer.body
        return answer.json

    def post(self, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """Send a POST below `/api/v1`, as the page does."""
        own = {"X-Fastlog": "1", **(headers or {})}
        return self.request(f"/api/v1{path}", body, own)

    def tail(self, headers: dict[str, str] | None = None, **parameters: object) -> Events:
        """Open a tail. It gets what arrives from now on."""
        return Events(f"{self.url}/api/v1/tail?{urlencode(parameters)}", headers or {})

    def request(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        request = Request(self.url + path, body, headers or {})
        try:
            with urlopen(request, timeout=SECONDS) as answer:
                return _answer(answer)
        except HTTPError as error:
            with error:
                return _answer(error)


def connect(site: Site, path: str, parameters: dict[str, str]) -> socket.socket:
    """Send a request, and leave the answer unread."""
    host, port = urlsplit(site.url).netloc.split(":")
    client = socket.create_connection((host, int(port)), timeout=30)
    head = f"GET /api/v1{path}?{urlencode(parameters)} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    client.sendall(head.encode())
    return client


def site_of(server: Server) -> Site:
    """Return the site that a server with `web` serves, as its ready line says."""
    found = re.search(r"; page at (http://\S+)$", server.ready_line.strip())
    assert found, server.ready_line
    return Site(found[1])


def _answer(answer: Any) -> Answer:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(answer.status, headers, answer.read())


@contextmanager
def reserved_url() -> Iterator[str]:
    """Yield the URL of a port that no other program gets, for a site that starts again or later."""
    with ReservedPort() as port:
        yield f"http://127.0.0.1:{port.number}"


@contextmanager
def serving(
    data_dir: Path, *, config: str = "", url: str = ANY_PORT, store: str | None = None
) -> Iterator[Site]:
    """Run `fastlog web` for a data directory, over its day files or another store."""
    command: list[str | Path] = [FASTLOG, "web", "--data-dir", data_dir, "--url", url]
    if store is not None:
        command += ["--store", store]
    if config:
        path = data_dir / "web.toml"
        path.write_text(config)
        command += ["--config", path]
    with (data_dir / "web.log").open("w") as log:
        process = subprocess.Popen(
            dying_with_parent(command),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, (data_dir / "web.log").read_text()
        yield Site(found[0])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            print((data_dir / "web.log").read_text())  # pytest prints it if the test has failed
    assert status == 0


def make_store(data_dir: Path, records: Iterable[Record], *, per_block: int = 1) -> Path:
    """Write a data directory with a day file, and return it.

    Args:
        per_block: as in `numbered`.
    """
    (data_dir / "positions").mkdir(parents=True, exist_ok=True)
    (data_dir / "lock").touch()
    write_day(data_dir / "logs" / START_NAME, records, per_block=per_block)
    return data_dir


def numbered(count: int, *, per_block: int = 1, **fields: Any) -> Iterator[Record]:
    """Yield records, each a second after the one before, of four levels and three loggers.

    Args:
        per_block: Records of a block. Many records take much less time in larger blocks.
    """
    levels = ((20, "INFO"), (20, "INFO"), (30, "WARNING"), (40, "ERROR"))
    for at in range(count):
        levelno, levelname = levels[at % 4]
        own: dict[str, Any] = {
            "offset": at - at % per_block,
            "idx": at % per_block,
            "levelno": levelno,
            "levelname": levelname,
            "name": ("app", "app.db", "web")[at % 3],
            "process": 1 + at % 2,
            "extra": json.dumps({"user": at % 5, "request": {"id": f"r{at // 10}"}}),
        }
        yield make_record(at, **(own | fields))
