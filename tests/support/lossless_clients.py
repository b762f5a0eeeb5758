"""The fastlog handler in this process, and what a server has stored and declared of its records."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastlog_client
import pytest
from conditions import wait_for
from faults import numbers
from servers import Server

FAST = '[clients]\nkeepalive = "1 s"\n'
"""A client closes a silent connection after three seconds."""
PATIENT = '[clients]\nkeepalive = "10 s"\n'
"""A client closes it after thirty, so that a machine that stalls makes none connect again."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that clients find again after a restart, and leave soon when it is silent."""
    with Server(tmp_path, config=FAST).fixed() as server:
        yield server


@pytest.fixture
def patient_server(tmp_path: Path) -> Iterator[Server]:
    """A server for tests in which no client may connect again."""
    with Server(tmp_path, config=PATIENT).fixed() as server:
        yield server


class Client:
    """The fastlog handler in this process, with numbered records."""

    def __init__(self, port: int, name: str = "a", host: str = "127.0.0.1", **options: Any) -> None:
        self.name, self.sent = name, 0
        self.errors: list[str] = []
        options.setdefault("close_timeout", 60.0)
        self.handler = fastlog_client.SocketHandler(
            host, port, on_error=lambda text, _: self.errors.append(text), **options
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.handler._outbox.finish()  # what the end of its process does

    def log(self, count: int = 1, size: int = 10) -> None:
        for _ in range(count):
            self.sent += 1
            made = logging.LogRecord("app", logging.INFO, "a.py", 1, "x" * size, None, None)
            made.__dict__.update(client=self.name, number=self.sent)
            self.handler.emit(made)

    def flush(self) -> None:
        assert self.handler.flush(60.0), (self.handler.stats(), self.errors)

    @property
    def stats(self) -> dict[str, Any]:
        return dict(self.handler.stats())


def declared(server: Server, behind: int = 0) -> list[range]:
    """Return the gaps in the ledger, without the first `behind`."""
    rows = server.losses()[behind:]
    matches = [re.fullmatch(r".*records (\d+) to (\d+)", row["detail"]) for row in rows]
    return [range(int(found[1]), int(found[2]) + 1) for found in matches if found]


def assert_exact(server: Server, client: str, sent: int) -> None:
    """Check that all records of a client without gaps are stored once and in order."""
    wait_for(lambda: len(numbers(server.records()).get(client, [])) >= sent, "all is stored", 60)
    assert numbers(server.records())[client] == list(range(1, sent + 1))
    assert server.losses() == []
    assert server.rejected() == []
