"""The handshake with keys: a client proves its own, and an id belongs to one key."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from handshakes import ME, NODE, NONCE, Harness, error, known, restored, run_of
from protocol_client import CHALLENGE

from fastlog.block import NO_KEY, Stamp, runs
from fastlog.core import Proof
from fastlog.protocol import client_table
from fastlog.protocol.client_table import Clients
from fastlog.protocol.frames import key_tag
from fastlog.protocol.handshake_actions import (
    Admit,
    Close,
    CountRejection,
    HandshakeAction,
    JournalGap,
    SendFrame,
)


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


# An id belongs to a key

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
