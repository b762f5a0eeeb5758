"""The fastlog protocol without I/O: who a client is, what is known of it, and who is let in.

The loop reports greetings, the receiver brings them here, and does what is answered:

    Hello ──▶ key id?  ──▶ Send(challenge) … Proof ──▶ right? ──┐
                 no ────────────────────────────────────────────┤
    the id belongs to another key? ──▶ Dismiss(error)
    another connection of this client? ──▶ Dismiss it, wait for its Ended
    the client begins behind what we have? ──▶ Enter(gap), wait until that is durable
    ──▶ Admit(welcome), or Dismiss(error)

Data never passes through here: batches, acknowledgements and keepalives are the loop's. What is
kept is the table of clients, by which a record that is sent twice is stored once.

A client id belongs to the key id that its first connection has proved, or to "no key", which is an
owner like any other. The stamp of each run and each entry of the table name that owner, so the
binding is durable before anything is acknowledged under it. Nothing about an id is looked up before
its connection has proved its key.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastlog import core
from fastlog.block import NO_KEY, Kind, Run, Stamp, frames, make_run
from fastlog.clock import ClockWatch, steady
from fastlog.config.tree import SECRETS
from fastlog.protocol import frames as wire
from fastlog.protocol.frames import Action, Code, Gap, Reason, Type, key_tag, public_name

FORGET_AFTER = 30 * 86400.0
"""Seconds after which a client that has not come back is a new one."""
MAX_CLIENTS = 1_000_000
"""In the table; beyond that, those that have been away longest are forgotten, of the keys that have
most: no key can make another's clients unknown. 48 MB on disk."""
MAX_SEQUENCE = 1 << 48
"""No client gets there: a hundred thousand records a second would take ninety years."""

_ENTRY = struct.Struct(">16sQQQ8s")


# ---- the table ------------------------------------------------------------------------------


@dataclass(slots=True)
class Known:
    """What is known of a client."""

    incarnation: int
    committed: int
    """The last of its sequences that is durable in the journal."""
    seen: int
    """When it last sent something, in microseconds since the epoch."""
    key: bytes
    """The owner of its id: `wire.key_tag` of the key id that it has proved."""


class Clients:
    """The clients that this journal has records of, by id."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, client: bytes) -> Known | None:
        return self._known.get(client)

    def saw(self, client: bytes, incarnation: int, committed: int, seen: int, key: bytes) -> None:
        """It has come, or come further. Under another key than before, it was forgotten meanwhile,
        and is another client."""
        known = self._known.get(client)
        if known is None or known.key != key:
            self._known[client] = Known(incarnation, committed, seen, key)
            return
        known.incarnation = max(known.incarnation, incarnation)
        known.committed = max(known.committed, committed)
        known.seen = max(known.seen, seen)

    def saw_run(self, run: Run, stamp: int) -> None:
        """A run of the journal, when the table is built anew. `stamp`: its block's."""
        if run.stamp is None or not run.frames:
            return
        client, incarnation, sequence, key = run.stamp
        last = sequence + run.frames - 1
        if run.kind is Kind.GAP:
            last = max(wire.read_gap(frame).last for frame in frames(run))
        self.saw(client, incarnation, last, stamp, key)

    def forget(self, client: bytes) -> None:
        """It has left for good."""
        self._known.pop(client, None)

    def set_clock(self, jump: int, now: int) -> None:
        """The wall clock was set by so many microseconds: nobody was away for longer by that."""
        for known in self._known.values():
            known.seen = min(known.seen + max(0, jump), now)

    def forget_old(self, now: int, *, by_age: bool = True) -> int:
        """Forgets who has been away for too long. Returns how many had to go for want of room.

        Args:
            by_age: whether the clock is trusted; else only those go for whom there is no room.
        """
        oldest = now - int(FORGET_AFTER * 1e6)
        for client in [c for c, k in self._known.items() if by_age and k.seen < oldest]:
            del self._known[client]
        excess = self._excess() if len(self._known) > MAX_CLIENTS else []
        for client in excess:
            del self._known[client]
        return len(excess)

    def _excess(self) -> list[bytes]:
        """The clients that have to go for want of room."""
        by_key: dict[bytes, list[bytes]] = {}
        for client, known in self._known.items():
            by_key.setdefault(known.key, []).append(client)
        room, excess = MAX_CLIENTS, []
        for done, clients in enumerate(sorted(by_key.values(), key=len)):
            share = room // (len(by_key) - done)
            if len(clients) > share:
                clients.sort(key=lambda c: self._known[c].seen, reverse=True)
                excess += clients[share:]
            room -= min(len(clients), share)
        return excess

    def dump(self) -> bytes:
        """The table as bytes, 48 for each client."""
        return b"".join(
            _ENTRY.pack(client, known.incarnation, known.committed, known.seen, known.key)
            for client, known in self._known.items()
        )

    def load(self, data: bytes) -> None:
        """Reads what `dump` wrote."""
        for entry in _ENTRY.iter_unpack(data):
            self.saw(*entry)


