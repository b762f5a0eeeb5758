"""Our handler, attached before a framework that configures logging: every record is stored.

What must be stored is what a witness saw, which is attached beside it in the same process. The
frameworks are real, and so is the server.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import logging.handlers
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conditions import wait_for
from interpreters import environment
from places import SUPPORT
from servers import Server

SCRIPTS = SUPPORT / "frameworks"
LEAST = {"uvicorn": 34, "alembic": 32, "scrapy": 150, "django": 42, "pytest": 24, "logging": 401}
"""Least count of the records that a script logs: those of the framework may change."""

Line = tuple[str, int, str]

modes = pytest.mark.parametrize("mode", ["memory", "spool"])


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """A server for a handler in each mode."""
    with (
        Server(tmp_path_factory.mktemp("memory")) as memory,
        Server(tmp_path_factory.mktemp("spool")) as spool,
    ):
        yield {"memory": memory, "spool": spool}


@contextmanager
def started(name: str, servers: dict[str, Server], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a script with a handler for each server, in the mode that is its name."""
    spools = {"memory": "", "spool": folder / "spool"}
    places = [f"{server.port}:{spools[mode]}" for mode, server in servers.items()]
    with subprocess.Popen(
        [sys.executable, SCRIPTS / f"use_{name}.py", *places, folder / "witness"],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output


def witnessed(folder: Path) -> list[Line]:
    return [tuple(json.loads(line)) for line in (folder / "witness").read_text().splitlines()]


def stored(server: Server, process: int) -> list[Line]:
    """The records of this process, after all that was sent before this call is stored."""
    marker = f"after {process}"
    handler = logging.handlers.SocketHandler("127.0.0.1", server.port)
    handler.emit(logging.LogRecord("marker", logging.INFO, "", 0, marker, None, None))
    handler.close()
    wait_for(lambda: any(row["message"] == marker for row in server.records()), "the marker")
    rows = [row for row in server.records() if row["name"] != "marker"]
    return [(r["name"], r["levelno"], r["message"]) for r in rows if r["process"] == process]


def check(server: Server, process: int, folder: Path, least: int) -> None:
    expected = Counter(witnessed(folder))
    assert expected.total() >= least
    actual = Counter(stored(server, process))
    assert (expected - actual, actual - expected) == (Counter(), Counter())
    assert server.losses() == []


@pytest.mark.parametrize("name", LEAST)
def test_records_are_stored_after_a_framework_has_configured_logging(
    name: str, servers: dict[str, Server], tmp_path: Path
) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    with started(name, servers, tmp_path) as process:
        end(process)
    for server in servers.values():
        check(server, process.pid, tmp_path, LEAST[name])


@modes
def test_dictconfig_without_a_server_does_not_wait_and_loses_nothing(
    mode: str, tmp_path: Path
) -> None:
    with Server(tmp_path).fixed() as server:
        assert server.stop() == 0
        with started("logging_while_away", {mode: server}, tmp_path) as process:
            assert process.stdout is not None
            answer = next(line for line in process.stdout if "fastlog_client" not in line)
            assert float(answer) < 3.0  # a loaded machine takes part of that
            server.start()
            end(process)
        check(server, process.pid, tmp_path, 1002)
