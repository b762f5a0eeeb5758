"""The handshake without a network: which clients are admitted, and the table of clients."""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_client import CHALLENGE, ERROR, WELCOME

from fastlog.block import NO_KEY, Kind, Run, Stamp, make_run, runs
from fastlog.clock import TRIAL
from fastlog.core import Ended, Hello, Proof
from fastlog.protocol import client_table
from fastlog.protocol.client_table import FORGET_AFTER, Clients
from fastlog.protocol.frames import Gap, GapReason, key_tag, make_gap, read_gap
from fastlog.protocol.handshake import (
    Admit,
    Close,
    CountRejection,
    HandshakeAction,
    HandshakeProtocol,
    JournalGap,
    SendFrame,
    SessionParameters,
)

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


# ---- keys ----


def proof(
    harness: Harness, conn: int, challenge: bytes, key: bytes, hello: bytes
) -> list[HandshakeAction]:
    digest = hmac.digest(key, b"fl1c" + challenge + hello, "sha256")
    return list(harness.protocol.receive_auth(Proof(conn, digest)))


def challenged(harness: Harness, conn: int, key_id: str, **hello: Any) -> tuple[bytes, bytes]:
    """Return the challenge and the HELLO payload that it answers."""
    (sent,) = harness.hello(conn, key_id=key_id, auth=True, **hello)
    assert isinstance(sent, SendFrame)
    assert sent.frame[2] == CHALLENGE
    return sent.frame[8:], harness.protocol._handshakes[conn].payload


def test_a_client_that_proves_its_key_is_admitted_and_gets_a_proof() -> None:
    harness = Harness(web=b"secret")
    challenge, hello = challenged(harness, 1, "web")
    (admitted,) = proof(harness, 1, challenge, b"secret", hello)
    assert isinstance(admitted, Admit)
    fields, digest = admitted.welcome[8:52], admitted.welcome[52:]
    assert digest == hmac.digest(b"secret", b"fl1s" + NONCE + challenge + hello + fields, "sha256")


@pytest.mark.parametrize(("key_id", "key"), [("web", b"wrong"), ("unknown", b"secret")])
def test_a_wrong_key_is_rejected(key_id: str, key: bytes) -> None:
    harness = Harness(web=b"secret")
    challenge, hello = challenged(harness, 1, key_id)
    assert error(proof(harness, 1, challenge, key, hello)) == (2, 1)


def test_the_proof_of_one_handshake_is_invalid_in_another() -> None:
    harness = Harness(web=b"secret")
    first, hello = challenged(harness, 1, "web")
    second, _ = challenged(harness, 2, "web")
    assert first != second
    assert error(proof(harness, 2, first, b"secret", hello)) == (2, 1)


def proved(harness: Harness, conn: int, key: str, **hello: Any) -> list[HandshakeAction]:
    """Return the actions for a client that proves this key."""
    key_id, _, secret = key.partition(":")
    challenge, payload = challenged(harness, conn, key_id, **hello)
    return proof(harness, conn, challenge, secret.encode(), payload)


def test_each_secret_of_a_key_is_valid_and_the_server_proves_the_same_one() -> None:
    harness = Harness(web=[b"old", b"new"])
    for conn, secret in enumerate([b"old", b"new"], 1):
        challenge, hello = challenged(harness, conn, "web", client=bytes([conn]) * 16)
        (admitted,) = proof(harness, conn, challenge, secret, hello)
        assert isinstance(admitted, Admit)
        fields, digest = admitted.welcome[8:52], admitted.welcome[52:]
        assert digest == hmac.digest(secret, b"fl1s" + NONCE + challenge + hello + fields, "sha256")
    challenge, hello = challenged(harness, 3, "web")
    assert error(proof(harness, 3, challenge, b"older", hello)) == (2, 1)