# ---- what the receiver is to do -------------------------------------------------------------


class Send(NamedTuple):
    """Send this frame of the greeting."""

    conn: int
    frame: bytes


class Admit(NamedTuple):
    """Take this client's records from `committed` + 1 on, and send it this frame."""

    conn: int
    client: bytes
    key: bytes
    """Whose id that is: `wire.key_tag`."""
    incarnation: int
    committed: int
    frame: bytes


class Dismiss(NamedTuple):
    """Send this frame, if it is not empty, and close."""

    conn: int
    frame: bytes = b""


class Enter(NamedTuple):
    """Journal this run of one frame; then say `entered`, or `not_entered`."""

    conn: int
    run: bytes
    text: str
    """What it says, for people."""


class Reject(NamedTuple):
    """Count this rejection."""

    peer: str
    reason: str


Do = Send | Admit | Dismiss | Enter | Reject


# ---- the greeting ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Greeting:
    """A client on its way in."""

    conn: int
    peer: str
    payload: bytes
    hello: wire.Hello
    challenge: bytes = b""
    """Our nonce, once the client was asked for a proof."""
    key: bytes = NO_KEY
    """`key_tag` of the key id, once that is proved."""
    secret: bytes = b""
    """What both have, once that is proved."""


class _Owner(NamedTuple):
    """Whose an admitted connection is."""

    client: bytes
    key: bytes
    proof: bytes
    """Names the secret by which it was admitted, for `Sessions.revoke`; b"" without a key."""


class Terms(NamedTuple):
    """What a WELCOME says."""

    max_record: int
    window: int
    keepalive: float
    """Seconds."""


