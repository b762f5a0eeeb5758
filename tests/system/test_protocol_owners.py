"""The fastlog protocol at a real server: a client id belongs to the key that has used it first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conditions import wait_for
from faults import numbers
from protocol_client import ServerRejectedError, Speaker, batch, bye, record
from protocol_records import QUIET, records, rejected
from servers import Server, restarted

TWO_KEYS = '[auth]\nkeys = ["web:s3cret", "batch:other"]\n'
OTHER_OWNER = "this id belongs to a client with another key, or with none"


KEYS = ("web:s3cret", "batch:other", "")


@pytest.mark.parametrize("restart", ["nothing", "receiver", "everything", "stop"])
def test_a_client_id_is_rejected_under_another_key(tmp_path: Path, restart: str) -> None:
    """The thief knows the id, its sequences and the node id, and has another valid key or none."""
    with Server(tmp_path, config=QUIET + TWO_KEYS).fixed() as server:
        owners = {owner: start(server, owner) for owner in ("web:s3cret", "")}
        restarted(server, restart)
        for owner, (client, node) in owners.items():
            for key in KEYS:
                if key != owner:
                    steal(server, client, key, node)
        rejected(server, OTHER_OWNER, 12)
        for owner, (client, _) in owners.items():
            with Speaker(server.port, client, key=owner) as again:
                assert again.greet(40, 61).committed == 50
                again.send(batch(40, [record(n, client=owner) for n in range(40, 61)]))
                again.until(60)
            assert client.hex() not in server.messages()
        server.wait_stored(120)
        assert numbers(server.records()) == {owner: list(range(1, 61)) for owner in owners}
        assert server.losses() == []


def start(server: Server, owner: str) -> tuple[bytes, bytes]:
    """Store the first records of a client; return its id and the node's."""
    with Speaker(server.port, key=owner) as client:
        node = client.greet().node
        client.send(batch(1, [record(n, client=owner) for n in range(1, 51)]))
        client.until(50)
    return client.client, node


def steal(server: Server, client: bytes, key: str, node: bytes) -> None:
    """Use the id of a client with another key, which must fail."""
    for hello in ({}, {"incarnation": 9}, {"incarnation": (1 << 64) - 1}):
        with Speaker(server.port, client, key=key) as thief:
            with pytest.raises(ServerRejectedError) as error:
                thief.greet(100, 1 << 40, acked_by=node, **hello)
            assert (error.value.code, error.value.action) == (3, 2)
            assert thief.at_end()


def test_a_client_with_another_key_does_not_close_a_live_connection(tmp_path: Path) -> None:
    with Server(tmp_path, config=QUIET + TWO_KEYS) as server:
        with Speaker(server.port, key="web:s3cret") as client:
            client.greet()
            large = batch(1, [record(n, pad="x" * 30_000) for n in range(1, 11)])
            client.send(large[:100_000])  # the rest follows
            for key in ("batch:other", ""):
                with Speaker(server.port, client.client, key=key) as thief:
                    with pytest.raises(ServerRejectedError) as error:
                        thief.greet(1, 1000, incarnation=2)
                    assert (error.value.code, error.value.action) == (3, 2)
            client.send(large[100_000:])
            client.until(10)
        server.wait_stored(10)
        assert server.losses() == []


def test_bye_frees_the_id_for_any_key(tmp_path: Path) -> None:
    with Server(tmp_path, config=QUIET + TWO_KEYS) as server:
        with Speaker(server.port, key="web:s3cret") as client:
            client.greet()
            client.send(batch(1, records(1, 3)) + bye(3))
            client.until(3)
            assert client.at_end()
        with Speaker(server.port, client.client, key="batch:other") as other:
            assert other.greet().committed == 0


def test_both_secrets_of_a_key_are_the_same_owner(tmp_path: Path) -> None:
    config = QUIET + '[auth]\nkeys = ["web:old", "web:new"]\n'
    with Server(tmp_path, config=config) as server:
        client = os.urandom(16)
        for at, key in enumerate(("web:old", "web:new", "web:old"), 1):
            with Speaker(server.port, client, key=key) as speaker:
                assert speaker.greet(at, at + 1).committed == at - 1
                speaker.send(batch(at, records(at, at)))
                speaker.until(at)
        server.wait_stored(3)


def test_the_owners_of_ids_outlive_the_segments(tmp_path: Path) -> None:
    config = TWO_KEYS + '[journal]\nsize = "64 MiB"\nsegment = "64 KiB"\n'
    with Server(tmp_path, config=config).fixed() as server:
        with Speaker(server.port, key="web:s3cret") as client:
            client.greet()
            client.send(batch(1, records(1, 5)))
            client.until(5)
        with Speaker(server.port) as busy:
            busy.greet()
            for first in range(1, 1001, 100):
                busy.send(batch(first, records(first, first + 99)))
                busy.until(first + 99)
            journal = server.data / "journal"
            wait_for(lambda: not (journal / f"{0:020}.seg").exists(), "the first segment is gone")
        server.kill()
        server.start()
        with Speaker(server.port, client.client) as thief:
            with pytest.raises(ServerRejectedError) as error:
                thief.greet(1, 100)
            assert (error.value.code, error.value.action) == (3, 2)
        with Speaker(server.port, client.client, key="web:s3cret") as again:
            assert again.greet(1, 7).committed == 5
        server.kill()
        error_line = "the client table is missing or damaged"
        assert error_line not in server.messages()
        for path in journal.glob("clients.*"):
            path.write_bytes(b"\xff" * 100)
        server.start()
        assert error_line in server.messages()
        with Speaker(server.port, client.client) as thief:  # the owner is unknown now
            assert thief.greet(1, 100).committed == 0
            thief.send(batch(1, records(1001, 1010)))
            thief.until(10)
        with Speaker(server.port, client.client, key="web:s3cret") as again:
            with pytest.raises(ServerRejectedError) as error:
                again.greet(1, 7)
            assert (error.value.code, error.value.action) == (3, 2)