def test_rejections_of_unknown_key_ids_share_one_reason() -> None:
    harness = Harness(web=b"secret")
    reasons = set()
    for conn in range(20):
        answers = proved(harness, conn, f"invented-{conn}:x")
        assert error(answers) == (2, 1)
        reasons |= {answer.reason for answer in answers if isinstance(answer, CountRejection)}
    assert reasons == {"unknown key id"}


# ---- an id belongs to a key ----

OWNERS = ["", "web:secret", "batch:other"]


def hello_with(harness: Harness, conn: int, key: str, **hello: Any) -> list[HandshakeAction]:
    """Return the actions for a client with this key, or with none."""
    return proved(harness, conn, key, **hello) if key else harness.hello(conn, **hello)


@pytest.mark.parametrize("thief", OWNERS)
@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize(
    "state", ["connected", "away", "restarted", "its gap is being journaled", "without a table"]
)
def test_an_id_is_rejected_under_any_other_key_than_its_own(
    owner: str, thief: str, state: str
) -> None:
    keys = {"web": b"secret", "batch": b"other"}
    harness = Harness(**keys)
    if state == "its gap is being journaled":
        (entry,) = hello_with(harness, 1, owner, first=15)
        assert isinstance(entry, JournalGap)
        (run,) = runs(memoryview(entry.run))
        assert run.stamp == Stamp(ME, 1, 1, key_tag(owner.partition(":")[0]))
        harness.protocol.gap_journaled(1, 500)
        harness.ended(1)
    else:
        hello_with(harness, 1, owner)
    if state in ("away", "restarted"):
        harness.ended(1, committed=5)
    if state == "restarted":
        harness = Harness(restored(harness.protocol.snapshot({}.get)), **keys)
    if state == "without a table":  # the table had no room
        harness.protocol.clients.forget(ME)

    answers = hello_with(harness, 2, thief, first=20, next_seq=1000, incarnation=9, acked_by=NODE)
    if state == "its gap is being journaled":
        assert answers == []
        answers = list(harness.protocol.journal_durable(500))
    if thief == owner:
        assert not any(isinstance(answer, CountRejection) for answer in answers)
        return
    assert [type(answer) for answer in answers] == [CountRejection, Close], "nothing else happens"
    assert error(answers) == (3, 2)
    assert not any(ME.hex() in str(answer) for answer in answers)
    found = harness.protocol.clients.get(ME)
    if found is not None:
        assert (found.incarnation, found.key) == (1, key_tag(owner.partition(":")[0]))


def test_answers_without_the_key_do_not_depend_on_whether_the_id_is_known() -> None:
    answers = []
    for clients in (Clients(), known(41, 7, "web")):
        harness = Harness(clients, web=b"secret")
        answers.append([proved(harness, 1, "web:wrong"), proved(harness, 2, "other:secret")])
    assert answers[0] == answers[1]


def test_the_binding_is_read_from_the_stamps_of_runs() -> None:
    tag = key_tag("web")
    clients = Clients()
    clients.update_from_run(run_of(ME, 1, 5, is_gap=False, key=tag), 7)
    assert error(Harness(clients).hello(1, next_seq=9)) == (3, 2)
    found = clients.get(ME)
    assert found is not None
    assert (found.key, found.committed) == (tag, 5)


def test_a_forgotten_id_can_be_used_under_another_key() -> None:
    harness = Harness(web=b"secret")
    proved(harness, 1, "web:secret")
    harness.ended(1, committed=50, bye=True)
    (admitted,) = harness.hello(2)
    assert isinstance(admitted, Admit)
    clients = Clients()  # from the runs of both
    clients.update_from_run(run_of(ME, 1, 50, is_gap=False, key=key_tag("web")), 7)
    clients.update_from_run(run_of(ME, 1, 3, is_gap=False), 8)
    found = clients.get(ME)
    assert found is not None
    assert (found.committed, found.key) == (3, NO_KEY)


