"""The client's session and the answers of a server, without I/O: what it believes and rejects."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from client_sessions import KEY, connect, send_all, store_of, talk, welcome
from client_spools import STAMP, record
from fastlog_client.errors import ConnectionRejected, NewIdNeeded
from fastlog_client.gap import MEMORY_FULL
from fastlog_client.session import FIX_CONFIG
from protocol_server import CHALLENGE, NEW_ID, NODE, RETRY, WELCOME, Table, Terms, frame


def test_an_id_of_another_client_is_replaced_and_the_rest_gets_new_numbers():
    table, store = Table(), store_of(1, 2)
    session = connect(store, table)
    talk(session, session.peer)
    old = store.client_id
    store.extend([record(3)], STAMP)
    store.add_gap(MEMORY_FULL, STAMP)
    store.extend([record(5)], STAMP)
    table.accepted[old] = 99
    session = connect(store, table)
    with pytest.raises(NewIdNeeded):
        talk(session, session.peer)
    store.renumber()
    session = connect(store, table)
    talk(session, session.peer)
    assert store.client_id != old
    assert [(sequence, a["number"]) for _, sequence, a in table.records[2:]] == [(1, 3), (3, 5)]
    assert table.gaps[0][1][:2] == (2, 2)
    assert store.first == store.next == 6


def test_a_server_that_claims_what_was_never_sent_makes_it_change_the_id():
    table, store = Table(), store_of(1, 2)
    table.accepted[store.client_id] = 1
    session = connect(store, table)
    with pytest.raises(NewIdNeeded):
        talk(session, session.peer)


def test_an_error_that_requires_a_new_id_differs_from_other_errors():
    for action, expected in ((NEW_ID, NewIdNeeded), (RETRY, ConnectionRejected)):
        session = connect(store_of(1), Table(Terms(error=(3, action))))
        with pytest.raises(expected):
            talk(session, session.peer)


def test_both_sides_prove_that_they_have_the_key():
    table = Table(Terms(key=("web", "sécret")))
    session = connect(store_of(1), table, KEY)
    talk(session, session.peer)
    assert table.numbers() == [1]


@pytest.mark.parametrize(
    ("terms", "key"),
    [
        (Terms(key=("web", "sécret"), secret_of_proof="wrong"), KEY),
        (Terms(), KEY),  # no challenge and no proof
        (Terms(secret_of_proof="sécret"), KEY),  # a proof, but of another nonce
        (Terms(key=("web", "other")), KEY),
        (Terms(key=("web", "sécret")), None),
    ],
)
def test_without_the_right_proof_nothing_is_sent(terms: Terms, key: Any):
    table = Table(terms)
    session = connect(store_of(1), table, key)
    with pytest.raises(ConnectionRejected) as rejected:
        talk(session, session.peer)
    assert rejected.value.action == FIX_CONFIG
    assert send_all(session) == b""
    assert not table.records


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        frame(0x20, struct.pack(">QIB", 0, 0, 0)),  # out of order
        frame(WELCOME, b"short"),
        frame(WELCOME, struct.pack(">BBH16sQIIIHH", 2, 0, 0, NODE, 0, 1, 1, 1, 1, 1)),
        frame(CHALLENGE, b"c" * 16),  # and no key
        frame(0x4F, b""),
        b"\xfa\x57\x04\x00\xff\xff\xff\xff",
    ],
)
def test_nonsense_ends_the_connection(answer: bytes):
    session = connect(store_of(1), Table())
    with pytest.raises(ConnectionRejected):
        session.receive(answer, 0.0)


@pytest.mark.parametrize("beyond", [0, 1, 1 << 47, (1 << 64) - 4])
def test_an_acknowledgement_of_what_was_not_sent_makes_it_change_the_id(beyond: int):
    table, store = Table(Terms(acks=False)), store_of(1, 2)
    session = connect(store, table)
    talk(session, session.peer)
    store.extend([record(3)], STAMP)
    session.receive(session.peer.ack(1), 0.0)
    with pytest.raises(NewIdNeeded) as needed:
        session.receive(session.peer.ack(3 + beyond), 0.0)
    assert (store.first, store.pending) == (2, 2)
    old = store.client_id
    assert store.renumber(needed.value.claimed) == 2
    assert store.client_id != old
    table.terms.acks = True
    again = connect(store, table)
    talk(again, again.peer)
    assert [(s, a["number"]) for _, s, a in table.records] == [(1, 1), (2, 2), (1, 2), (2, 3)]
    assert store.pending == 0


@pytest.mark.parametrize("committed", [2, 3, 99, (1 << 64) - 1])
def test_a_welcome_beyond_what_was_sent_drops_nothing_and_changes_the_id(committed: int):
    table, store = Table(), store_of(1, 2, 3)
    session = connect(store, table)
    send_all(session)
    table.terms.acks = False
    session.receive(welcome(0), 0.0)
    store._waiting.pop()  # so that the third is not sent
    send_all(session)
    store._waiting.append(record(3))
    session = connect(store, table)
    send_all(session)
    if committed == 2:
        session.receive(welcome(committed), 0.0)
        assert (store.first, store.pending) == (3, 1)
        return
    with pytest.raises(NewIdNeeded) as needed:
        session.receive(welcome(committed), 0.0)
    assert (store.first, store.pending) == (1, 3)
    assert store.renumber(needed.value.claimed) == 3
    session = connect(store, table)
    talk(session, session.peer)
    assert table.numbers() == [1, 2, 3]


def test_what_an_earlier_connection_has_sent_may_be_acknowledged_by_a_later_one():
    """Two servers alternate: the first has what it was sent, whatever the second was sent."""
    store = store_of(*range(1, 11))
    session = connect(store, Table())
    send_all(session)
    session.receive(welcome(0), 0.0)
    send_all(session)
    other = connect(store, Table())
    send_all(other)
    other.receive(welcome(2), 0.0)
    assert (store.cursor, store.first) == (3, 3)
    store.add_gap(MEMORY_FULL, STAMP)
    again = connect(store, Table())
    send_all(again)
    again.receive(welcome(10), 0.0)
    assert (store.first, store.cursor, store.pending, store.bytes) == (11, 11, 0, 0)


def test_a_server_that_forgot_what_it_had_acknowledged_gets_the_rest_under_a_new_id():
    table, store = Table(), store_of(1, 2)
    session = connect(store, table)
    talk(session, session.peer)
    store.extend([record(3)], STAMP)
    session = connect(store, table)
    send_all(session)
    with pytest.raises(NewIdNeeded):
        session.receive(welcome(1), 0.0)
    assert store.renumber() == 0
    session = connect(store, table)
    talk(session, session.peer)
    assert table.numbers() == [1, 2, 3]


def test_a_limit_of_no_bytes_makes_no_gap_of_every_record():
    session = connect(store_of(1), Table())
    send_all(session)
    with pytest.raises(ConnectionRejected) as rejected:
        session.receive(welcome(0, max_record=0), 0.0)
    assert rejected.value.action == FIX_CONFIG
    assert send_all(session) == b""


@pytest.mark.parametrize("size", [0, 15, 17, 500])
def test_a_challenge_has_sixteen_bytes(size: int):
    session = connect(store_of(1), Table(), KEY)
    send_all(session)
    with pytest.raises(ConnectionRejected):
        session.receive(frame(CHALLENGE, b"c" * size), 0.0)
    assert send_all(session) == b""


def test_a_text_of_the_server_is_shown_as_plain_text():
    session = connect(store_of(1), Table())
    text = "\x1b]0;owned\x07\n\u009b2J é ".encode() + b"\xff" + b"x" * 3000
    with pytest.raises(ConnectionRejected) as rejected:
        session.receive(frame(0x4F, struct.pack(">HBQ", 5, RETRY, 0) + text), 0.0)
    shown = str(rejected.value)
    assert shown.isascii()
    assert shown.isprintable()
    assert "\\x1b]0;owned\\x07\\x0a" in shown
    assert len(shown) < 300


def test_after_a_notice_nothing_is_sent_and_acknowledgements_are_accepted():
    table, store = Table(Terms(acks=False)), store_of(1)
    session = connect(store, table)
    talk(session, session.peer)
    store.extend([record(2)], STAMP)
    session.receive(session.peer.notice(250), 0.0)
    assert session.retry_ms == 250
    assert send_all(session) == b""
    session.receive(session.peer.ack(), 0.0)
    assert store.first == 2


def test_a_frame_of_an_unknown_kind_is_ignored():
    table, store = Table(), store_of(1)
    session = connect(store, table)
    talk(session, session.peer)
    session.receive(frame(0x77, b"from the future") + session.peer.ack(), 0.0)
    assert session.is_ready
