"""The handshake without a network: which clients are admitted, and which of two connections."""

from __future__ import annotations

import struct

import pytest
from handshakes import ME, NODE, Harness, error, known
from protocol_client import WELCOME

from fastlog.core import Hello
from fastlog.protocol.handshake_actions import Admit, Close, CountRejection


def test_a_new_client_is_admitted_with_nothing_committed() -> None:
    (admitted,) = Harness().hello(7)
    assert isinstance(admitted, Admit)
    assert (admitted.conn, admitted.client, admitted.committed) == (7, ME, 0)
    assert admitted.welcome[2] == WELCOME
    assert struct.unpack(">BBH16sQIIIHH", admitted.welcome[8:]) == (
        *(1, 0, 3, NODE, 0, (1 << 20) + 65536, 1 << 20, 1 << 20, 100, 5),
    )


def test_a_welcome_has_the_committed_sequence_of_a_known_client() -> None:
    (admitted,) = Harness(known(41)).hello(7, first=30, next_seq=60)
    assert isinstance(admitted, Admit)
    assert admitted.committed == 41
    assert struct.unpack_from(">Q", admitted.welcome, 8 + 20) == (41,)


@pytest.mark.parametrize(
    ("hello", "expected"),
    [
        ({"versions": (9, 2)}, (1, 1)),
        ({"versions": (0, 0)}, (1, 1)),
        ({"first": 5, "next_seq": 4}, (5, 1)),
        ({"first": 0}, (5, 1)),
        ({"first": 1 << 48}, (5, 1)),
        ({"auth": True}, (2, 1)),
        ({"incarnation": 0, "first": 42, "next_seq": 50}, (3, 2)),
        ({"first": 10, "next_seq": 41}, (3, 2)),
    ],
    ids=["newer", "older", "backwards", "from zero", "absurd", "no key", "incarnation", "clone"],
)
def test_a_rejected_client_gets_an_error_and_is_counted(
    hello: dict[str, object], expected: tuple[int, int]
) -> None:
    answers = Harness(known(41)).hello(7, **hello)  # type: ignore[arg-type]
    assert error(answers) == expected
    assert [a.peer for a in answers if isinstance(a, CountRejection)] == ["10.0.0.5:4"]


@pytest.mark.parametrize(
    "payload", [b"", bytes(84), bytes(84) + b"\x05abc", bytes(84) + b"\x01\xff"]
)
def test_a_malformed_hello_is_rejected(payload: bytes) -> None:
    answers = list(Harness().protocol.receive_hello(Hello(1, "x", payload, auth=False)))
    assert error(answers) == (5, 1)


def test_a_second_connection_of_a_client_waits_until_the_first_is_settled() -> None:
    harness = Harness()
    harness.hello(1)
    assert harness.hello(2, first=1, next_seq=10) == [Close(1)]
    (admitted,) = harness.ended(1, committed=6)
    assert isinstance(admitted, Admit)
    assert (admitted.conn, admitted.committed) == (2, 6)


def test_of_two_waiting_connections_of_a_client_the_later_is_admitted() -> None:
    harness = Harness()
    harness.hello(1)
    harness.hello(2)
    assert harness.hello(3, next_seq=2) == [Close(2), Close(1)]
    assert harness.ended(2) == []
    (admitted,) = harness.ended(1, committed=1)
    assert isinstance(admitted, Admit)
    assert admitted.conn == 3


def test_an_older_incarnation_does_not_close_the_newer() -> None:
    harness = Harness()
    harness.hello(1, incarnation=5)
    assert error(harness.hello(2, incarnation=4)) == (3, 2)
    assert harness.hello(3, incarnation=5) == [Close(1)]


def test_a_newer_incarnation_with_a_torn_spool_is_admitted() -> None:
    (admitted,) = Harness(known(41)).hello(7, first=30, next_seq=41, incarnation=2)
    assert isinstance(admitted, Admit)
    assert admitted.committed == 41


def test_a_waiting_connection_that_ends_is_forgotten() -> None:
    harness = Harness()
    harness.hello(1)
    harness.hello(2)
    assert harness.ended(2) == []
    assert harness.ended(1, committed=1) == []
