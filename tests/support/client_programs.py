"""Programs of other interpreters that log numbers with `fastlog_client`."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from interpreters import environment, interpreters
from places import CLIENT, SUPPORT
from protocol_server import FakeServer

SCRIPT = SUPPORT / "clients" / "emit_numbers.py"
VERSIONS = ("2.7", "3.6", "3.8", "3.11", "3.12", "3.13")
versions = pytest.mark.parametrize("version", VERSIONS)


def start(version: str, way: str, server: FakeServer, count: int, *spool: Path) -> subprocess.Popen:
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    address = [str(part) for part in server.address]
    return subprocess.Popen(
        # -W: from 3.12 on, a fork in a program with threads is warned of.
        [
            interpreters()[version],
            "-W",
            "ignore",
            SCRIPT,
            CLIENT,
            way,
            *address,
            str(count),
            *spool,
        ],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(version: str, way: str, server: FakeServer, count: int, *spool: Path) -> None:
    process = start(version, way, server, count, *spool)
    try:
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, without_delays(errors)) == (0, [])


_DELAYS = re.compile(
    r"fastlog_client: \S+: (cannot connect|no connection within|no welcome within"
    r"|nothing received from the server|the connection was lost)"
)


def without_delays(errors: str) -> list[str]:
    """Return the lines, without the client's reports of connections that are slow or end.

    That happens on a loaded machine, and the client continues.
    """
    return [line for line in errors.splitlines() if not _DELAYS.match(line)]


def numbers_by_name(server: FakeServer) -> dict[str, list[int]]:
    """Return the numbers that arrived, in order, by the name of the thread or process."""
    found = defaultdict(list)
    for _, _, attributes in server.table.records:
        found[attributes["sender"]].append(attributes["number"])
    return dict(found)


def assert_exact(server: FakeServer, count: int, *names: str) -> None:
    assert server.table.gaps == []
    assert numbers_by_name(server) == {name: list(range(count)) for name in ("main", *names)}
