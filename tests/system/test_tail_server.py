"""`fastlog tail -f` of a real server: restarts, midnight, and a day file that is set aside."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from clocks import COMPILER, WrongClock
from conditions import wait_for, wait_past_midnight
from faults import replace_database
from senders import stock_frame
from servers import FASTLOG, Server, restarted

DAY = 86_400


class Tail:
    """A `fastlog tail -f` whose output goes to a file."""

    def __init__(self, server: Server) -> None:
        self._path = server.home / "tail.out"
        words = ["-f", "-n", "1000", "--fields", "message", "--data-dir", server.data]
        with self._path.open("wb") as output:
            self._process = subprocess.Popen(
                [FASTLOG, "tail", *words],
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for(self, *expected: str) -> None:
        """Wait until exactly these messages were printed."""
        wait_for(lambda: len(self.lines()) >= len(expected))
        assert self.lines() == list(expected)

    def lines(self) -> list[str]:
        return self._path.read_text().splitlines()


def send(server: Server, message: str) -> None:
    with server.connect(stock_frame(message)):
        pass


@pytest.mark.parametrize("how", ["stop", "everything"])
def test_tail_follows_across_restarts(tmp_path: Path, how: str) -> None:
    with Server(tmp_path) as server, Tail(server) as tail:
        send(server, "one")
        tail.wait_for("one")
        restarted(server, how)
        send(server, "two")
        tail.wait_for("one", "two")


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler for a clock that can be set")
def test_tail_follows_across_midnight(tmp_path: Path) -> None:
    until_midnight = DAY - time.time() % DAY
    clock = WrongClock(tmp_path, until_midnight - 600)
    with Server(tmp_path, env=clock.env) as server, Tail(server) as tail:
        send(server, "before")
        tail.wait_for("before")
        clock.advance(1200)
        send(server, "after")
        tail.wait_for("before", "after")
        assert len(list(server.logs.glob("*.db"))) == 2


def test_tail_prints_nothing_twice_when_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """The journal still has all records, and the sink stores them again."""
    wait_past_midnight()
    with Server(tmp_path) as server, Tail(server) as tail:
        messages = [f"record {number}" for number in range(50)]
        with server.connect(b"".join(map(stock_frame, messages))):
            pass
        tail.wait_for(*messages)
        assert server.stop() == 0
        [current] = server.logs.glob("*.db")
        replace_database(current, b"x" * current.stat().st_size)
        server.start()
        send(server, "the next")
        wait_for(lambda: "the next" in tail.lines())
        printed = [line for line in tail.lines() if "file is not a database" not in line]
        assert printed == [*messages, "the next"]
        assert current.with_name(f"{current.name}.damaged").exists()
