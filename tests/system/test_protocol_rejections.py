"""The fastlog protocol at a real server: which frames, protocols and clients it rejects."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from installed_server import Installed
from protocol_client import (
    ACK,
    AUTH,
    BATCH,
    GAP,
    HELLO,
    ServerRejectedError,
    Speaker,
    batch,
    bye,
    frame,
    gap,
    record,
)
from protocol_records import QUIET, numbers, records, rejected, rejections
from senders import stock_frame
from servers import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that compare its store and its ledger with what they held before."""
    with Server(tmp_path_factory.mktemp("server"), config=QUIET) as server:
        yield server


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
    before, stored = rejections(server), server.stored()
    with Speaker(server.port) as client:
        client.greet()
        mistake(client)
        assert client.rejection().code == code
    rejected(server, reason, before=before)
    with Speaker(server.port) as other:  # the server still works
        other.greet()
        other.send(batch(1, [record(99)]))
        other.until(1)
    wait_for(lambda: 99 in numbers(server)[stored:])
    assert set(numbers(server)[stored:]) <= {99, 1, 2}


SMALL = batch(1, [b"{}"])


@pytest.mark.parametrize("data", [batch(1, FEW), SMALL, gap(1, 2), bye(0), frame(AUTH, bytes(32))])
def test_a_frame_before_the_hello_is_rejected(server: Server, data: bytes) -> None:
    before, stored = rejections(server), server.stored()
    with Speaker(server.port) as client:
        client.send(data)
        rejection = client.rejection()
        assert (rejection.code, rejection.action) == (7, 1)
    rejected(server, "frame out of turn", before=before)
    assert server.stored() == stored


def test_a_connection_without_a_complete_hello_is_closed(tmp_path: Path) -> None:
    server = Installed(tmp_path, config=QUIET)
    server.edit("core/loop.py", "handshake: float = 5.0", "handshake: float = 0.5")
    with server:
        with Speaker(server.port) as silent, Speaker(server.port) as partial:
            silent.send(b"\xfa")
            partial.send(frame(HELLO, partial.hello_payload())[:50])
            assert silent.at_end()
            assert partial.at_end()
        rejected(server, "no hello in time", 2)


def test_a_wrong_second_byte_is_an_unknown_protocol_and_gets_no_reply(server: Server) -> None:
    before = rejections(server)
    with Speaker(server.port) as client:
        client.send(b"\xfaX" + bytes(100))
        assert client.at_end()
    rejected(server, "unknown protocol", before=before)


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
