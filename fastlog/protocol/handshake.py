"""The handshake of fastlog clients, without I/O: HELLO, CHALLENGE, AUTH, WELCOME.

The loop reports frames, the receiver passes them here, and carries out the actions that come back
(`handshake_actions`):

    HELLO ──▶ key id?  ──▶ SendFrame(CHALLENGE) … AUTH ──▶ valid? ──┐
                 no ────────────────────────────────────────────────┤
    the id belongs to another key? ──▶ Close(ERROR)
    another connection of this client? ──▶ Close it, wait until it has ended
    the client skips sequences? ──▶ JournalGap, wait until that is durable
    ──▶ Admit(WELCOME), or Close(ERROR)

No data passes through here: the loop handles batches, acknowledgements and keepalives.

A client id belongs to the key id that its first connection has proved, or to "no key", which is an
owner like any other. Where the listener says so, the name in the certificate of a client without a
key is the owner. The stamp of each run and each entry of the client table name that owner, so
the binding is durable before anything is acknowledged under it. Nothing about an id is looked up
before its connection has proved its key.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastlog import core
from fastlog.block import NO_KEY, Kind, Stamp, make_run
from fastlog.clock import ClockWatch, steady
from fastlog.config.tree import SECRETS
from fastlog.protocol import frames
from fastlog.protocol.client_table import Clients
from fastlog.protocol.frames import (
    Action,
    Code,
    Gap,
    GapReason,
    Type,
    identity_tag,
    key_tag,
    public_name,
)
from fastlog.protocol.handshake_actions import (
    Admit,
    Close,
    CountRejection,
    HandshakeAction,
    JournalGap,
    SendFrame,
)
from fastlog.record import identity_of

MAX_SEQUENCE = 1 << 48
"""The bound of sequences. At 100,000 records a second, a client reaches it in ninety years."""
_CERTIFIED = b"\0certificate"
"""Stands for the secret of a session whose owner a certificate has proved: no key can have it."""


class SessionParameters(NamedTuple):
    """What a WELCOME announces."""

    max_record: int
    """The largest record, in bytes."""
    window: int
    """Bytes that the client may send beyond what is committed."""
    keepalive: float
    """Seconds."""


@dataclass(slots=True)
class _Handshake:
    """A connection that is not admitted yet."""

    conn: int
    peer: str
    payload: bytes
    """The payload of the HELLO."""
    hello: frames.Hello
    challenge: bytes = b""
    """The server's nonce, once it was sent."""
    key: bytes = NO_KEY
    """`key_tag` of the key id, once that is proved."""
    secret: bytes = b""
    """The shared secret, once that is proved."""
    is_certified: bool = False
    """Whether a certificate has proved `key`, not a secret."""


class _Session(NamedTuple):
    """An admitted connection."""

    client: bytes
    key: bytes
    fingerprint: bytes
    """Of the secret by which it was admitted, see `close_revoked`; b"" without a key."""


