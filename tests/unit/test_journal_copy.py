"""The copy of a journal that is written to, and whose segments are deleted meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from journal_blocks import KIB, run_of

from fastlog.errors import FastlogError
from fastlog.journal import Journal, JournalReader, Snapshot, read_snapshot
from fastlog.journal.segment import segments
from fastlog.transfer.catch_up import publish_durable
from fastlog.transfer.journal_copy import JournalCopy


@pytest.fixture
def journal(directory: Path) -> Iterator[Journal]:
    journal = Journal(directory, segment=8 * KIB, size=1 << 20, delay=0)
    yield journal
    journal.close()


def append(journal: Journal, numbers: range) -> None:
    for number in numbers:
        assert journal.append(run_of(b"%03d" % number * 95), 1) is None
        if number % 5 == 4:
            assert journal.flush(30)
    assert journal.flush(30)


def release(journal: Journal, offset: int) -> None:
    """Delete the segments before an offset, as when all sinks have stored them."""
    journal.release(offset, offset, lambda: Snapshot(offset, b"table".ljust(48)))
    assert journal.flush(30)


def read(directory: Path, offset: int) -> list[bytes]:
    reader, found = JournalReader(directory), []
    try:
        while blocks := reader.read(offset):
            found += [bytes(block.payload) for block in blocks]
            offset = blocks[-1].end
    finally:
        reader.close()
    return found


def test_segments_that_are_deleted_meanwhile_are_in_the_copy(
    journal: Journal, directory: Path, tmp_path: Path
) -> None:
    append(journal, range(60))
    expected = read(directory, 0)
    with JournalCopy(directory) as copy:
        release(journal, journal.durable)
        assert len(segments(directory)) == 1
        append(journal, range(60, 110))
        copy.hold()
        release(journal, journal.durable)
        assert len(segments(directory)) == 1
        end = copy.durable()
        copy.write(tmp_path / "copy", 0, end)
    publish_durable(tmp_path / "copy", end)
    found = read(tmp_path / "copy", 0)
    assert found[:60] == expected
    assert len(found) == 110
    assert read_snapshot(tmp_path / "copy") is None  # as it was when the copy began


def test_only_what_is_needed_is_copied(journal: Journal, directory: Path, tmp_path: Path) -> None:
    append(journal, range(100))
    half = segments(directory)[2].start
    release(journal, half)
    with JournalCopy(directory) as copy:
        end = copy.durable()
        copy.write(tmp_path / "copy", end, end)
    snapshot = read_snapshot(tmp_path / "copy")
    assert snapshot is not None and snapshot.offset == half
    assert segments(tmp_path / "copy")[0].start == half


def test_a_segment_that_was_missed_is_an_error(
    journal: Journal, directory: Path, tmp_path: Path
) -> None:
    append(journal, range(20))
    with JournalCopy(directory) as copy:
        append(journal, range(20, 100))
        release(journal, journal.durable)
        with pytest.raises(FastlogError, match="cannot be copied; repeat the backup"):
            copy.write(tmp_path / "copy", 0, copy.durable())


def test_what_is_not_durable_is_not_copied(
    journal: Journal, directory: Path, tmp_path: Path
) -> None:
    append(journal, range(30))
    with JournalCopy(directory) as copy:
        end = copy.durable()
        append(journal, range(30, 40))
        copy.write(tmp_path / "copy", 0, end)
    publish_durable(tmp_path / "copy", end)
    wait_for(lambda: len(read(tmp_path / "copy", 0)) == 30)
    assert sum(s.path.stat().st_size for s in segments(tmp_path / "copy")) == end
