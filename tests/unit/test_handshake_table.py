"""The table of clients: what it forgets, and its snapshots."""

from __future__ import annotations

from handshakes import ME, Harness, known, restored, run_of
from hypothesis import given
from hypothesis import strategies as st

from fastlog.block import NO_KEY, Run
from fastlog.clock import TRIAL
from fastlog.protocol.client_table import FORGET_AFTER, Clients
from fastlog.protocol.frames import key_tag


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
