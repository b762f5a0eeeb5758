"""ReconnectingSocketHandler: the first record after a restart of the receiver arrives."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conditions import wait_for
from interpreters import environment, interpreters
from listeners import Listener
from places import CLIENT, SUPPORT
from servers import Server

SCRIPT = SUPPORT / "clients" / "keep_reconnecting.py"

VERSIONS = ("2.7", "3.6", "3.11", "3.13")
versions = pytest.mark.parametrize("version", VERSIONS)


class Client:
    """A process of keep_reconnecting.py."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def log(self, message: str) -> bool:
        """Log a message. Returns whether no error was reported."""
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
        for step in range(20):
            for message in (f"first {step}", f"second {step}"):
                expected.append(message)
                assert client.log(message)
            wait_for(lambda: len(listener.records) == len(expected))
            listener.stop(resets=step % 2 == 1)
            listener.start()
    assert listener.messages() == expected
    listener.close()


@versions
def test_a_record_without_a_receiver_reaches_handle_error_and_the_next_is_tried(version: str):
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
    listener.close()


@versions
def test_the_record_is_unchanged_for_the_handler_that_follows(version: str):
    listener = Listener()
    with client_of(version, *listener.address) as client:
        assert client.log("traceback")  # the client script looks
        assert client.log("lock")
        wait_for(lambda: len(listener.records) == 2)
        assert "ZeroDivisionError" in listener.records[0]["exc_text"]
        assert listener.records[0]["exc_info"] is None
        assert "keep_reconnecting.py" in listener.records[1]["lock"]  # as text
    listener.close()


def test_after_each_cold_restart_of_the_server_the_first_record_arrives(tmp_path: Path):
    expected = []
    with Server(tmp_path).fixed() as server:
        with ExitStack() as stack:
            clients = {
                version: stack.enter_context(client_of(version, "127.0.0.1", str(server.port)))
                for version in VERSIONS
                if version in interpreters()
            }
            assert clients
            for step in range(3):
                if step:
                    server.kill()
                    server.start()
                for version, client in clients.items():
                    expected.append(f"first {step} of {version}")
                    assert client.log(expected[-1])
                server.wait_stored(len(expected))
        assert sorted(row["message"] for row in server.records()) == sorted(expected)
