"""Sessions without a network: who is let in, with what, and what is remembered of them."""

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
from fastlog.protocol import frames as wire
from fastlog.protocol import handshake as session
from fastlog.protocol.handshake import (
    FORGET_AFTER,
    Admit,
    Clients,
    Dismiss,
    Do,
    Enter,
    Reject,
    Send,
    Sessions,
    Terms,
)

NODE, OTHER = bytes(range(16)), bytes(16)
ME = b"m" * 16
NONCE = b"n" * 16


class Handshakes:
    """Sessions, with a clock to turn."""

    def __init__(
        self,
        clients: Clients | None = None,
        at: float = 1_700_000_000.0,
        **keys: bytes | list[bytes],
    ) -> None:
        self.now = at
        self.steady = 0.0
        self.sessions = Sessions(
            NODE,
            clients or Clients(),
            {name: [one] if isinstance(one, bytes) else one for name, one in keys.items()},
            lambda: Terms(1 << 20, 1 << 20, 5.0),
            lambda: self.now,
            lambda: self.steady,
        )

    def passes(self, seconds: float) -> None:
        """Time goes by, on both clocks."""
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
    ) -> list[Do]:
        payload = (
            struct.pack(">BBH16s", *versions, 3, client)
            + struct.pack(">QQQ", incarnation, first, first if next_seq is None else next_seq)
            + struct.pack(">16sI16sB", acked_by, 1 << 20, NONCE, len(key_id))
            + key_id.encode()
        )
        return list(self.sessions.hello(Hello(conn, "10.0.0.5:4", payload, auth)))

    def ended(self, conn: int, committed: int | None = None, *, bye: bool = False) -> list[Do]:
        return list(self.sessions.ended(Ended(conn, committed, bye)))


def error(answers: Iterable[Do]) -> tuple[int, int]:
    """Code and action of the one error that is in these answers."""
    (dismissed,) = [a for a in answers if isinstance(a, Dismiss)]
    assert dismissed.frame[2] == ERROR
    code, action = struct.unpack_from(">HB", dismissed.frame, 8)
    return code, action


def known(committed: int, incarnation: int = 1, key_id: str = "") -> Clients:
    clients = Clients()
    clients.saw(ME, incarnation, committed, 1_700_000_000_000_000, wire.key_tag(key_id))
    return clients


def test_a_new_client_is_admitted_with_nothing_committed() -> None:
    (admitted,) = Handshakes().hello(7)
    assert isinstance(admitted, Admit)
    assert (admitted.conn, admitted.client, admitted.committed) == (7, ME, 0)
    assert admitted.frame[2] == WELCOME
    assert struct.unpack(">BBH16sQIIIHH", admitted.frame[8:]) == (
        *(1, 0, 3, NODE, 0, (1 << 20) + 65536, 1 << 20, 1 << 20, 100, 5),
    )


def test_a_known_client_is_told_what_is_committed_of_it() -> None:
    (admitted,) = Handshakes(known(41)).hello(7, first=30, next_seq=60)
    assert isinstance(admitted, Admit)
    assert admitted.committed == 41
    assert struct.unpack_from(">Q", admitted.frame, 8 + 20) == (41,)


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
def test_who_cannot_come_in_is_told_why_and_counted(
    hello: dict[str, object], expected: tuple[int, int]
) -> None:
    answers = Handshakes(known(41)).hello(7, **hello)  # type: ignore[arg-type]
    assert error(answers) == expected
    assert [a.peer for a in answers if isinstance(a, Reject)] == ["10.0.0.5:4"]


@pytest.mark.parametrize(
    "payload", [b"", bytes(84), bytes(84) + b"\x05abc", bytes(84) + b"\x01\xff"]
)
def test_a_malformed_hello_is_rejected(payload: bytes) -> None:
    answers = list(Handshakes().sessions.hello(Hello(1, "x", payload, auth=False)))
    assert error(answers) == (5, 1)


