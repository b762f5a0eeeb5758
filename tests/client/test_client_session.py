"""The client's session against a server's, without I/O: what it sends, cut at any byte."""

from __future__ import annotations

from typing import Any

import pytest
from client_sessions import connect, send_all, store_of, talk
from client_spools import STAMP, record
from fastlog_client.gap import LEFT_AT_EXIT, MEMORY_FULL, NOT_ENCODED, TOO_LARGE
from fastlog_client.memory import Memory
from protocol_server import NODE, Table, Terms


def test_records_arrive_once_in_order_and_are_forgotten_when_acknowledged():
    table, store = Table(), store_of(*range(1, 501))
    session = connect(store, table)
    talk(session, session.peer)
    assert table.numbers() == list(range(1, 501))
    assert (store.first, store.next, store.bytes, store.pending) == (501, 501, 0, 0)
    session.bye()
    talk(session, session.peer)
    assert table.byes == [store.client_id]


def test_nothing_is_sent_between_hello_and_welcome():
    session = connect(store_of(1), Table())
    assert send_all(session)[:3] == b"\xfa\x57\x01"
    assert send_all(session) == b""


def test_answers_may_come_byte_by_byte():
    table, store = Table(), store_of(1, 2, 3)
    session = connect(store, table)
    while data := send_all(session):
        for byte in session.peer.receive(data):
            session.receive(bytes([byte]), 0.0)
    assert store.first == 4