def test_no_key_can_displace_the_clients_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_table, "MAX_CLIENTS", 100)
    clients, few, many = Clients(), key_tag("few"), key_tag("many")
    for n in range(30):
        clients.update(b"few%13d" % n, 1, 1, 1_000_000 + n, few)
    for n in range(500):
        clients.update(b"many%12d" % n, 1, 1, 2_000_000 + n, many)
    assert clients.forget_absent(3_000_000) == 430
    assert all(clients.get(b"few%13d" % n) for n in range(30))
    assert [n for n in range(500) if clients.get(b"many%12d" % n)] == list(range(430, 500))


def test_a_client_whose_secret_has_left_the_configuration_is_closed_after_a_reload() -> None:
    old = Harness(web=[b"secret", b"next"], batch=b"other")
    ids = [bytes([n]) * 16 for n in range(4)]
    for conn, key in enumerate(["web:secret", "web:next", "batch:other", ""]):
        hello_with(old, conn, key, client=ids[conn])
    fingerprints = old.protocol.fingerprints()
    assert not any(secret in str(fingerprints) for secret in ("secret", "next", "other"))
    new = Harness(web=[b"next"])
    for conn, (client, key) in enumerate(zip(ids, ["web", "web", "batch", ""], strict=True)):
        new.protocol.add_session(conn, client, key_tag(key), fingerprints.get(client, b""))
    closed = list(new.protocol.close_revoked())
    assert [answer.conn for answer in closed if isinstance(answer, Close)] == [0, 2]
    assert error(closed[:1]) == (2, 1)


# ---- clients that skip sequences ----


@pytest.mark.parametrize(
    ("acked_by", "reason"), [(NODE, GapReason.FORGOTTEN), (OTHER, GapReason.ELSEWHERE)]
)
def test_a_gap_is_journaled_before_the_client_is_admitted(acked_by: bytes, reason: int) -> None:
    harness = Harness(known(10))
    (entry,) = harness.hello(1, first=15, next_seq=20, acked_by=acked_by)
    assert isinstance(entry, JournalGap)
    (run,) = runs(memoryview(entry.run))
    assert run.kind is Kind.GAP
    assert run.stamp == Stamp(ME, 1, 11)
    gap = read_gap(run.body[4:])
    assert (gap.first, gap.last, gap.reason) == (11, 14, reason)
    harness.protocol.gap_journaled(1, 500)
    assert list(harness.protocol.journal_durable(499)) == []
    (admitted,) = harness.protocol.journal_durable(500)
    assert isinstance(admitted, Admit)
    assert admitted.committed == 14


def test_a_second_connection_waits_for_the_gap_of_the_first() -> None:
    harness = Harness(known(10))
    (entry,) = harness.hello(1, first=15, next_seq=20, acked_by=NODE)
    assert isinstance(entry, JournalGap)
    harness.protocol.gap_journaled(1, 500)
    harness.ended(1)
    assert harness.hello(2, first=15, next_seq=20, acked_by=NODE) == []
    (admitted,) = harness.protocol.journal_durable(500)
    assert isinstance(admitted, Admit)
    assert (admitted.conn, admitted.committed) == (2, 14)


def test_a_full_journal_makes_the_client_try_again() -> None:
    harness = Harness()
    harness.hello(1, first=15)
    assert error(harness.protocol.gap_not_journaled(1)) == (6, 0)


def test_a_gap_stays_committed_when_its_connection_has_ended() -> None:
    harness = Harness()
    harness.hello(1, first=15)
    harness.protocol.gap_journaled(1, 500)
    harness.ended(1)
    assert list(harness.protocol.journal_durable(500)) == []
    (admitted,) = harness.hello(2, first=10, next_seq=20)
    assert isinstance(admitted, Admit)
    assert admitted.committed == 14


# ---- the client table ----


def test_a_client_that_said_bye_is_forgotten() -> None:
    harness = Harness()
    harness.hello(1)
    harness.ended(1, committed=5, bye=True)
    assert harness.protocol.clients.get(ME) is None


