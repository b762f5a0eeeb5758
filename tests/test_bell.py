"""The bell: a worker hears of more at once, and nobody is hurt by one that does not ring."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sending import stock_frame
from test_reload import Installed

from fastlog.journal import Bell, Bells

NAP = "NAP = 0.1\n"
LONG = "NAP = 600.0\n"


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Bell]:
    with closing(Bell(tmp_path, "sqlite")) as bell:
        yield bell


def rings(bell: Bell) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def test_it_rings_until_it_is_quieted(bell: Bell, tmp_path: Path) -> None:
    assert not rings(bell)
    bells = Bells(tmp_path, ["sqlite"])
    bells.ring()
    bells.ring()
    assert rings(bell)
    bell.quiet()
    assert not rings(bell)
    bell.quiet()
    bells.ring()
    assert rings(bell)


def test_nobody_waits_for_a_worker_that_does_not_listen(bell: Bell, tmp_path: Path) -> None:
    bells = Bells(tmp_path, ["sqlite", "has not started"])
    for _ in range(100_000):  # more than a pipe holds
        bells.ring()
    assert rings(bell)
    bell.quiet()
    assert not rings(bell)


def test_it_rings_for_the_next_worker_too(tmp_path: Path) -> None:
    bells = Bells(tmp_path, ["sqlite"])
    for _ in range(2):
        with closing(Bell(tmp_path, "sqlite")) as bell:
            bells.ring()
            assert rings(bell)
        bells.ring()  # nobody is there


def test_what_is_no_pipe_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "positions" / "sqlite.bell"
    path.parent.mkdir()
    path.write_text("a file of somebody's")
    with pytest.raises(OSError, match="is not a pipe"):
        Bell(tmp_path, "sqlite")
    Bells(tmp_path, ["sqlite"]).ring()
    assert path.read_text() == "a file of somebody's"


def test_a_worker_that_sleeps_is_woken(tmp_path: Path) -> None:
    server = Installed(tmp_path)
    server.edit("worker/worker.py", NAP, LONG)
    with server:
        client = server.connect()
        for number in range(1, 4):
            client.sendall(stock_frame(f"number {number}"))
            server.wait_stored(number)


def test_without_a_bell_it_looks_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "data" / "positions" / "sqlite.bell"
    path.parent.mkdir(parents=True)
    path.mkdir()
    with Installed(tmp_path) as server:
        assert server.data == tmp_path / "data"
        server.connect(stock_frame("heard")).close()
        server.wait_stored(1)
    assert not list(path.iterdir())
