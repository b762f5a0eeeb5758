"""Handshakes without a network, and tables of clients."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from protocol_client import ERROR

from fastlog.block import NO_KEY, Kind, Run, Stamp, make_run, runs
from fastlog.core import Ended, Hello
from fastlog.protocol.client_table import Clients
from fastlog.protocol.frames import Gap, key_tag, make_gap
from fastlog.protocol.handshake import HandshakeProtocol, SessionParameters
from fastlog.protocol.handshake_actions import Close, HandshakeAction

NODE, OTHER = bytes(range(16)), bytes(16)
ME = b"m" * 16
NONCE = b"n" * 16


class Harness:
    """A `HandshakeProtocol` with clocks that the test sets."""

    def __init__(
        self,
        clients: Clients | None = None,
        at: float = 1_700_000_000.0,
        **keys: bytes | list[bytes],
    ) -> None:
        self.now = at
        self.steady = 0.0
        self.protocol = HandshakeProtocol(
            NODE,
            clients or Clients(),
            {name: [one] if isinstance(one, bytes) else one for name, one in keys.items()},
            lambda: SessionParameters(1 << 20, 1 << 20, 5.0),
            lambda: self.now,
            lambda: self.steady,
        )

    def advance(self, seconds: float) -> None:
        """Advance both clocks."""
        self.now += seconds
        self.steady += seconds

    def hello(
        self,
        conn: int,
        first: int = 1,
        next_seq: int | None = None,
        *,
        client: bytes = ME,
        incarnation: int = 1,
        acked_by: bytes = OTHER,
        versions: tuple[int, int] = (1, 1),
        key_id: str = "",
        auth: bool = False,
    ) -> list[HandshakeAction]:
        payload = (
            struct.pack(">BBH16s", *versions, 3, client)
            + struct.pack(">QQQ", incarnation, first, first if next_seq is None else next_seq)
            + struct.pack(">16sI16sB", acked_by, 1 << 20, NONCE, len(key_id))
            + key_id.encode()
        )
        return list(self.protocol.receive_hello(Hello(conn, "10.0.0.5:4", payload, auth)))

    def ended(
        self, conn: int, committed: int | None = None, *, bye: bool = False
    ) -> list[HandshakeAction]:
        return list(self.protocol.connection_ended(Ended(conn, committed, bye)))


def error(answers: Iterable[HandshakeAction]) -> tuple[int, int]:
    """Return code and action of the one ERROR in these actions."""
    (closed,) = [a for a in answers if isinstance(a, Close)]
    assert closed.frame[2] == ERROR
    code, action = struct.unpack_from(">HB", closed.frame, 8)
    return code, action


def known(committed: int, incarnation: int = 1, key_id: str = "") -> Clients:
    clients = Clients()
    clients.update(ME, incarnation, committed, 1_700_000_000_000_000, key_tag(key_id))
    return clients


def restored(content: bytes | None) -> Clients:
    assert content is not None
    clients = Clients()
    clients.load(content)
    return clients


def run_of(client: bytes, first: int, count: int, *, is_gap: bool, key: bytes = NO_KEY) -> Run:
    stamp = Stamp(client, 1, first, key)
    frames = [os.urandom(5)] * count
    if is_gap:
        frames = [make_gap(Gap(first, first + count - 1, 1, 0, 0))]
    made = make_run(Kind.GAP if is_gap else Kind.BATCH, frames, peer="p", stamp=stamp)
    (run,) = runs(memoryview(made))
    return run