class Sessions:
    """Lets clients in.

    Args:
        node: The journal's node id, 16 bytes.
        clients: The table, as of the journal's end.
        keys: The secrets of each key id, `SECRETS` at most.
        terms: Gives what a WELCOME says now.
        clock: The wall clock, in seconds since the epoch.
        steady: A clock that nobody sets.
    """

    def __init__(
        self,
        node: bytes,
        clients: Clients,
        keys: Mapping[str, Sequence[bytes]],
        terms: Callable[[], Terms],
        clock: Callable[[], float],
        steady: Callable[[], float] = steady,
    ) -> None:
        self.clients = clients
        self._watch = ClockWatch(clock, steady)
        self._node, self._keys, self._terms, self._clock = node, keys, terms, clock
        self._greetings: dict[int, _Greeting] = {}
        self._live: dict[bytes, int] = {}
        """The connection of each client that was admitted and has not ended."""
        self._owners: dict[int, _Owner] = {}
        """The same the other way round."""
        self._waiting: dict[bytes, int] = {}
        """The greeting that waits until that connection has ended."""
        self._entered: list[tuple[int, _Greeting]] = []
        """Gaps that are in the journal and may not be durable: the offset behind, and for whom."""
        self._skipping: list[int] = []
        """Greetings of clients for whom such a gap is under way by another connection."""

    def hello(self, event: core.Hello) -> Iterator[Do]:
        """A client has said hello."""
        hello = wire.read_hello(event.payload)
        if hello is None or not 1 <= hello.first_seq <= hello.next_seq < MAX_SEQUENCE:
            text = "a HELLO that contradicts itself"
            yield from _reject(event.conn, event.peer, Code.MALFORMED, Action.FIX_CONFIG, text)
            return
        greeting = _Greeting(event.conn, event.peer, event.payload, hello)
        if not hello.version_min <= wire.VERSION <= hello.version_max:
            text = f"this server speaks version {wire.VERSION} only"
            yield from _reject(event.conn, event.peer, Code.VERSION, Action.FIX_CONFIG, text)
        elif hello.key_id:
            self._greetings[event.conn] = greeting
            greeting.challenge = secrets.token_bytes(16)
            yield Send(event.conn, wire.frame(Type.CHALLENGE, greeting.challenge))
        elif event.auth:
            text = "this listener wants a key"
            yield from _reject(event.conn, event.peer, Code.AUTH, Action.FIX_CONFIG, text)
        else:
            self._greetings[event.conn] = greeting
            yield from self._let_in(greeting)

    def proof(self, event: core.Proof) -> Iterator[Do]:
        """A client has answered our challenge."""
        greeting = self._greetings[event.conn]
        key_id = greeting.hello.key_id
        known = self._keys.get(key_id, ())
        parts = b"fl1c", greeting.challenge, greeting.payload
        # An unknown key takes as long to reject as a wrong one, and one secret as long as two.
        tried = [*known, *(secrets.token_bytes(32) for _ in range(SECRETS - len(known)))]
        proved = [s for s in tried if hmac.compare_digest(_digest(s, *parts), event.payload)]
        if known and proved:
            greeting.key, greeting.secret = key_tag(key_id), proved[0]
            yield from self._let_in(greeting)
        else:
            del self._greetings[event.conn]
            text = f"no key {key_id!r} with this secret"
            # What an unauthenticated peer invents makes no kind of rejection of its own.
            yield Reject(greeting.peer, text if known else "no key of this id")
            yield Dismiss(event.conn, wire.make_error(Code.AUTH, Action.FIX_CONFIG, text))

    def ended(self, event: core.Ended) -> Iterator[Do]:
        """A connection has ended, and all that came over it is settled."""
        greeting = self._greetings.pop(event.conn, None)
        if greeting is not None and self._waiting.get(greeting.hello.client) == event.conn:
            del self._waiting[greeting.hello.client]
        owner = self._owners.pop(event.conn, None)
        if owner is None:
            return
        client = owner.client
        del self._live[client]
        if event.sent_bye or not event.committed:
            self.clients.forget(client)
        else:
            self.clients.saw(client, 0, event.committed, self._now(), owner.key)
        if client in self._waiting:
            yield from self._let_in(self._greetings[self._waiting.pop(client)])

    def entered(self, conn: int, offset: int) -> None:
        """The run that was to be journaled is, and ends at this offset."""
        self._entered.append((offset, self._greetings[conn]))

    def not_entered(self, conn: int) -> Iterator[Do]:
        """The journal takes nothing now."""
        del self._greetings[conn]
        text = "the journal takes nothing now"
        yield Dismiss(conn, wire.make_error(Code.FULL, Action.RETRY, text))

    def durable(self, offset: int) -> Iterator[Do]:
        """The journal is durable up to this offset."""
        while self._entered and self._entered[0][0] <= offset:
            _, greeting = self._entered.pop(0)
            hello, now = greeting.hello, self._now()
            before = hello.first_seq - 1
            self.clients.saw(hello.client, hello.incarnation, before, now, greeting.key)
            waiting, self._skipping = [greeting.conn, *self._skipping], []
            for one in waiting:
                if one in self._greetings:
                    yield from self._let_in(self._greetings[one])

    def taken(self, conn: int, client: bytes, key: bytes, proof: bytes) -> None:
        """This connection of an admitted client was taken over from another process.

        Args:
            proof: What `proofs` there said of the client; b"" if nothing.
        """
        self._live[client], self._owners[conn] = conn, _Owner(client, key, proof)

    def proofs(self) -> dict[bytes, bytes]:
        """By which secret each client that is connected was admitted, for `taken`."""
        return {owner.client: owner.proof for owner in self._owners.values() if owner.proof}

    def revoke(self) -> Iterator[Do]:
        """Ends what was taken over and was admitted with a secret that is no key's any more."""
        valid = {
            _proof(key_tag(key_id), secret)
            for key_id, of_key in self._keys.items()
            for secret in of_key
        }
        text = "this key is not in the configuration any more"
        frame = wire.make_error(Code.AUTH, Action.FIX_CONFIG, text)
        for conn, owner in self._owners.items():
            if owner.key != NO_KEY and owner.proof not in valid:
                yield Dismiss(conn, frame)

    def snapshot(self, committed: Callable[[int], int | None]) -> bytes | None:
        """The table as those blocks have made it that were durable when the loop was told last;
        None while that cannot be said of every client.

        Args:
            committed: What the loop knows of a connection.
        """
        now = self._now()
        for client, conn in self._live.items():
            sequence = committed(conn)
            if sequence is None:
                return None
            if sequence:
                self.clients.saw(client, 0, sequence, now, self._owners[conn].key)
        reading = self._watch.look()
        if reading.jump:
            self.clients.set_clock(int(reading.jump * 1e6), now)
        self.clients.forget_old(now, by_age=reading.trusted)
        return self.clients.dump()

    # ---- the way in ----

    def _let_in(self, greeting: _Greeting) -> Iterator[Do]:
        hello, conn = greeting.hello, greeting.conn
        known = self.clients.get(hello.client)
        if self._belongs_to_another(greeting):
            text = "this id belongs to a client with another key, or with none"
            yield from self._send_away(greeting, text)
        elif known is not None and hello.incarnation < known.incarnation:
            yield from self._send_away(greeting, "this id is in use by a newer incarnation")
        elif hello.client in self._live:
            before = self._waiting.get(hello.client)
            if before is not None:
                del self._greetings[before]
                yield Dismiss(before)
            self._waiting[hello.client] = conn
            yield Dismiss(self._live[hello.client])
        elif (
            known is not None
            and hello.next_seq <= known.committed
            and hello.incarnation == known.incarnation
        ):
            # A newer incarnation has what an older one left, perhaps without its torn end.
            yield from self._send_away(greeting, "this id is in use by a client that is ahead")
        elif any(hello.client == entered.hello.client for _, entered in self._entered):
            self._skipping.append(conn)  # until that is durable
        elif hello.first_seq > (known.committed if known else 0) + 1:
            yield self._skip(greeting, known.committed if known else 0)
        else:
            yield self._admit(greeting, known.committed if known else 0)

    def _belongs_to_another(self, greeting: _Greeting) -> bool:
        """Whether the id is bound to another key: by the table, or by a connection alone, where the
        table had no room."""
        client, key = greeting.hello.client, greeting.key
        known, live = self.clients.get(client), self._live.get(client)
        return (known is not None and known.key != key) or (
            live is not None and self._owners[live].key != key
        )

    def _admit(self, greeting: _Greeting, committed: int) -> Admit:
        hello, conn, key = greeting.hello, greeting.conn, greeting.key
        del self._greetings[conn]
        self.taken(conn, hello.client, key, _proof(key, greeting.secret))
        self.clients.saw(hello.client, hello.incarnation, committed, self._now(), key)
        capabilities = hello.capabilities & (wire.CRC | wire.PERSISTENT)
        welcome = wire.make_welcome(capabilities, self._node, committed, *self._terms())
        if greeting.secret:
            parts = hello.nonce, greeting.challenge, greeting.payload, welcome
            welcome += _digest(greeting.secret, b"fl1s", *parts)
        frame = wire.frame(Type.WELCOME, welcome)
        return Admit(conn, hello.client, key, hello.incarnation, committed, frame)

    def _send_away(self, greeting: _Greeting, text: str) -> Iterator[Do]:
        del self._greetings[greeting.conn]
        yield from _reject(greeting.conn, greeting.peer, Code.CLIENT_ID, Action.NEW_ID, text)

    def _skip(self, greeting: _Greeting, committed: int) -> Enter:
        """Go on behind what we have: the client saw the rest acknowledged."""
        hello, now = greeting.hello, self._now()
        here = hello.acked_by == self._node
        gap = Gap(
            first=committed + 1,
            last=hello.first_seq - 1,
            reason=Reason.FORGOTTEN if here else Reason.ELSEWHERE,
            t0=now,
            t1=now,
        )
        stamp = Stamp(hello.client, hello.incarnation, gap.first, greeting.key)
        run = make_run(Kind.GAP, [wire.make_gap(gap)], peer=greeting.peer, stamp=stamp)
        where = "were acknowledged here, and are gone" if here else "are with another server"
        text = f"client {public_name(hello.client)} of {greeting.peer}: its records {gap.first} to "
        return Enter(greeting.conn, run, f"{text}{gap.last} {where}")

    def _now(self) -> int:
        return int(self._clock() * 1e6)


def _reject(conn: int, peer: str, code: Code, action: Action, text: str) -> Iterator[Do]:
    yield Reject(peer, text)
    yield Dismiss(conn, wire.make_error(code, action, text))


def _proof(key: bytes, secret: bytes) -> bytes:
    """Names a secret of a key without giving it away; b"" without a key."""
    return _digest(secret, b"fastlog handover", key) if secret else b""


def _digest(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(parts), "sha256")
