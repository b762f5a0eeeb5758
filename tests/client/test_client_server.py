"""The client and the real server: each number is stored or declared, once, in order."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
from client_programs import SCRIPT, VERSIONS
from conditions import wait_for
from cutting_proxy import Proxy
from interpreters import environment, interpreters
from places import CLIENT
from server_clients import disturb, emit, handler_of, stored
from servers import Server

SOAK = pytest.mark.soak


@pytest.mark.parametrize("version", VERSIONS)
def test_what_each_python_logs_is_stored(version: str, tmp_path: Path):
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    with Server(tmp_path) as server:
        program = [interpreters()[version], "-B", SCRIPT, CLIENT]
        out = subprocess.run(
            [*program, "ends", "127.0.0.1", str(server.port), "2000"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert out.stderr == ""
        server.wait_stored(2000)
        assert stored(server) == list(range(2000))
        row = server.records()[7]
        assert (row["name"], row["message"], row["levelname"]) == ("numbers", "number 7", "INFO")
        assert row["funcName"] == "emit"
        assert server.rejected() == server.losses() == []


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=SOAK)])
def test_a_server_that_is_killed_in_the_middle_of_batches_loses_nothing(times: int, tmp_path: Path):
    with Server(tmp_path).fixed() as server:

        def restart() -> None:
            server.kill()
            server.start()

        disturb(server, server.port, times, restart)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=SOAK)])
def test_a_server_that_is_stopped_and_started_loses_nothing(times: int, tmp_path: Path):
    with Server(tmp_path).fixed() as server:

        def restart() -> None:
            assert server.stop() == 0
            server.start()

        disturb(server, server.port, times, restart)


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=SOAK)])
def test_connections_that_are_reset_at_any_byte_lose_nothing(step: int, tmp_path: Path):
    cuts = range(random.randrange(step) + 1, 900, step)
    print(f"first cut after {cuts[0]} bytes")  # printed if the test fails
    with (
        Server(tmp_path) as server,
        Proxy(server.port, cuts) as proxy,
        handler_of(proxy.port) as handler,
    ):
        number = 0
        while proxy.cuts_made < len(cuts):
            emit(handler, [number, number + 1])  # the first of them ends the delay
            number += 2
            made = proxy.cuts_made
            wait_for(lambda made=made: proxy.cuts_made > made or handler.flush(0))
        assert handler.flush(30)
        server.wait_stored(number)
        assert stored(server) == list(range(number))
        assert server.losses() == []


def test_records_that_are_sent_three_times_since_no_answer_comes_are_stored_once(tmp_path: Path):
    with (
        Server(tmp_path) as server,
        Proxy(server.port, [30_000] * 3, drops_answers=True) as proxy,
        handler_of(proxy.port) as handler,
    ):
        emit(handler, range(300))
        wait_for(lambda: proxy.cuts_made == 3)
        assert handler.flush(30)
        server.wait_stored(300)
        assert stored(server) == list(range(300))


def test_a_server_that_was_frozen_gets_everything(tmp_path: Path):
    with Server(tmp_path, config="[clients]\nkeepalive = '1s'\n") as server:

        def freeze() -> None:
            receiver = server.children()["receiver"]
            os.kill(receiver, signal.SIGSTOP)
            wait_for(lambda: handler_has_noticed(), "the client gives it up", 20)
            os.kill(receiver, signal.SIGCONT)

        noticed: list[str] = []

        def handler_has_noticed() -> bool:
            return any("nothing received" in text for text in noticed)

        def note(text: str, error: BaseException | None) -> None:
            noticed.append(text)

        disturb(server, server.port, 1, freeze, on_error=note)


def test_a_right_key_is_accepted_and_a_wrong_one_rejected(tmp_path: Path):
    config = (
        '[auth]\nkeys = ["web:s3cret"]\n[[listen]]\nurl = "tcp://127.0.0.1:0"\nauth = "required"'
    )
    noticed: list[str] = []

    def note(text: str, error: BaseException | None) -> None:
        noticed.append(text)

    with Server(tmp_path, config=config, listen=()) as server:
        with handler_of(server.port, key="web:s3cret") as right:
            emit(right, [1])
            assert right.flush(10)
        for key in ("web:wrong", "other:s3cret", None):
            with handler_of(server.port, key=key, on_error=note) as wrong:
                emit(wrong, [2])
                wait_for(lambda: noticed)
                assert "(code 2)" in noticed.pop()
                wrong.close_timeout = 0.1
                wrong.close()
            noticed.clear()
        server.wait_stored(1)


def test_what_a_client_dropped_is_in_the_ledger(tmp_path: Path):
    with Server(tmp_path).fixed() as server:
        server.kill()
        with handler_of(server.port, max_bytes=20_000) as handler:
            emit(handler, range(200))
            dropped = handler.stats()["dropped"]["memory full"]
            assert 100 < dropped < 200
            server.start()
            wait_for(lambda: handler.flush(0.1))
            handler._options.max_bytes = 1 << 24
            emit(handler, [200], filler="x" * 2_000_000)
            emit(handler, [201])
            assert handler.flush(30)
            wait_for(lambda: sum(row["count"] for row in server.losses()) == dropped + 1)
            server.wait_stored(201 - dropped)
            assert {row["reason"]: row["count"] for row in server.losses()} == {
                "dropped by the client: its memory was full": dropped,
                "dropped by the client: over the server's limit": 1,
            }


def test_what_a_killed_program_spooled_is_stored_once(tmp_path: Path):
    spool = tmp_path / "spool"
    with Server(tmp_path) as server:
        command = [interpreters()["3.11"], "-B", SCRIPT, CLIENT]
        address = ["127.0.0.1", str(server.port)]
        with subprocess.Popen(
            [*command, "never_ends", *address, "0", spool], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            last_printed = -1
            for line in itertools.islice(process.stdout, 2000):
                last_printed = int(line)
            process.kill()
            last_printed = max([last_printed, *map(int, process.stdout.read().split())])
        subprocess.run([*command, "ends", *address, "0", spool], check=True, timeout=60)
        assert list(spool.iterdir()) == []
        wait_for(lambda: server.stored() > last_printed)
        numbers = stored(server)
        assert numbers == list(range(len(numbers)))
        assert len(numbers) in (last_printed + 1, last_printed + 2)