def test_a_client_that_sent_nothing_is_forgotten() -> None:
    harness = Harness()
    harness.hello(1)
    harness.ended(1, committed=0)
    assert len(harness.protocol.clients) == 0


def test_a_client_that_is_absent_for_a_month_is_forgotten() -> None:
    harness = Harness(known(5))
    harness.advance(FORGET_AFTER - 1)
    assert len(restored(harness.protocol.snapshot(lambda _: None))) == 1
    harness.advance(2)
    assert len(restored(harness.protocol.snapshot(lambda _: None))) == 0


def test_a_clock_that_jumps_by_months_makes_no_client_forgotten() -> None:
    harness = Harness(known(5))
    for jump in (2 * FORGET_AFTER, -2 * FORGET_AFTER, 700 * FORGET_AFTER):
        harness.now += jump
        assert len(restored(harness.protocol.snapshot(lambda _: None))) == 1
        harness.advance(TRIAL)  # the clock is trusted again, and no client was absent longer
        assert len(restored(harness.protocol.snapshot(lambda _: None))) == 1
    harness.advance(FORGET_AFTER)
    assert len(restored(harness.protocol.snapshot(lambda _: None))) == 0


def test_a_clock_that_is_wrong_from_the_start_makes_no_client_forgotten_for_an_hour() -> None:
    harness = Harness(known(5))
    harness.now += 2 * FORGET_AFTER
    harness = Harness(harness.protocol.clients, at=harness.now)
    assert len(restored(harness.protocol.snapshot(lambda _: None))) == 1
    harness.advance(TRIAL)
    assert len(restored(harness.protocol.snapshot(lambda _: None))) == 0


def restored(content: bytes | None) -> Clients:
    assert content is not None
    clients = Clients()
    clients.load(content)
    return clients


def test_a_snapshot_has_the_committed_sequences_of_the_loop() -> None:
    harness = Harness(known(5))
    harness.hello(9, first=6, incarnation=3)
    found = restored(harness.protocol.snapshot({9: 77}.get)).get(ME)
    assert found is not None
    assert (found.committed, found.incarnation) == (77, 3)


def test_there_is_no_snapshot_while_a_connection_has_ended_and_is_not_processed() -> None:
    harness = Harness()
    harness.hello(9)
    assert harness.protocol.snapshot(lambda _: None) is None


@given(
    st.lists(
        st.tuples(st.sampled_from([b"a" * 16, b"b" * 16]), st.booleans(), st.integers(1, 9)),
        max_size=20,
    ),
    st.integers(0, 20),
)
def test_snapshot_and_later_runs_make_the_same_table_as_all_runs(
    history: list[tuple[bytes, bool, int]], cut: int
) -> None:
    at: dict[bytes, int] = {}
    parts: list[Run] = []
    for client, is_gap, count in history:
        first = at.get(client, 0) + 1
        at[client] = first + count - 1
        key = key_tag("web") if client[0] == ord("a") else NO_KEY
        parts.append(run_of(client, first, count, is_gap=is_gap, key=key))
    whole, before = Clients(), Clients()
    for run in parts:
        whole.update_from_run(run, 7)
    for run in parts[:cut]:
        before.update_from_run(run, 7)
    after = restored(before.dump())
    for run in parts[cut:]:
        after.update_from_run(run, 7)
    assert after.dump() == whole.dump()
    assert {c: k.committed for c in at if (k := whole.get(c))} == at


def run_of(client: bytes, first: int, count: int, *, is_gap: bool, key: bytes = NO_KEY) -> Run:
    stamp = Stamp(client, 1, first, key)
    frames = [os.urandom(5)] * count
    if is_gap:
        frames = [make_gap(Gap(first, first + count - 1, 1, 0, 0))]
    made = make_run(Kind.GAP if is_gap else Kind.BATCH, frames, peer="p", stamp=stamp)
    (run,) = runs(memoryview(made))
    return run
