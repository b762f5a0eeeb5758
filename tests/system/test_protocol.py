"""The fastlog protocol at a real server: what is accepted, acknowledged, skipped and rejected."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from protocol_client import (
    ACK,
    AUTH,
    BATCH,
    GAP,
    HELLO,
    NOTICE,
    Ack,
    ServerRejectedError,
    Speaker,
    batch,
    bye,
    frame,
    gap,
    record,
)
from senders import stock_frame
from servers import Server, kill


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, config=QUIET) as server:
        yield server


QUIET = '[clients]\nkeepalive = "1 h"\n'
"""No acknowledgement is sent only as a keepalive."""


def records(first: int, last: int) -> list[bytes]:
    return [record(number) for number in range(first, last + 1)]


def numbers(server: Server) -> list[int]:
    """Return the numbers of the stored records, in the order of arrival."""
    return [json.loads(row["extra"])["number"] for row in server.records()]


def public_name(client: bytes) -> str:
    """Return a client's id as the log and the ledger show it."""
    return hashlib.sha256(client).hexdigest()[:8]


def rejected(server: Server, reason: str, count: int = 1) -> None:
    """Wait until the ledger has `count` rejections with this reason, and no others."""

    def counted() -> int:
        rows = server.rejected()
        assert {row["reason"] for row in rows} <= {reason}
        return sum(row["count"] for row in rows)

    wait_for(lambda: counted() >= count, f"{count} x {reason}")
    assert counted() == count


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
    server.fixed()
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
    with Server(tmp_path, config=config) as server:
        server.fixed()
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


def test_a_reset_at_any_byte_of_a_batch_loses_nothing(server: Server) -> None:
    whole = batch(1, records(1, 2))
    client = os.urandom(16)
    for length in range(len(whole)):
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


# ---- rejections ----------------------------------------------------------------------------

Mistake = Callable[[Speaker], None]


def _sends(data: bytes) -> Mistake:
    return lambda client: client.send(data)


FEW = [record(1), record(2)]
LONG = struct.pack(">2sBBI", b"\xfaW", BATCH, 0, (1 << 20) + 65537)


@pytest.mark.parametrize(
    ("mistake", "code", "reason"),
    [
        (_sends(batch(2, FEW)), 4, "records missing in the sequence"),
        (_sends(gap(2, 3)), 4, "records missing in the sequence"),
        (_sends(bye(1)), 4, "records missing in the sequence"),
        (_sends(batch(1, FEW, crc32=1)), 5, "malformed fastlog frame"),
        (_sends(batch(1, FEW, count=1)), 5, "malformed fastlog frame"),
        (_sends(batch(1, FEW, count=3)), 5, "malformed fastlog frame"),
        (_sends(batch(1, FEW, raw_length=9)), 5, "malformed fastlog frame"),
        (_sends(batch(1, FEW, codec=1)), 5, "malformed fastlog frame"),
        (_sends(batch(1, FEW, format=2)), 5, "malformed fastlog frame"),
        (_sends(batch(1, [])), 5, "malformed fastlog frame"),
        (_sends(batch(0, FEW)), 5, "malformed fastlog frame"),
        (_sends(batch((1 << 64) - 2, FEW)), 5, "malformed fastlog frame"),
        (_sends(gap(3, 2)), 5, "malformed fastlog frame"),
        (_sends(gap(0, 2)), 5, "malformed fastlog frame"),
        (_sends(gap(1, (1 << 64) - 1)), 5, "malformed fastlog frame"),
        (_sends(gap(1, 1 + (1 << 40))), 5, "malformed fastlog frame"),
        (_sends(gap((1 << 48) - 1, 1 << 48)), 5, "malformed fastlog frame"),
        (_sends(batch((1 << 48) - 1, FEW)), 5, "malformed fastlog frame"),
        (_sends(frame(GAP, bytes(32))), 5, "malformed fastlog frame"),
        (_sends(frame(BATCH, b"", 1)), 5, "malformed fastlog frame"),
        (_sends(frame(BATCH, bytes(15))), 5, "malformed fastlog frame"),
        (_sends(frame(BATCH, bytes(16), 2)), 5, "malformed fastlog frame"),
        (_sends(batch(1, FEW) + b"\x00\x00\x00\x05hello"), 5, "malformed fastlog frame"),
        (_sends(b"\xfaX" + bytes(6)), 5, "malformed fastlog frame"),
        (_sends(frame(HELLO, bytes(85))), 7, "frame out of turn"),
        (_sends(frame(ACK, bytes(13))), 7, "frame out of turn"),
        (_sends(LONG), 8, "frame over the limit"),
        (_sends(batch(1, [bytes((1 << 20) + 1)])), 8, "frame over the limit"),
    ],
)  # fmt: skip
def test_an_invalid_frame_gets_an_error_is_counted_and_not_stored(
    server: Server, mistake: Mistake, code: int, reason: str
) -> None:
    with Speaker(server.port) as client:
        client.greet()
        mistake(client)
        assert client.rejection().code == code
    rejected(server, reason)
    with Speaker(server.port) as other:  # the server still works
        other.greet()
        other.send(batch(1, [record(99)]))
        other.until(1)
    wait_for(lambda: 99 in numbers(server))
    assert set(numbers(server)) <= {99, 1, 2}