def test_a_second_connection_of_a_client_waits_until_the_first_is_settled() -> None:
    door = Handshakes()
    door.hello(1)
    assert door.hello(2, first=1, next_seq=10) == [Dismiss(1)]
    (admitted,) = door.ended(1, committed=6)
    assert isinstance(admitted, Admit)
    assert (admitted.conn, admitted.committed) == (2, 6)


def test_of_two_that_wait_for_a_client_the_later_is_admitted() -> None:
    door = Handshakes()
    door.hello(1)
    door.hello(2)
    assert door.hello(3, next_seq=2) == [Dismiss(2), Dismiss(1)]
    assert door.ended(2) == []
    (admitted,) = door.ended(1, committed=1)
    assert isinstance(admitted, Admit)
    assert admitted.conn == 3


def test_an_older_incarnation_does_not_disturb_the_newer() -> None:
    door = Handshakes()
    door.hello(1, incarnation=5)
    assert error(door.hello(2, incarnation=4)) == (3, 2)
    assert door.hello(3, incarnation=5) == [Dismiss(1)]


def test_who_takes_over_a_torn_spool_is_told_what_is_committed() -> None:
    (admitted,) = Handshakes(known(41)).hello(7, first=30, next_seq=41, incarnation=2)
    assert isinstance(admitted, Admit)
    assert admitted.committed == 41


def test_who_leaves_while_it_waits_is_forgotten() -> None:
    door = Handshakes()
    door.hello(1)
    door.hello(2)
    assert door.ended(2) == []
    assert door.ended(1, committed=1) == []


# ---- keys ----


def proof(door: Handshakes, conn: int, challenge: bytes, key: bytes, hello: bytes) -> list[Do]:
    digest = hmac.digest(key, b"fl1c" + challenge + hello, "sha256")
    return list(door.sessions.proof(Proof(conn, digest)))


def challenged(door: Handshakes, conn: int, key_id: str, **hello: Any) -> tuple[bytes, bytes]:
    """The challenge, and the hello that it answers."""
    (sent,) = door.hello(conn, key_id=key_id, auth=True, **hello)
    assert isinstance(sent, Send)
    assert sent.frame[2] == CHALLENGE
    return sent.frame[8:], door.sessions._greetings[conn].payload


def test_who_proves_its_key_is_admitted_and_gets_a_proof() -> None:
    door = Handshakes(web=b"secret")
    challenge, hello = challenged(door, 1, "web")
    (admitted,) = proof(door, 1, challenge, b"secret", hello)
    assert isinstance(admitted, Admit)
    fields, digest = admitted.frame[8:52], admitted.frame[52:]
    assert digest == hmac.digest(b"secret", b"fl1s" + NONCE + challenge + hello + fields, "sha256")


@pytest.mark.parametrize(("key_id", "key"), [("web", b"wrong"), ("nobody", b"secret")])
def test_a_wrong_key_is_rejected(key_id: str, key: bytes) -> None:
    door = Handshakes(web=b"secret")
    challenge, hello = challenged(door, 1, key_id)
    assert error(proof(door, 1, challenge, key, hello)) == (2, 1)


def test_the_proof_of_one_greeting_is_worth_nothing_in_another() -> None:
    door = Handshakes(web=b"secret")
    first, hello = challenged(door, 1, "web")
    second, _ = challenged(door, 2, "web")
    assert first != second
    assert error(proof(door, 2, first, b"secret", hello)) == (2, 1)


def proved(door: Handshakes, conn: int, key: str, **hello: Any) -> list[Do]:
    """The answer to a client that proves this key."""
    key_id, _, secret = key.partition(":")
    challenge, payload = challenged(door, conn, key_id, **hello)
    return proof(door, conn, challenge, secret.encode(), payload)


