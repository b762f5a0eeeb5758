"""Records of the unchanged SocketHandler of every CPython on this machine are stored as logged."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from conditions import wait_for
from interpreters import VERSIONS, environment, interpreters
from places import SUPPORT
from servers import Server
from shapes import accepts

SCRIPT = SUPPORT / "clients" / "log_everything.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("stock")
    with Server(home, listen=["tcp://127.0.0.1:0", f"unix://{home}/socket"]) as server:
        yield server


def log_everything(version: str, *address: str) -> list[dict[str, Any]]:
    out = subprocess.run(
        [interpreters()[version], SCRIPT, *address],
        env=environment(PYTHONIOENCODING="utf-8"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    return [json.loads(line) for line in out.stdout.splitlines()]


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("version", VERSIONS)
def test_records_of_a_stock_handler_are_stored_as_logged(
    server: Server, version: str, transport: str
) -> None:
    if version not in interpreters():
        if version == "2.7" and os.environ.get("CI"):
            pytest.fail("CI requires Python 2.7")
        pytest.skip(f"there is no Python {version} on this machine")
    if version == "2.7" and transport == "unix":
        pytest.skip("the SocketHandler of Python 2.7 has no Unix sockets")
    address = ["127.0.0.1", str(server.port)] if transport == "tcp" else [f"{server.home}/socket"]
    logged = log_everything(version, transport, *address)
    assert len(logged) > 80
    process = logged[0]["process"]

    def stored() -> list[dict[str, Any]]:
        return [row for row in server.records() if row["process"] == process]

    found = wait_for(lambda: len(rows := stored()) >= len(logged) and rows)
    assert len(found) == len(logged)
    assert {row["host"] for row in found} == {"127.0.0.1" if transport == "tcp" else "unix"}
    for sent, row in zip(logged, found, strict=True):
        shape = sent.pop("shape")
        assert sent == {name: row[name] for name in sent}
        # The classes of the shapes are in make_pickles here; in __main__ when that is the script.
        extra = json.loads(row["extra"].replace('"make_pickles.', '"__main__.'))
        if shape is None:
            assert extra == {}
        else:
            assert (extra["shape"], set(extra)) == (shape, {"shape", "x"})
            assert accepts(shape, extra["x"]), (shape, extra["x"])


def test_no_frame_of_a_stock_handler_was_rejected(server: Server) -> None:
    assert server.rejected() == []
    assert server.losses() == []
