"""The fastlog protocol at a real server: what is accepted, acknowledged and skipped."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from protocol_client import ACK, HELLO, NOTICE, Ack, Speaker, batch, bye, frame, gap, record
from protocol_records import QUIET, numbers, public_name, records
from senders import stock_frame
from servers import Server, restarted


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, config=QUIET).fixed() as server:
        yield server


# ---- accepted batches ----------------------------------------------------------------------


def test_a_batch_is_stored_and_acknowledged(server: Server) -> None:
    with Speaker(server.port) as client:
        assert client.greet().committed == 0
        client.send(batch(1, records(1, 3)))
        assert client.until(3) == Ack(3, 1 << 20, 0)
    server.wait_stored(3)
    assert numbers(server) == [1, 2, 3]
    assert {row["host"] for row in server.records()} == {"127.0.0.1"}


def test_both_protocols_share_a_port_and_a_unix_socket(tmp_path: Path) -> None:
    listen = ["tcp://127.0.0.1:0", f"unix://{tmp_path}/s"]
    with Server(tmp_path, listen=listen) as server:
        for port in (server.port, f"{tmp_path}/s"):
            with Speaker(port) as client:
                client.greet()
                client.send(batch(1, records(1, 1)))
                client.until(1)
        server.connect(stock_frame(number=2)).close()
        server.wait_stored(3)
        assert numbers(server) == [1, 1, 2]


def test_any_chunking_stores_the_same_records(server: Server) -> None:
    stream = b"".join(batch(n, records(n, n + 9)) for n in range(1, 400, 10)) + gap(401, 410)
    dice = random.Random(5)
    with Speaker(server.port) as client:
        client.greet()
        at = 0
        while at < len(stream):
            size = dice.choice([1, 3, 7, 8, 9, 100, 5000, 70_000])
            client.send(stream[at : at + size])
            at += size
        client.until(410)
    server.wait_stored(400)
    assert numbers(server) == list(range(1, 401))


def test_a_handshake_and_a_batch_may_arrive_byte_by_byte(server: Server) -> None:
    with Speaker(server.port) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(HELLO, client.hello_payload()):
            client.send(bytes([byte]))
        assert client.read().kind == 4
        for byte in batch(1, records(1, 1)):
            client.send(bytes([byte]))
        client.until(1)


def test_a_batch_with_a_record_at_the_limit_is_stored(server: Server) -> None:
    with Speaker(server.port) as client:
        limit = client.greet().max_record
        small, large = record(1), record(2, pad="")
        while len(large) < limit:  # the size of its length field grows too
            large = record(2, pad="x" * (limit - len(record(2, pad="x" * 70_000)) + 70_000))
        assert len(large) == limit
        client.send(batch(1, [small, large]))
        client.until(2)
    server.wait_stored(2)


def test_a_batch_without_a_checksum_is_accepted(server: Server) -> None:
    with Speaker(server.port) as client:
        client.greet()
        client.send(batch(1, records(1, 2), crc=False))
        client.until(2)


def test_json_objects_are_records(server: Server) -> None:
    with Speaker(server.port) as client:
        client.greet()
        client.send(batch(1, [b'{"msg": "hello", "number": 1}'], format=1))
        client.until(1)
    server.wait_stored(1)
    assert [row["message"] for row in server.records()] == ["hello"]


def test_an_unreadable_record_is_rejected_and_acknowledged(server: Server) -> None:
    with Speaker(server.port) as client:
        client.greet()
        client.send(batch(1, [record(1), b"cos\nsystem\n(S'true'\ntR.", record(3)]))
        client.until(3)
    server.wait_stored(2)
    assert numbers(server) == [1, 3]
    wait_for(server.rejected)
    (row,) = server.rejected()
    assert row["reason"].startswith("not a record")


# ---- gaps ----------------------------------------------------------------------------------


def test_a_gap_becomes_a_loss_and_is_acknowledged(server: Server) -> None:
    with Speaker(server.port) as client:
        client.greet()
        client.send(
            batch(1, records(1, 2)) + gap(3, 7, 1, 1_700_000_000_000_000, 1_700_000_001_000_000)
        )
        client.send(batch(8, records(8, 8)))
        client.until(8)
    server.wait_stored(3)
    assert numbers(server) == [1, 2, 8]
    (loss,) = server.losses()
    assert (loss["count"], loss["first"], loss["last"]) == (5, 1.7e9, 1.7e9 + 1)
    assert loss["reason"] == "dropped by the client: its memory was full"
    assert loss["detail"] == f"client {public_name(client.client)}, records 3 to 7"


def test_the_known_part_of_a_gap_is_ignored(server: Server) -> None:
    with Speaker(server.port) as client:
        client.greet()
        client.send(batch(1, records(1, 5)) + gap(3, 4) + gap(4, 8) + gap(8, 8))
        client.until(8)
    (loss,) = wait_for(server.losses)
    assert (loss["count"], loss["detail"].split()[-3:]) == (3, ["6", "to", "8"])


# ---- records that are sent again -----------------------------------------------------------


def test_records_that_are_sent_again_are_skipped_and_acknowledged(server: Server) -> None:
    with Speaker(server.port) as client:
        client.greet()
        client.send(batch(1, records(1, 5)))
        client.until(5)
        client.send(batch(1, records(1, 5)))
        assert client.ack().committed == 5
        client.send(batch(4, records(4, 8)))
        client.until(8)
    server.wait_stored(8)
    assert numbers(server) == list(range(1, 9))
    wait_for(lambda: server.status()["repeated"] == 7)


@pytest.mark.parametrize("restart", ["nothing", "receiver", "everything", "stop"])
def test_records_that_are_sent_again_after_a_restart_are_stored_once(
    server: Server, restart: str
) -> None:
    with Speaker(server.port) as client:
        client.greet()
        client.send(batch(1, records(1, 50)))
        client.until(50)
    restarted(server, restart)
    with Speaker(server.port, client.client) as again:
        assert wait_for(lambda: again.greet(40, 61)).committed == 50
        again.send(batch(40, records(40, 60)))
        again.until(60)
    server.wait_stored(60)
    assert numbers(server) == list(range(1, 61))


def test_the_client_table_outlives_the_segments(tmp_path: Path) -> None:
    config = '[journal]\nsize = "64 MiB"\nsegment = "64 KiB"\n'
    with Server(tmp_path, config=config).fixed() as server:
        with Speaker(server.port) as client:
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
        for gone, last in ((client, 5), (busy, 1000)):
            with Speaker(server.port, gone.client) as again:
                assert again.greet(1, last + 2).committed == last
        server.stop()
        assert server.losses() == []


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_a_reset_at_any_byte_of_a_batch_loses_nothing(server: Server, step: int) -> None:
    """The first of the bytes is another one each time."""
    whole = batch(1, records(1, 2))
    client = os.urandom(16)
    first = random.randrange(step)
    print(f"first reset after {first} bytes")  # printed if the test fails
    for length in range(first, len(whole), step):
        with Speaker(server.port, client) as cut:
            assert cut.greet(1, 3).committed == 0
            cut.send(whole[:length])
            linger = struct.pack("ii", 1, 0)
            cut.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)  # a reset
    with Speaker(server.port, client) as last:
        last.greet(1, 3)
        last.send(whole)
        last.until(2)
    server.wait_stored(2)
    assert server.rejected() == []


# ---- several connections -------------------------------------------------------------------


def test_a_new_connection_of_a_client_closes_the_old(server: Server) -> None:
    with Speaker(server.port) as old, Speaker(server.port, old.client) as new:
        old.greet()
        old.send(batch(1, records(1, 3)))
        old.until(3)
        assert new.greet(1, 4).committed == 3
        assert old.at_end()
        new.send(batch(4, records(4, 4)))
        new.until(4)


def test_bye_is_acknowledged_and_makes_the_client_forgotten(server: Server) -> None:
    with Speaker(server.port) as client:
        client.greet()
        client.send(batch(1, records(1, 3)) + bye(3))
        client.until(3)
        assert client.at_end()
    with Speaker(server.port, client.client) as again:
        assert again.greet().committed == 0


def test_skipped_sequences_acknowledged_by_another_server_are_no_loss(server: Server) -> None:
    with Speaker(server.port) as client:
        assert client.greet(10, 12, acked_by=b"elsewhere.......").committed == 9
        client.send(batch(10, records(10, 11)))
        client.until(11)
    server.wait_stored(2)
    assert server.losses() == []
    text = "its records 1 to 9 were acknowledged by another server"
    wait_for(lambda: text in server.messages())
    assert f"client {public_name(client.client)} of 127.0.0.1:" in server.messages()
    assert client.client.hex() not in server.messages()


def test_skipped_sequences_acknowledged_by_this_server_are_a_loss(server: Server) -> None:
    node = bytes.fromhex((server.data / "journal" / "node").read_text())
    with Speaker(server.port) as client:
        assert client.greet(10, 12, acked_by=node).committed == 9
    (loss,) = wait_for(server.losses)
    assert (loss["count"], loss["reason"]) == (9, "acknowledged here once, and gone since")


# ---- a stop --------------------------------------------------------------------------------


def test_a_stop_sends_a_notice_and_acknowledges_everything_received(server: Server) -> None:
    with Speaker(server.port) as client:
        client.greet()
        assert server.process is not None
        client.send(batch(1, records(1, 5)))
        server.process.send_signal(signal.SIGTERM)
        kinds, committed = set(), 0
        with pytest.raises(EOFError):
            while True:
                answer = client.read()
                kinds.add(answer.kind)
                if answer.kind == ACK:
                    committed = struct.unpack_from(">Q", answer.payload)[0]
        assert (kinds, committed) == ({ACK, NOTICE}, 5)