def test_either_secret_of_a_key_is_right_and_the_answer_proves_the_same() -> None:
    door = Handshakes(web=[b"old", b"new"])
    for conn, secret in enumerate([b"old", b"new"], 1):
        challenge, hello = challenged(door, conn, "web", client=bytes([conn]) * 16)
        (admitted,) = proof(door, conn, challenge, secret, hello)
        assert isinstance(admitted, Admit)
        fields, digest = admitted.frame[8:52], admitted.frame[52:]
        assert digest == hmac.digest(secret, b"fl1s" + NONCE + challenge + hello + fields, "sha256")
    challenge, hello = challenged(door, 3, "web")
    assert error(proof(door, 3, challenge, b"older", hello)) == (2, 1)


def test_refusals_of_invented_keys_are_one_kind() -> None:
    door = Handshakes(web=b"secret")
    reasons = set()
    for conn in range(20):
        answers = proved(door, conn, f"invented-{conn}:x")
        assert error(answers) == (2, 1)
        reasons |= {answer.reason for answer in answers if isinstance(answer, Reject)}
    assert reasons == {"no key of this id"}


# ---- an id belongs to a key ----

OWNERS = ["", "web:secret", "batch:other"]


def said(door: Handshakes, conn: int, key: str, **hello: Any) -> list[Do]:
    """The answer to a client that has this key, or none."""
    return proved(door, conn, key, **hello) if key else door.hello(conn, **hello)


@pytest.mark.parametrize("thief", OWNERS)
@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize(
    "state", ["connected", "away", "restarted", "its gap is being journaled", "without a table"]
)
def test_an_id_is_rejected_under_any_other_key_than_its_own(
    owner: str, thief: str, state: str
) -> None:
    keys = {"web": b"secret", "batch": b"other"}
    door = Handshakes(**keys)
    if state == "its gap is being journaled":
        (entry,) = said(door, 1, owner, first=15)
        assert isinstance(entry, Enter)
        (run,) = runs(memoryview(entry.run))
        assert run.stamp == Stamp(ME, 1, 1, wire.key_tag(owner.partition(":")[0]))
        door.sessions.entered(1, 500)
        door.ended(1)
    else:
        said(door, 1, owner)
    if state in ("away", "restarted"):
        door.ended(1, committed=5)
    if state == "restarted":
        door = Handshakes(restored(door.sessions.snapshot({}.get)), **keys)
    if state == "without a table":  # it had no room
        door.sessions.clients.forget(ME)

    answers = said(door, 2, thief, first=20, next_seq=1000, incarnation=9, acked_by=NODE)
    if state == "its gap is being journaled":
        assert answers == []
        answers = list(door.sessions.durable(500))
    if thief == owner:
        assert not any(isinstance(answer, Reject) for answer in answers)
        return
    assert [type(answer) for answer in answers] == [Reject, Dismiss], "nothing else happens"
    assert error(answers) == (3, 2)
    assert not any(ME.hex() in str(answer) for answer in answers)
    found = door.sessions.clients.get(ME)
    if found is not None:
        assert (found.incarnation, found.key) == (1, wire.key_tag(owner.partition(":")[0]))


def test_nothing_about_an_id_can_be_learned_without_its_key() -> None:
    """Known or not: without a proof the answers are the same."""
    answers = []
    for clients in (Clients(), known(41, 7, "web")):
        door = Handshakes(clients, web=b"secret")
        answers.append([proved(door, 1, "web:wrong"), proved(door, 2, "other:secret")])
    assert answers[0] == answers[1]


def test_the_binding_is_read_from_the_stamps_of_runs() -> None:
    tag = wire.key_tag("web")
    clients = Clients()
    clients.saw_run(run_of(ME, 1, 5, is_gap=False, key=tag), 7)
    assert error(Handshakes(clients).hello(1, next_seq=9)) == (3, 2)
    found = clients.get(ME)
    assert found is not None
    assert (found.key, found.committed) == (tag, 5)


