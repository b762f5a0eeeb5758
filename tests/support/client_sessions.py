"""Sessions of `fastlog_client`, connected to the server's side without I/O."""

from __future__ import annotations

import struct
from typing import Any

from client_spools import STAMP, record
from fastlog_client.memory import Memory
from fastlog_client.session import Session
from protocol_server import NODE, WELCOME, Peer, Table, frame


def store_of(*numbers: int, size: int = 0) -> Any:
    store = Memory()
    store.extend([record(number, size) for number in numbers], STAMP)
    return store


def send_all(session: Any) -> bytes:
    """Return everything that the session has to send now."""
    data_sent = []
    while True:
        session.fill(STAMP)
        data = session.to_send()
        if not data:
            return b"".join(data_sent)
        session.sent(len(data))
        data_sent.append(data)


def talk(session: Any, peer: Peer) -> None:
    """Pass bytes between both sides until neither has more to send."""
    while data := send_all(session):
        session.receive(peer.receive(data), 0.0)


def connect(store: Any, table: Table, key: tuple[bytes, bytes] | None = None) -> Any:
    session = Session(store, key, 0.0)
    session.peer = Peer(table)
    return session


KEY = (b"web", b"s\xc3\xa9cret")


def welcome(committed: int, max_record: int = 1 << 20) -> bytes:
    terms = (max_record + 65536, max_record, 1 << 20, 100, 5)
    return frame(WELCOME, struct.pack(">BBH16sQIIIHH", 1, 0, 1, NODE, committed, *terms))
