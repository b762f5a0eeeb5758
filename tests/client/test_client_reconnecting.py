"""ReconnectingSocketHandler: the first record after a restart of the receiver arrives."""

from __future__ import annotations

from places import CLIENT, SUPPORT
import pickle
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from interpreters import environment, interpreters
from servers import Server
from conditions import wait_for

SCRIPT = SUPPORT / "clients" / "keep_reconnecting.py"

versions = pytest.mark.parametrize("version", ("2.7", "3.6", "3.11", "3.13"))


class Listener:
    """A receiver like the one that people copy: a thread a connection, and `pickle.loads`."""

    def __init__(self, path: str | None = None) -> None:
        self.records: list[dict[str, Any]] = []
        self._path, self._port = path, 0
        self._connections: set[socket.socket] = set()
        self.start()

    @property
    def address(self) -> tuple[str, ...]:
        return (self._path,) if self._path else ("127.0.0.1", str(self._port))

    def start(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX if self._path else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(self._path or ("127.0.0.1", self._port))
        self._socket.listen()
        if not self._path:
            self._port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._socket], daemon=True).start()

    def stop(self, resets: bool = False) -> None:
        """As if its process were killed; or with a reset, as if it had not read everything."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in list(self._connections):
            if resets:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD if resets else socket.SHUT_RDWR)
        wait_for(lambda: not self._connections, "all connections are closed")
        if self._path:
            Path(self._path).unlink()

    def messages(self) -> list[str]:
        return [record["msg"] for record in self.records]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as stream:
            while len(head := stream.read(4)) == 4:
                (length,) = struct.unpack(">L", head)
                data = stream.read(length)
                if len(data) == length:
                    self.records.append(pickle.loads(data))
        connection.close()
        self._connections.discard(connection)


class Client:
    """keep_reconnecting.py in an interpreter."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def log(self, message: str) -> bool:
        """Logs it; returns whether it did not fail."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(message + "\n")
        self._process.stdin.flush()
        answers = [self._process.stdout.readline()]
        while answers[-1] != "done\n":
            assert answers[-1] == "failed\n", self._process.communicate()[1]
            answers.append(self._process.stdout.readline())
        return len(answers) == 1


@contextmanager
def client_of(version: str, *address: str) -> Iterator[Client]:
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    process = subprocess.Popen(
        [interpreters()[version], SCRIPT, CLIENT, *address],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Client(process)
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")


@versions
@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_after_each_of_twenty_restarts_the_first_record_arrives(
    version: str, transport: str, tmp_path: Path
):
    listener = Listener(str(tmp_path / "socket") if transport == "unix" else None)
    expected = []
    with client_of(version, *listener.address) as client:
        for turn in range(20):
            for message in (f"first {turn}", f"second {turn}"):
                expected.append(message)
                assert client.log(message)
            wait_for(lambda: len(listener.records) == len(expected))
            listener.stop(resets=turn % 2 == 1)
            listener.start()
    assert listener.messages() == expected
    listener.stop()


@versions
def test_a_record_that_finds_nobody_reaches_handle_error_and_the_next_is_tried(version: str):
    listener = Listener()
    with client_of(version, *listener.address) as client:
        assert client.log("before")
        wait_for(lambda: listener.records)
        listener.stop()
        assert not client.log("lost")
        assert not client.log("lost too")
        listener.start()
        assert client.log("after")  # at once: there is no back-off
        wait_for(lambda: listener.messages() == ["before", "after"])
    listener.stop()


@versions
def test_the_record_is_intact_for_the_handler_that_follows(version: str):
    listener = Listener()
    with client_of(version, *listener.address) as client:
        assert client.log("traceback")  # the client script looks
        assert client.log("lock")
        wait_for(lambda: len(listener.records) == 2)
        assert "ZeroDivisionError" in listener.records[0]["exc_text"]
        assert listener.records[0]["exc_info"] is None
        assert "keep_reconnecting.py" in listener.records[1]["lock"]  # as text
    listener.stop()


@versions
def test_after_each_cold_restart_of_the_server_the_first_record_arrives(
    version: str, tmp_path: Path
):
    server = Server(tmp_path).start().fixed()
    expected = []
    try:
        with client_of(version, "127.0.0.1", str(server.port)) as client:
            for turn in range(3):
                expected.append(f"first {turn}")
                assert client.log(expected[-1])
                server.wait_stored(len(expected))
                server.kill()
                server.start()
        assert [row["message"] for row in server.records()] == expected
    finally:
        server.kill()