def test_an_id_that_was_forgotten_may_come_back_under_another_key() -> None:
    door = Handshakes(web=b"secret")
    proved(door, 1, "web:secret")
    door.ended(1, committed=50, bye=True)
    (admitted,) = door.hello(2)
    assert isinstance(admitted, Admit)
    clients = Clients()  # what the journal then says of both
    clients.saw_run(run_of(ME, 1, 50, is_gap=False, key=wire.key_tag("web")), 7)
    clients.saw_run(run_of(ME, 1, 3, is_gap=False), 8)
    found = clients.get(ME)
    assert found is not None
    assert (found.committed, found.key) == (3, NO_KEY)


def test_no_key_can_push_out_the_clients_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_CLIENTS", 100)
    clients, few, many = Clients(), wire.key_tag("few"), wire.key_tag("many")
    for n in range(30):
        clients.saw(b"few%13d" % n, 1, 1, 1_000_000 + n, few)
    for n in range(500):
        clients.saw(b"many%12d" % n, 1, 1, 2_000_000 + n, many)
    assert clients.forget_old(3_000_000) == 430
    assert all(clients.get(b"few%13d" % n) for n in range(30))
    assert [n for n in range(500) if clients.get(b"many%12d" % n)] == list(range(430, 500))


def test_a_client_whose_secret_has_left_the_configuration_is_closed_after_a_reload() -> None:
    old = Handshakes(web=[b"secret", b"next"], batch=b"other")
    ids = [bytes([n]) * 16 for n in range(4)]
    for conn, key in enumerate(["web:secret", "web:next", "batch:other", ""]):
        said(old, conn, key, client=ids[conn])
    proofs = old.sessions.proofs()
    assert not any(secret in str(proofs) for secret in ("secret", "next", "other"))
    new = Handshakes(web=[b"next"])
    for conn, (client, key) in enumerate(zip(ids, ["web", "web", "batch", ""], strict=True)):
        new.sessions.taken(conn, client, wire.key_tag(key), proofs.get(client, b""))
    dismissed = list(new.sessions.revoke())
    assert [answer.conn for answer in dismissed if isinstance(answer, Dismiss)] == [0, 2]
    assert error(dismissed[:1]) == (2, 1)


# ---- clients that begin behind what we have ----


@pytest.mark.parametrize(
    ("acked_by", "reason"), [(NODE, wire.Reason.FORGOTTEN), (OTHER, wire.Reason.ELSEWHERE)]
)
def test_what_a_client_skips_is_journaled_before_it_is_admitted(
    acked_by: bytes, reason: int
) -> None:
    door = Handshakes(known(10))
    (entry,) = door.hello(1, first=15, next_seq=20, acked_by=acked_by)
    assert isinstance(entry, Enter)
    (run,) = runs(memoryview(entry.run))
    assert run.kind is Kind.GAP
    assert run.stamp == Stamp(ME, 1, 11)
    gap = wire.read_gap(run.body[4:])
    assert (gap.first, gap.last, gap.reason) == (11, 14, reason)
    door.sessions.entered(1, 500)
    assert list(door.sessions.durable(499)) == []
    (admitted,) = door.sessions.durable(500)
    assert isinstance(admitted, Admit)
    assert admitted.committed == 14


def test_hellos_while_that_is_journaled_are_welcomed_with_it() -> None:
    door = Handshakes(known(10))
    (entry,) = door.hello(1, first=15, next_seq=20, acked_by=NODE)
    assert isinstance(entry, Enter)
    door.sessions.entered(1, 500)
    door.ended(1)
    assert door.hello(2, first=15, next_seq=20, acked_by=NODE) == []
    (admitted,) = door.sessions.durable(500)
    assert isinstance(admitted, Admit)
    assert (admitted.conn, admitted.committed) == (2, 14)


def test_when_the_journal_takes_nothing_the_client_shall_come_again() -> None:
    door = Handshakes()
    door.hello(1, first=15)
    assert error(door.sessions.not_entered(1)) == (6, 0)