SMALL = batch(1, [b"{}"])


@pytest.mark.parametrize("data", [batch(1, FEW), SMALL, gap(1, 2), bye(0), frame(AUTH, bytes(32))])
def test_a_frame_before_the_hello_is_rejected(server: Server, data: bytes) -> None:
    with Speaker(server.port) as client:
        client.send(data)
        rejection = client.rejection()
        assert (rejection.code, rejection.action) == (7, 1)
    rejected(server, "frame out of turn")
    assert server.stored() == 0


def test_a_connection_without_a_complete_hello_is_closed(server: Server) -> None:
    with Speaker(server.port) as silent, Speaker(server.port) as partial:
        silent.send(b"\xfa")
        partial.send(frame(HELLO, partial.hello_payload())[:50])
        assert silent.at_end()
        assert partial.at_end()
    rejected(server, "no hello in time", 2)


def test_a_wrong_second_byte_is_an_unknown_protocol_and_gets_no_reply(server: Server) -> None:
    with Speaker(server.port) as client:
        client.send(b"\xfaX" + bytes(100))
        assert client.at_end()
    rejected(server, "unknown protocol")


KEYS = '[[listen]]\nurl = "tcp://127.0.0.1:0"\nauth = "required"\n[auth]\nkeys = ["web:s3cret"]\n'


def test_a_listener_that_requires_a_key_rejects_clients_without_it(tmp_path: Path) -> None:
    with Server(tmp_path, listen=[], config=KEYS) as server:
        for key in ("", "web:wrong", "other:s3cret"):
            with (
                Speaker(server.port, key=key) as client,
                pytest.raises(ServerRejectedError) as error,
            ):
                client.greet()
            assert (error.value.code, error.value.action) == (2, 1)
        with Speaker(server.port, key="web:s3cret") as client:
            client.greet()
            client.send(batch(1, records(1, 1)))
            client.until(1)
        server.wait_stored(1)


def test_a_replayed_handshake_is_rejected(tmp_path: Path) -> None:
    with Server(tmp_path, listen=[], config=KEYS) as server:
        sent: list[bytes] = []
        with Speaker(server.port, key="web:s3cret") as client:
            send = client.send
            client.send = lambda data: (sent.append(data), send(data))[1]  # type: ignore[method-assign]
            client.greet()
        with Speaker(server.port) as replay:
            replay.send(sent[0])
            assert replay.read().kind == 2
            replay.send(sent[1])
            assert replay.rejection().code == 2
        assert server.stored() == 0


# ---- the owner of a client id --------------------------------------------------------------

TWO_KEYS = '[auth]\nkeys = ["web:s3cret", "batch:other"]\n'
OTHER_OWNER = "this id belongs to a client with another key, or with none"


def restarted(server: Server, how: str) -> None:
    if how == "receiver":
        before = server.children()["receiver"]
        kill(before)
        wait_for(lambda: server.children().get("receiver", before) != before)
    elif how == "everything":
        server.kill()
        server.start()
    elif how == "stop":
        server.stop()
        server.start()


@pytest.mark.parametrize("restart", ["nothing", "receiver", "everything", "stop"])
@pytest.mark.parametrize("owner", ["web:s3cret", ""], ids=["a key", "no key"])
def test_a_client_id_is_rejected_under_another_key(
    tmp_path: Path, owner: str, restart: str
) -> None:
    """The thief knows the id, its sequences and the node id, and has another valid key or none."""
    thieves = [key for key in ("web:s3cret", "batch:other", "") if key != owner]
    with Server(tmp_path, config=QUIET + TWO_KEYS) as server:
        server.fixed()
        with Speaker(server.port, key=owner) as client:
            node = client.greet().node
            client.send(batch(1, records(1, 50)))
            client.until(50)
        restarted(server, restart)
        for key in thieves:
            for hello in ({}, {"incarnation": 9}, {"incarnation": (1 << 64) - 1}):
                with Speaker(server.port, client.client, key=key) as thief:
                    with pytest.raises(ServerRejectedError) as error:
                        thief.greet(100, 1 << 40, acked_by=node, **hello)
                    assert (error.value.code, error.value.action) == (3, 2)
                    assert thief.at_end()
        rejected(server, OTHER_OWNER, 6)
        with Speaker(server.port, client.client, key=owner) as again:
            assert again.greet(40, 61).committed == 50
            again.send(batch(40, records(40, 60)))
            again.until(60)
        server.wait_stored(60)
        assert numbers(server) == list(range(1, 61))
        assert server.losses() == []
        assert client.client.hex() not in server.messages()


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
    with Server(tmp_path, config=config) as server:
        server.fixed()
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


