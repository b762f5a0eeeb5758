"""The journal stays within its size, and releases segments that every sink has stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from conditions import wait_for
from journal_blocks import KIB, payloads, read_all, run_of

from fastlog.journal import (
    Full,
    Journal,
    JournalReader,
    SinkPosition,
    SkippedError,
    Snapshot,
    read_positions,
    read_snapshot,
    write_position,
)
from fastlog.journal.segment import segments


def test_the_journal_stops_at_its_size_and_continues_when_segments_are_released(
    directory: Path,
) -> None:
    journal = Journal(directory, segment=16 * KIB, size=64 * KIB, delay=0)
    appended = 0
    while journal.append(run_of(bytes(KIB)), 1) is None:
        appended += 1
        wait_for(lambda: journal.durable == journal.end)
    assert 50 < appended < 64
    assert journal.append(run_of(b"x"), 1) is None  # a small block still fits
    assert journal.append(run_of(bytes(KIB)), 1) is Full.SIZE
    before = len(segments(directory))
    journal.release(by_all=0, by_holding=0)
    assert journal.append(run_of(bytes(KIB)), 1) is Full.SIZE
    wait_for(lambda: journal.durable == journal.end)
    journal.release(by_all=journal.durable, by_holding=journal.durable)
    assert journal.append(run_of(bytes(KIB)), 1) is None
    journal.close()
    assert before > 3
    assert len(segments(directory)) == 1


def test_a_journal_that_is_full_of_released_blocks_is_not_full(directory: Path) -> None:
    """It has one segment, as large as the limit, or larger after the limit was lowered."""
    journal = Journal(directory)
    journal.append(run_of(bytes(100 * KIB)), 1)
    journal.close()
    smaller = Journal(directory, segment=16 * KIB, size=64 * KIB, delay=0)
    assert smaller.append(run_of(b"x"), 1) is Full.SIZE
    smaller.release(by_all=smaller.durable, by_holding=smaller.durable)
    assert smaller.append(run_of(bytes(200 * KIB)), 1) is None
    wait_for(lambda: smaller.durable == smaller.end)
    assert smaller.append(run_of(b"x"), 1) is Full.SIZE
    smaller.release(by_all=smaller.durable, by_holding=smaller.durable)
    assert smaller.append(run_of(b"x"), 1) is None
    smaller.close()
    assert payloads(read_all(directory, segments(directory)[-1].start)) == [b"x"]


def test_loss_notices_fit_into_a_full_journal(directory: Path) -> None:
    journal = Journal(directory, segment=16 * KIB, size=64 * KIB)
    while journal.append(run_of(bytes(KIB)), 1) is None:
        pass
    assert journal.append(run_of(bytes(KIB)), 1, over_size=True) is None
    journal.close()


def test_a_burst_is_split_into_segments_of_the_configured_size(directory: Path) -> None:
    journal = Journal(directory, segment=16 * KIB, size=1 << 20)
    for _ in range(100):
        journal.append(run_of(bytes(KIB)), 1)
    journal.close()
    assert all(segment.path.stat().st_size < 18 * KIB for segment in segments(directory))


def test_a_sink_that_may_not_hold_the_journal_loses_segments_only_when_it_is_nearly_full(
    directory: Path,
) -> None:
    journal = Journal(directory, segment=16 * KIB, size=96 * KIB, delay=0)
    for _ in range(40):
        journal.append(run_of(bytes(KIB)), 1)
        wait_for(lambda: journal.durable == journal.end)
    journal.release(by_all=0, by_holding=journal.durable)
    assert journal.oldest == 0
    while journal.append(run_of(bytes(KIB)), 1) is None:
        wait_for(lambda: journal.durable == journal.end)
    journal.release(by_all=0, by_holding=journal.durable)
    assert journal.oldest > 0
    wait_for(lambda: not (directory / f"{0:020}.seg").exists(), "the segment is deleted")
    reader = JournalReader(directory)
    with pytest.raises(SkippedError) as skipped:
        reader.read(0)
    assert skipped.value.oldest == journal.oldest
    assert skipped.value.index == reader.read(journal.oldest)[0].index > 0
    reader.close()
    journal.close()


def test_no_segment_is_deleted_before_its_snapshot_is_made(directory: Path) -> None:
    journal = Journal(directory, segment=16 * KIB, size=1 << 20, delay=0)
    for _ in range(40):
        journal.append(run_of(bytes(KIB)), 1)
        wait_for(lambda: journal.durable == journal.end)
    journal.release(journal.durable, journal.durable, lambda: None)
    assert journal.oldest == 0
    journal.release(journal.durable, journal.durable, lambda: Snapshot(20 * KIB, b"table"))
    assert 0 < journal.oldest <= 20 * KIB
    wait_for(lambda: not (directory / f"{0:020}.seg").exists())
    assert read_snapshot(directory) == Snapshot(20 * KIB, b"table")
    journal.close()


def test_sink_positions_of_another_journal_are_ignored(filled: Path) -> None:
    write_position(
        filled.parent,
        "sqlite",
        SinkPosition(node="other", cursor=0, durable=1 << 40, index=1, at=0.0),
    )
    Journal(filled).close()


def test_sink_positions_are_read_by_name(tmp_path: Path) -> None:
    position = SinkPosition(node="n", cursor=3, durable=2, index=1, at=1.5, error="down")
    write_position(tmp_path, "ndjson-2", position)
    (tmp_path / "positions" / "torn.json").write_text('{"cur')
    assert read_positions(tmp_path) == {"ndjson-2": position}