@pytest.mark.parametrize("acks", [True, False])
def test_a_connection_that_is_cut_at_any_byte_loses_and_doubles_nothing(acks: bool):
    table = Table(Terms(acks=acks))
    whole = len(_everything(store_of(1, 2, 3, size=20)))
    for cut in range(whole + 1):
        table.records.clear()
        store = store_of(1, 2, 3, size=20)
        store.add_gap(MEMORY_FULL, STAMP)
        _send_some(store, table, cut)
        _send_some(store, table, cut // 2)
        table.terms.acks = True
        session = connect(store, table)
        talk(session, session.peer)
        assert table.numbers() == [1, 2, 3], cut
        assert store.first == 5
        table.terms.acks = acks


def _everything(store: Any) -> bytes:
    session = connect(store, Table())
    hello = send_all(session)
    session.receive(session.peer.receive(hello), 0.0)
    return hello + send_all(session)


def _send_some(store: Any, table: Table, cut: int) -> None:
    """Pass the first bytes of a connection to the server; its answers except WELCOME are lost."""
    session = connect(store, table)
    sent = 0
    while (data := send_all(session)) and sent < cut:
        answer = session.peer.receive(data[: cut - sent])
        sent += len(data)
        if session.is_ready:
            return
        session.receive(answer, 0.0)


@pytest.mark.parametrize("cut", range(1, 130, 7))
def test_answers_that_are_cut_at_any_byte_lose_and_double_nothing(cut: int):
    table, store = Table(), store_of(1, 2, 3)
    session = connect(store, table)
    left = cut
    while (data := send_all(session)) and left > 0:
        answer = session.peer.receive(data)[:left]
        left -= len(answer)
        session.receive(answer, 0.0)
    again = connect(store, table)
    talk(again, again.peer)
    assert table.numbers() == [1, 2, 3]
    assert store.pending == 0


def test_what_was_sent_is_sent_again_over_the_next_connection_only():
    table, store = Table(Terms(acks=False)), store_of(1, 2, 3)
    for resent in (0, 3, 3):
        if table.accepted:
            table.accepted[store.client_id] = 0  # as if no record had been stored
            table.records.clear()
        session = connect(store, table)
        talk(session, session.peer)
        session.receive(session.peer.ack(0), 0.0)
        assert send_all(session) == b""  # an acknowledgement without progress: wait
        assert session.resent == resent
    assert table.numbers() == [1, 2, 3]


def test_no_more_than_the_window_is_in_flight():
    table, store = Table(Terms(acks=False, window=100_000)), store_of(*range(400), size=1000)
    session = connect(store, table)
    talk(session, session.peer)
    flying = sum(size for _, _, size in table.batches)
    assert 100_000 - 64 * 1024 < flying <= 100_000
    session.receive(session.peer.ack(), 0.0)
    talk(session, session.peer)
    assert flying < sum(size for _, _, size in table.batches) <= 2 * 100_000


def test_a_window_smaller_than_a_record_still_lets_one_pass():
    table, store = Table(Terms(window=10)), store_of(1, 2, 3, size=5000)
    session = connect(store, table)
    talk(session, session.peer)
    assert [count for _, count, _ in table.batches] == [1, 1, 1]


def test_a_closed_window_lets_gaps_pass_and_no_batch():
    table, store = Table(Terms(window=0)), Memory()
    store.add_gap(MEMORY_FULL, STAMP)
    store.extend([record(2)], STAMP)
    session = connect(store, table)
    talk(session, session.peer)
    assert (len(table.gaps), table.batches) == (1, [])
    table.terms.window = 1000
    session.receive(session.peer.ack(), 0.0)
    talk(session, session.peer)
    assert table.is_exact(2)


def test_a_record_over_the_limit_becomes_a_gap_in_its_place():
    table, store = Table(Terms(max_record=500)), store_of(1, 2)
    store.extend([record(3, 1000), record(4)], STAMP)
    session = connect(store, table)
    talk(session, session.peer)
    assert table.numbers() == [1, 2, 4]
    assert table.is_exact(4)
    assert [gap for _, gap in table.gaps] == [(3, 3, 3, STAMP, STAMP)]
    assert store.dropped[TOO_LARGE] == 1


def test_drops_that_follow_each_other_are_one_gap():
    table, store = Table(), store_of(1)
    for stamp in range(10):
        store.add_gap(MEMORY_FULL, STAMP + stamp)
    store.add_gap(NOT_ENCODED, STAMP)
    store.extend([record(13)], STAMP)
    session = connect(store, table)
    talk(session, session.peer)
    assert [gap for _, gap in table.gaps] == [
        (2, 11, 1, STAMP, STAMP + 9),
        (12, 12, 5, STAMP, STAMP),
    ]
    assert table.is_exact(13)


def test_an_acknowledgement_within_a_batch_and_within_a_gap_is_accepted():
    table, store = Table(Terms(acks=False)), store_of(1, 2, 3)
    for _ in range(4):
        store.add_gap(MEMORY_FULL, STAMP)
    session = connect(store, table)
    talk(session, session.peer)
    for committed in (2, 5, 5, 4, 7):
        session.receive(session.peer.ack(committed), 0.0)
        assert store.first == max(committed, 5 if committed == 4 else 0) + 1
    assert store.pending == store.bytes == 0


def test_the_hello_has_what_was_acknowledged_and_the_server_that_did():
    table, store = Table(), store_of(1, 2)
    session = connect(store, table)
    talk(session, session.peer)
    store.extend([record(3)], STAMP)
    session = connect(store, table)
    talk(session, session.peer)
    first, second = table.hellos
    assert (first.first_seq, first.next_seq, first.acked_by) == (1, 3, b"\0" * 16)
    assert (second.first_seq, second.next_seq, second.acked_by) == (3, 4, NODE)
    assert first.nonce != second.nonce


def test_without_the_capability_no_checksum_is_sent():
    table = Table(Terms(capabilities=0))
    session = connect(store_of(1), table)
    talk(session, session.peer)
    assert table.numbers() == [1]


def test_the_oldest_that_are_dropped_are_a_gap_before_the_rest():
    table, store = Table(Terms(acks=False)), store_of(*range(1, 11), size=100)
    store.add_gap(NOT_ENCODED, STAMP)
    store.extend([record(12)], STAMP)
    room = store.bytes
    for stamp in range(3):
        store.drop_oldest(1, STAMP + stamp)
    assert store.bytes < room
    session = connect(store, table)
    talk(session, session.peer)
    assert table.is_exact(12)
    assert table.numbers() == [4, 5, 6, 7, 8, 9, 10, 12]
    assert table.gaps[0][1] == (1, 3, 1, STAMP, STAMP + 2)


def test_records_in_flight_are_never_dropped():
    table, store = Table(Terms(acks=False)), store_of(1, 2, 3)
    session = connect(store, table)
    talk(session, session.peer)
    store.extend([record(4)], STAMP)
    store.drop_oldest(1 << 20, STAMP)
    talk(session, session.peer)
    assert table.numbers() == [1, 2, 3]
    assert table.is_exact(4)


def test_gaps_of_other_reasons_keep_their_place_when_the_oldest_are_dropped():
    store = store_of(1)
    store.add_gap(NOT_ENCODED, STAMP)
    store.extend([record(3)], STAMP)
    store.add_gap(TOO_LARGE, STAMP)
    store.extend([record(5)], STAMP)
    store.drop_oldest(1 << 20, STAMP)
    table = Table()
    session = connect(store, table)
    talk(session, session.peer)
    assert [gap[:3] for _, gap in table.gaps] == [
        (1, 1, 1),
        (2, 2, 5),
        (3, 3, 1),
        (4, 4, 3),
        (5, 5, 1),
    ]
    assert store.pending == store.bytes == 0


def test_records_left_at_exit_are_declared():
    table, store = Table(), store_of(1, 2)
    store.add_gap(MEMORY_FULL, STAMP)
    store.extend([record(4)], STAMP)
    store.declare_left_at_exit(STAMP)
    session = connect(store, table)
    talk(session, session.peer)
    assert [gap[:3] for _, gap in table.gaps] == [(1, 2, 6), (3, 3, 1), (4, 4, 6)]
    assert store.dropped[LEFT_AT_EXIT] == 3