STRICT = '[[listen]]\nurl = "tcp://127.0.0.1:0"\nstock = false\n'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (stock_frame("hello"), "stock client not admitted here"),
        (bytes(100), "stock client not admitted here"),
        (b"\xfaX" + bytes(50), "unknown protocol"),
        (bytes(range(1, 100)), "unknown protocol"),
        (b"GET / HTTP/1.1\r\n\r\n", "http"),
    ],
)
def test_a_listener_for_fastlog_clients_rejects_other_protocols(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    with Server(tmp_path, listen=[], config=STRICT) as server:
        with Speaker(server.port) as other:
            other.send(data)
            assert other.at_end()
        rejected(server, reason)
        with Speaker(server.port) as client:
            client.greet()
            client.send(batch(1, [record(7)]))
            client.until(1)
            client.send(b"\xfbW" + bytes(30))
            assert client.rejection().code == 5
        server.wait_stored(1)
        assert numbers(server) == [7]


def test_a_public_listener_that_admits_stock_clients_is_logged(tmp_path: Path) -> None:
    with Server(tmp_path, listen=["tcp://0.0.0.0:0"]) as server:
        assert "admits unauthenticated clients" in server.messages()


# ---- slow and silent clients, slow and full journals ---------------------------------------


def test_an_idle_client_gets_keepalives(tmp_path: Path) -> None:
    with (
        Server(tmp_path, config='[clients]\nkeepalive = "1 s"\n') as server,
        Speaker(server.port) as client,
    ):
        assert client.greet().keepalive == 1
        for _ in range(3):
            assert client.ack() == Ack(0, 1 << 20, 0)


def test_keepalives_are_sent_while_the_disk_does_not_respond(tmp_path: Path) -> None:
    """The worker is stopped, so the journal is full and the loop is paused, as by a slow disk."""
    config = '[clients]\nkeepalive = "1 s"\n[journal]\nsize = "512 KiB"\nsegment = "128 KiB"\n' \
        'memory = "1 MiB"\nwhen_full = "pause"\n'  # fmt: skip
    with Server(tmp_path, config=config) as server, Speaker(server.port) as client:
        client.greet()
        worker = server.children()["worker sqlite"]
        os.kill(worker, signal.SIGSTOP)
        with server.connect() as stock:
            stock.setblocking(False)
            wait_for(lambda: _is_stuck(stock), "a stock client is blocked")
            states = {client.ack().state for _ in range(3)}
            os.kill(worker, signal.SIGCONT)
        assert states <= {0, 1, 2}


def _is_stuck(stock: socket.socket) -> bool:
    try:
        stock.send(stock_frame("x" * 10_000))
    except BlockingIOError:
        return True
    return False


def test_a_client_that_never_reads_uses_no_memory_and_delays_no_other(
    tmp_path: Path,
) -> None:
    with Server(tmp_path) as server, Speaker(server.port) as silent, Speaker(server.port) as other:
        silent.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        silent.greet()
        other.greet()
        receiver = server.children()["receiver"]
        before = memory_of(receiver)
        for number in range(1, 20_001):
            silent.send(batch(number, [b"{}"], crc=False))
            if number % 2000 == 0:
                other.send(batch(number // 2000, [record(number)]))
                other.until(number // 2000)
        wait_for(lambda: server.status()["frames"] == 20_010)
        assert memory_of(receiver) < before + (8 << 20)


def memory_of(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_full_journal_closes_the_window_and_opens_it_again(tmp_path: Path) -> None:
    config = QUIET + '[journal]\nsize = "512 KiB"\nsegment = "128 KiB"\n'
    with Server(tmp_path, config=config) as server:
        server.fixed()
        worker = server.children()["worker sqlite"]
        os.kill(worker, signal.SIGSTOP)
        client, at = Speaker(server.port), 1
        client.greet()
        while True:  # ignoring the window, until the journal is full
            try:
                client.send(batch(at, [record(n, pad="x" * 1000) for n in range(at, at + 20)]))
                client.until(at + 19)
            except ServerRejectedError as rejected:
                assert (rejected.code, rejected.action) == (6, 0)
                break
            at += 20
        with client, Speaker(server.port, client.client) as again:
            welcome = again.greet(at, at + 20)
            assert (welcome.committed, welcome.window) == (at - 1, 0)
            os.kill(worker, signal.SIGCONT)
            while not (ack := again.ack()).window:
                pass
            assert ack == Ack(at - 1, 1 << 20, 0)
            again.send(batch(at, records(at, at + 19)))
            again.until(at + 19)
        server.wait_stored(at + 19)
        assert numbers(server) == list(range(1, at + 20))
        assert server.losses() == []


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
