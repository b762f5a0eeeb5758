"""The handshake of clients that skip sequence numbers."""

from __future__ import annotations

import pytest
from handshakes import ME, NODE, OTHER, Harness, error, known

from fastlog.block import Kind, Stamp, runs
from fastlog.protocol.frames import GapReason, read_gap
from fastlog.protocol.handshake_actions import Admit, JournalGap


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
