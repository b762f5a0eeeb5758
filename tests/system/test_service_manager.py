"""The protocols of systemd: readiness, reload, watchdog, and sockets that it has opened."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conditions import wait_for
from faults import stopped
from senders import stock_frame
from servers import SERVER, Server

PASS = (
    "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid());"
    " os.execv(sys.argv[1], sys.argv[1:])"
)
"""Runs a server in place of this process, so that the passed sockets are for its pid."""


class Manager:
    """What a service manager hears."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(30)

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next(self) -> dict[str, str]:
        """Return the next message but signs of life, which come at any time."""
        while (message := self._receive()) == {"WATCHDOG": "1"}:
            pass
        return message

    def signs_of_life(self, seconds: float) -> int:
        """Count the signs of life that come within some seconds."""
        end, number = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                number += self._receive() == {"WATCHDOG": "1"}
            except TimeoutError:
                break
        self._socket.settimeout(30)
        return number

    def _receive(self) -> dict[str, str]:
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)


def test_readiness_reload_and_end_are_notified(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with Manager(path) as manager, Server(tmp_path, env={"NOTIFY_SOCKET": str(path)}) as server:
        assert server.process is not None
        ready = manager.next()
        assert ready == {"READY": "1", "STATUS": server.ready_line.strip()}
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        os.kill(server.process.pid, signal.SIGHUP)
        reloading = manager.next()
        assert reloading.pop("MONOTONIC_USEC") >= str(before)
        assert reloading == {"RELOADING": "1", "STATUS": "reloading"}
        assert manager.next() == ready
        assert server.stop() == 0
        assert manager.next()["STOPPING"] == "1"


def test_a_reload_that_fails_ends_too(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    config = "[log]\n"
    env = {"NOTIFY_SOCKET": str(path)}
    with Manager(path) as manager, Server(tmp_path, config=config, env=env) as server:
        assert server.process is not None
        ready = manager.next()
        (tmp_path / "fastlog.toml").write_text("[nothing]\n")
        os.kill(server.process.pid, signal.SIGHUP)
        assert manager.next()["RELOADING"] == "1"
        assert manager.next() == ready
        assert "the old server continues" in server.messages()


def test_the_watchdog_hears_nothing_while_the_receiver_hangs(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
    with Manager(path) as manager, Server(tmp_path, env=env) as server:
        manager.next()
        wait_for(lambda: manager.signs_of_life(0.3) > 0, "signs of life")
        with stopped(server.children()["receiver"]):
            wait_for(lambda: manager.signs_of_life(1) == 0, "no sign of life", 60)
        wait_for(lambda: manager.signs_of_life(0.3) > 0, "the receiver works again")


@contextmanager
def listening(family: int, address: object) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(64)
        yield listener


def start(home: Path, passed: list[socket.socket], *options: str) -> subprocess.Popen[str]:
    """Start a server with sockets at the descriptors from 3 on, as systemd does."""
    fds = [one.fileno() for one in passed]
    moves = " ".join(f"{3 + at}<&{fd}" for at, fd in enumerate(fds))
    command = [sys.executable, "-c", PASS, str(SERVER), "--data-dir", str(home / "data"), *options]
    return subprocess.Popen(
        ["bash", "-c", f'exec "$@" {moves}', "bash", *command],
        env={**os.environ, "LISTEN_FDS": str(len(fds))},
        pass_fds=fds,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_passed_sockets_are_used_for_their_addresses(tmp_path: Path) -> None:
    path = tmp_path / "passed.sock"
    with ExitStack() as stack:
        tcp = stack.enter_context(listening(socket.AF_INET, ("127.0.0.1", 0)))
        unix = stack.enter_context(listening(socket.AF_UNIX, str(path)))
        port = tcp.getsockname()[1]
        urls = [f"tcp://127.0.0.1:{port}", f"unix://{path}"]
        # A connection of before the start waits in the socket.
        early = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        early.sendall(stock_frame("early"))
        process = start(tmp_path, [unix, tcp], "--listen", urls[0], "--listen", urls[1])
        assert process.stdout is not None
        assert f"listening on {urls[0]} {urls[1]}" in process.stdout.readline()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(stock_frame("by file"))
        early.close()
        process.terminate()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert path.exists(), "the file belongs to the service manager"
    server = Server(tmp_path)
    assert {row["message"] for row in server.records()} == {"early", "by file"}


@pytest.mark.parametrize("kind", ["another address", "no listener"])
def test_a_wrong_socket_is_one_line(tmp_path: Path, kind: str) -> None:
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as other, socket.socket() as plain:
        passed = other if kind == "another address" else plain
        process = start(tmp_path, [passed], "--listen", f"unix://{tmp_path}/own.sock")
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    [line] = errors.splitlines()
    if kind == "another address":
        assert "which the configuration does not listen on; add it to `listen`" in line
    else:
        assert "descriptor 3, which is no listening stream socket" in line