def test_what_was_journaled_for_a_client_that_has_left_is_remembered() -> None:
    door = Handshakes()
    door.hello(1, first=15)
    door.sessions.entered(1, 500)
    door.ended(1)
    assert list(door.sessions.durable(500)) == []
    (admitted,) = door.hello(2, first=10, next_seq=20)
    assert isinstance(admitted, Admit)
    assert admitted.committed == 14


# ---- what is remembered ----


def test_a_client_that_said_bye_is_forgotten() -> None:
    door = Handshakes()
    door.hello(1)
    door.ended(1, committed=5, bye=True)
    assert door.sessions.clients.get(ME) is None


def test_a_client_that_sent_nothing_is_forgotten() -> None:
    door = Handshakes()
    door.hello(1)
    door.ended(1, committed=0)
    assert len(door.sessions.clients) == 0


def test_who_stays_away_for_a_month_is_forgotten() -> None:
    door = Handshakes(known(5))
    door.passes(FORGET_AFTER - 1)
    assert len(restored(door.sessions.snapshot(lambda _: None))) == 1
    door.passes(2)
    assert len(restored(door.sessions.snapshot(lambda _: None))) == 0


def test_a_clock_that_jumps_by_months_forgets_nobody() -> None:
    door = Handshakes(known(5))
    for jump in (2 * FORGET_AFTER, -2 * FORGET_AFTER, 700 * FORGET_AFTER):
        door.now += jump
        assert len(restored(door.sessions.snapshot(lambda _: None))) == 1
        door.passes(TRIAL)  # it is believed again, and nobody was away for longer
        assert len(restored(door.sessions.snapshot(lambda _: None))) == 1
    door.passes(FORGET_AFTER)
    assert len(restored(door.sessions.snapshot(lambda _: None))) == 0


def test_a_clock_that_is_wrong_from_the_start_forgets_nobody_for_an_hour() -> None:
    door = Handshakes(known(5))
    door.now += 2 * FORGET_AFTER
    door = Handshakes(door.sessions.clients, at=door.now)
    assert len(restored(door.sessions.snapshot(lambda _: None))) == 1
    door.passes(TRIAL)
    assert len(restored(door.sessions.snapshot(lambda _: None))) == 0


def restored(content: bytes | None) -> Clients:
    assert content is not None
    clients = Clients()
    clients.load(content)
    return clients


def test_a_snapshot_holds_what_the_loop_has_committed() -> None:
    door = Handshakes(known(5))
    door.hello(9, first=6, incarnation=3)
    found = restored(door.sessions.snapshot({9: 77}.get)).get(ME)
    assert found is not None
    assert (found.committed, found.incarnation) == (77, 3)


def test_there_is_no_snapshot_while_a_client_is_unsettled() -> None:
    door = Handshakes()
    door.hello(9)
    assert door.sessions.snapshot(lambda _: None) is None


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
        key = wire.key_tag("web") if client[0] == ord("a") else NO_KEY
        parts.append(run_of(client, first, count, is_gap=is_gap, key=key))
    whole, before = Clients(), Clients()
    for run in parts:
        whole.saw_run(run, 7)
    for run in parts[:cut]:
        before.saw_run(run, 7)
    after = restored(before.dump())
    for run in parts[cut:]:
        after.saw_run(run, 7)
    assert after.dump() == whole.dump()
    assert {c: k.committed for c in at if (k := whole.get(c))} == at


def run_of(client: bytes, first: int, count: int, *, is_gap: bool, key: bytes = NO_KEY) -> Run:
    stamp = Stamp(client, 1, first, key)
    frames = [os.urandom(5)] * count
    if is_gap:
        frames = [wire.make_gap(wire.Gap(first, first + count - 1, 1, 0, 0))]
    made = make_run(Kind.GAP if is_gap else Kind.BATCH, frames, peer="p", stamp=stamp)
    (run,) = runs(memoryview(made))
    return run