class HandshakeProtocol:
    """Decides which clients are admitted, and knows the admitted connections.

    Args:
        node: The journal's node id, 16 bytes.
        clients: The client table, as of the journal's end.
        keys: The secrets of each key id, `SECRETS` at most.
        parameters: Returns what a WELCOME announces now.
        clock: The wall clock, in seconds since the epoch.
        steady: A clock that is never set, in seconds.
    """

    def __init__(
        self,
        node: bytes,
        clients: Clients,
        keys: Mapping[str, Sequence[bytes]],
        parameters: Callable[[], SessionParameters],
        clock: Callable[[], float],
        steady: Callable[[], float] = steady,
    ) -> None:
        self.clients = clients
        self._clock_watch = ClockWatch(clock, steady)
        self._node, self._keys, self._parameters, self._clock = node, keys, parameters, clock
        self._handshakes: dict[int, _Handshake] = {}
        self._conn_of: dict[bytes, int] = {}
        """The admitted connection of each client that has one."""
        self._sessions: dict[int, _Session] = {}
        """The admitted connections."""
        self._waiting: dict[bytes, int] = {}
        """By client: the handshake that waits until the admitted connection has ended."""
        self._journaled_gaps: list[tuple[int, _Handshake]] = []
        """Gaps in the journal that may not be durable yet: the offset after each, and its
        handshake."""
        self._waiting_for_gap: list[int] = []
        """Handshakes of clients for which another connection has such a gap."""

    def receive_hello(self, event: core.Hello) -> Iterator[HandshakeAction]:
        """Handle a HELLO."""
        hello = frames.read_hello(event.payload)
        if hello is None or not 1 <= hello.first_seq <= hello.next_seq < MAX_SEQUENCE:
            text = "malformed HELLO"
            yield from _reject(event.conn, event.peer, Code.MALFORMED, Action.FIX_CONFIG, text)
            return
        handshake = _Handshake(event.conn, event.peer, event.payload, hello)
        if not hello.version_min <= frames.VERSION <= hello.version_max:
            text = f"this server supports only version {frames.VERSION} of the protocol"
            yield from _reject(event.conn, event.peer, Code.VERSION, Action.FIX_CONFIG, text)
        elif hello.key_id:
            self._handshakes[event.conn] = handshake
            handshake.challenge = secrets.token_bytes(16)
            yield SendFrame(event.conn, frames.frame(Type.CHALLENGE, handshake.challenge))
        elif event.by_identity and (identity := identity_of(event.peer)):
            self._handshakes[event.conn] = handshake
            handshake.key = identity_tag(identity)
            handshake.is_certified = True
            yield from self._decide(handshake)
        elif event.auth:
            text = "this listener requires a key"
            yield from _reject(event.conn, event.peer, Code.AUTH, Action.FIX_CONFIG, text)
        else:
            self._handshakes[event.conn] = handshake
            yield from self._decide(handshake)

    def receive_auth(self, event: core.Proof) -> Iterator[HandshakeAction]:
        """Handle an AUTH, the answer to a CHALLENGE."""
        handshake = self._handshakes[event.conn]
        key_id = handshake.hello.key_id
        known = self._keys.get(key_id, ())
        parts = b"fl1c", handshake.challenge, handshake.payload
        # An unknown key takes as long to reject as a wrong one, and one secret as long as two.
        candidates = [*known, *(secrets.token_bytes(32) for _ in range(SECRETS - len(known)))]
        valid = [s for s in candidates if hmac.compare_digest(_digest(s, *parts), event.payload)]
        if known and valid:
            handshake.key, handshake.secret = key_tag(key_id), valid[0]
            yield from self._decide(handshake)
        else:
            del self._handshakes[event.conn]
            text = f"no key {key_id!r} with this secret"
            # Key ids that an unauthenticated client invents do not get reasons of their own.
            yield CountRejection(handshake.peer, text if known else "unknown key id")
            yield Close(event.conn, frames.make_error(Code.AUTH, Action.FIX_CONFIG, text))

    def connection_ended(self, event: core.Ended) -> Iterator[HandshakeAction]:
        """Handle the end of a connection, after all of its records are committed or discarded."""
        handshake = self._handshakes.pop(event.conn, None)
        if handshake is not None and self._waiting.get(handshake.hello.client) == event.conn:
            del self._waiting[handshake.hello.client]
        session = self._sessions.pop(event.conn, None)
        if session is None:
            return
        client = session.client
        del self._conn_of[client]
        if event.sent_bye or not event.committed:
            self.clients.forget(client)
        else:
            self.clients.update(client, 0, event.committed, self._now(), session.key)
        if client in self._waiting:
            yield from self._decide(self._handshakes[self._waiting.pop(client)])

    def gap_journaled(self, conn: int, end: int) -> None:
        """Record that the gap of a `JournalGap` is in the journal and ends at this offset."""
        self._journaled_gaps.append((end, self._handshakes[conn]))

    def gap_not_journaled(self, conn: int) -> Iterator[HandshakeAction]:
        """Close a connection whose gap the journal did not accept."""
        del self._handshakes[conn]
        text = "the journal is full"
        yield Close(conn, frames.make_error(Code.FULL, Action.RETRY, text))

    def journal_durable(self, durable: int) -> Iterator[HandshakeAction]:
        """Continue the handshakes whose gaps are below the durable offset."""
        while self._journaled_gaps and self._journaled_gaps[0][0] <= durable:
            _, handshake = self._journaled_gaps.pop(0)
            hello, now = handshake.hello, self._now()
            committed = hello.first_seq - 1
            self.clients.update(hello.client, hello.incarnation, committed, now, handshake.key)
            waiting, self._waiting_for_gap = [handshake.conn, *self._waiting_for_gap], []
            for conn in waiting:
                if conn in self._handshakes:
                    yield from self._decide(self._handshakes[conn])

    def add_session(self, conn: int, client: bytes, key: bytes, fingerprint: bytes) -> None:
        """Add an admitted connection that another process has handed over.

        Args:
            conn: Its name in the loop.
            client: The client id.
            key: The owner of the id.
            fingerprint: What `fingerprints` returned for the client there; b"" if nothing.
        """
        self._conn_of[client], self._sessions[conn] = conn, _Session(client, key, fingerprint)

    def fingerprints(self) -> dict[bytes, bytes]:
        """Return, by client, fingerprints of the secrets by which connections were admitted."""
        return {s.client: s.fingerprint for s in self._sessions.values() if s.fingerprint}

    def close_revoked(self) -> Iterator[HandshakeAction]:
        """Close the connections whose secret is not in the configuration any more."""
        valid = {
            _fingerprint(key_tag(key_id), secret)
            for key_id, of_key in self._keys.items()
            for secret in of_key
        }
        text = "this key is not in the configuration any more"
        frame = frames.make_error(Code.AUTH, Action.FIX_CONFIG, text)
        for conn, session in self._sessions.items():
            is_certified = session.fingerprint == _fingerprint(session.key, _CERTIFIED)
            if session.key != NO_KEY and session.fingerprint not in valid and not is_certified:
                yield Close(conn, frame)

    def snapshot(self, committed: Callable[[int], int | None]) -> bytes | None:
        """Return the client table as of the durable offset that the loop was last given.

        Args:
            committed: Returns a connection's last durable sequence; None if it has ended.

        Returns:
            What `Clients.load` reads; None while the state of some client is not known.
        """
        now = self._now()
        for client, conn in self._conn_of.items():
            sequence = committed(conn)
            if sequence is None:
                return None
            if sequence:
                self.clients.update(client, 0, sequence, now, self._sessions[conn].key)
        reading = self._clock_watch.read()
        if reading.jump:
            self.clients.adjust_to_clock_jump(int(reading.jump * 1e6), now)
        self.clients.forget_absent(now, by_age=reading.trusted)
        return self.clients.dump()

    # ---- admission ----

    def _decide(self, handshake: _Handshake) -> Iterator[HandshakeAction]:
        """Admit the client, reject it, or let it wait."""
        hello, conn = handshake.hello, handshake.conn
        known = self.clients.get(hello.client)
        committed = known.committed if known else 0
        if self._belongs_to_another(handshake):
            text = "this id belongs to a client with another key, or with none"
            yield from self._reject_id(handshake, text)
        elif known is not None and hello.incarnation < known.incarnation:
            yield from self._reject_id(handshake, "this id is in use by a newer incarnation")
        elif hello.client in self._conn_of:
            waiting = self._waiting.get(hello.client)
            if waiting is not None:
                del self._handshakes[waiting]
                yield Close(waiting)
            self._waiting[hello.client] = conn
            yield Close(self._conn_of[hello.client])
        elif (
            known is not None
            and hello.next_seq <= known.committed
            and hello.incarnation == known.incarnation
        ):
            # A newer incarnation has read the spool of an older one, perhaps without its torn end.
            yield from self._reject_id(handshake, "this id is in use by a client that is ahead")
        elif any(hello.client == other.hello.client for _, other in self._journaled_gaps):
            self._waiting_for_gap.append(conn)
        elif hello.first_seq > committed + 1:
            yield self._journal_gap(handshake, committed)
        else:
            yield self._admit(handshake, committed)

    def _belongs_to_another(self, handshake: _Handshake) -> bool:
        """Return whether the id is bound to another key.

        The table knows that, or only the connection does if the table had no room.
        """
        client, key = handshake.hello.client, handshake.key
        known, conn = self.clients.get(client), self._conn_of.get(client)
        return (known is not None and known.key != key) or (
            conn is not None and self._sessions[conn].key != key
        )

    def _admit(self, handshake: _Handshake, committed: int) -> Admit:
        hello, conn, key = handshake.hello, handshake.conn, handshake.key
        del self._handshakes[conn]
        secret = _CERTIFIED if handshake.is_certified else handshake.secret
        self.add_session(conn, hello.client, key, _fingerprint(key, secret))
        self.clients.update(hello.client, hello.incarnation, committed, self._now(), key)
        capabilities = hello.capabilities & (frames.CRC | frames.PERSISTENT)
        welcome = frames.make_welcome(capabilities, self._node, committed, *self._parameters())
        if handshake.secret:
            parts = hello.nonce, handshake.challenge, handshake.payload, welcome
            welcome += _digest(handshake.secret, b"fl1s", *parts)
        frame = frames.frame(Type.WELCOME, welcome)
        return Admit(conn, hello.client, key, hello.incarnation, committed, frame)

    def _reject_id(self, handshake: _Handshake, text: str) -> Iterator[HandshakeAction]:
        del self._handshakes[handshake.conn]
        yield from _reject(handshake.conn, handshake.peer, Code.CLIENT_ID, Action.NEW_ID, text)

    def _journal_gap(self, handshake: _Handshake, committed: int) -> JournalGap:
        """Return the gap from `committed` to the client's first sequence.

        The client has seen acknowledgements for that span, from this server or from another.
        """
        hello, now = handshake.hello, self._now()
        here = hello.acked_by == self._node
        gap = Gap(
            first=committed + 1,
            last=hello.first_seq - 1,
            reason=GapReason.FORGOTTEN if here else GapReason.ELSEWHERE,
            t0=now,
            t1=now,
        )
        stamp = Stamp(hello.client, hello.incarnation, gap.first, handshake.key)
        run = make_run(Kind.GAP, [frames.make_gap(gap)], peer=handshake.peer, stamp=stamp)
        where = (
            "were acknowledged here and are lost" if here else "were acknowledged by another server"
        )
        text = (
            f"client {public_name(hello.client)} of {handshake.peer}: "
            f"its records {gap.first} to {gap.last} {where}"
        )
        return JournalGap(handshake.conn, run, text)

    def _now(self) -> int:
        return int(self._clock() * 1e6)


def _reject(
    conn: int, peer: str, code: Code, action: Action, text: str
) -> Iterator[HandshakeAction]:
    yield CountRejection(peer, text)
    yield Close(conn, frames.make_error(code, action, text))


def _fingerprint(key: bytes, secret: bytes) -> bytes:
    """Return a digest that identifies a secret without revealing it; b"" without a key."""
    return _digest(secret, b"fastlog handover", key) if secret else b""


def _digest(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(parts), "sha256")
