"""The fastlog client and the server, with a full disk, a full journal and sinks that fail.

What is stored or declared as lost is what was sent, as in `test_lossless.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conditions import wait_for
from faults import numbers, small_disk, stopped
from lossless_clients import FAST, Client, assert_exact, declared, patient_server, server
from servers import Server

__all__ = ["patient_server", "server"]


def test_a_full_disk_stops_the_acks_and_loses_nothing(tmp_path: Path) -> None:
    config = f'sink = ["sqlite://{tmp_path}/logs"]\n{FAST}[journal]\nmemory = "4 MiB"\n'
    with small_disk(tmp_path / "data", "8m") as disk, Server(tmp_path, config=config) as server:
        server.logs = tmp_path / "logs"
        with Client(server.port) as client:
            client.log(100)
            client.flush()
            ballast = disk / "ballast"
            with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(1 << 16))
            client.log(8000, size=500)
            wait_for(lambda: "cannot write" in server.messages())
            stuck = client.stats["acked"]
            assert stuck < 8100
            assert not client.handler.flush(0.5)
            ballast.unlink()
            client.flush()
        assert_exact(server, "a", 8100)


def test_a_full_journal_pauses_fastlog_clients_and_loses_nothing(tmp_path: Path) -> None:
    config = FAST + '[journal]\nsize = "1 MiB"\nsegment = "256 KiB"\nmemory = "1 MiB"\n'
    with Server(tmp_path, config=config) as server, Client(server.port) as client:
        with stopped(server.children()["worker sqlite"]):
            client.log(1500, size=1000)
            wait_for(lambda: server.status().get("size", 0) > 800_000)
            assert not client.handler.flush(0.5)
        client.flush()
        assert_exact(server, "a", 1500)


def test_a_failing_sink_causes_no_retransmission(patient_server: Server) -> None:
    _sink_is_down(patient_server, seconds=1)


@pytest.mark.soak
def test_a_sink_that_fails_for_a_minute_causes_no_retransmission(patient_server: Server) -> None:
    _sink_is_down(patient_server, seconds=60)


def _sink_is_down(server: Server, seconds: float) -> None:
    with Client(server.port) as client:
        with stopped(server.children()["worker sqlite"]):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                client.log(100)
                client.flush()  # the ack depends on the journal only
                assert client.stats["pending"] == 0
        assert client.stats["resent_records"] == client.stats["reconnects"] == 0
    assert_exact(server, "a", client.sent)
    assert server.status()["repeated"] == 0


def test_dropped_records_of_a_client_are_declared_exactly(server: Server) -> None:
    for name, policy in (("new", "drop_newest"), ("old", "drop_oldest")):
        with Client(server.port, name, max_bytes=200_000, when_full=policy) as client:
            client.log(50)
            client.flush()
            before = len(server.losses())
            with stopped(server.children()["receiver"]):
                client.log(3000, size=1000)
            client.log(1)
            client.flush()
            assert client.stats["dropped"]["memory full"] > 1000

            def lost(before: int = before) -> set[int]:
                return set().union(*declared(server, before))

            def account(name: str = name, lost: Callable[[], set[int]] = lost) -> set[int]:
                return lost() | set(numbers(server.records()).get(name, []))

            wait_for(lambda sent=client.sent: len(account()) == sent)  # type: ignore[misc]
            stored = numbers(server.records())[name]
            assert account() == set(range(1, client.sent + 1))
            assert not lost() & set(stored)
            assert stored == sorted(set(stored))
