"""The journal publishes only what is durable, and continues after failures of the disk."""

from __future__ import annotations

import errno
import os
import struct
import time
from pathlib import Path

import pytest
from conditions import wait_for
from journal_blocks import KIB, payloads, read_all, run_of

from fastlog.journal import Full, Journal, JournalReader, segment_writer
from fastlog.journal.segment import segments


def test_blocks_are_read_in_order_with_their_ordinals(directory: Path) -> None:
    journal = Journal(directory, clock=lambda: 1_700_000_000.25)
    journal.append(run_of(b"a", b"b"), 2)
    journal.append(run_of(b"c"), 1)
    wait_for(lambda: journal.durable == journal.end)
    found = read_all(directory)
    journal.close()
    assert payloads(found) == [b"a", b"b", b"c"]
    assert [(b.index, b.frames, b.received) for b in found] == [
        (0, 2, 1_700_000_000.25),
        (2, 1, 1_700_000_000.25),
    ]


def test_one_block_is_read_however_few_bytes_are_wanted(filled: Path) -> None:
    reader = JournalReader(filled)
    first = reader.read(0)[0]
    for max_bytes in (1, 50, len(first.payload)):
        [block] = reader.read(0, max_bytes)
        assert (block.offset, block.end, block.index) == (first.offset, first.end, first.index)
    reader.close()


def test_a_reader_sees_nothing_that_is_not_durable(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(directory)
    journal.append(run_of(b"first"), 1)
    wait_for(lambda: journal.durable == journal.end)
    monkeypatch.setattr(os, "fdatasync", _always_fails)
    journal.append(run_of(b"second"), 1)
    wait_for(lambda: journal.failure)
    assert payloads(read_all(directory)) == [b"first"]
    monkeypatch.undo()
    wait_for(lambda: journal.durable == journal.end)
    assert payloads(read_all(directory)) == [b"first", b"second"]
    journal.close()


def _always_fails(_: int) -> None:
    raise OSError(errno.EIO, "injected")


def test_after_a_failed_sync_the_blocks_go_into_a_new_segment(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(directory)
    journal.append(run_of(b"first"), 1)
    wait_for(lambda: journal.durable == journal.end)
    durable = journal.durable
    monkeypatch.setattr(os, "fdatasync", _always_fails)
    journal.append(run_of(b"second"), 1)
    wait_for(lambda: journal.failure)
    monkeypatch.undo()
    wait_for(lambda: journal.durable == journal.end)
    journal.close()
    assert [s.start for s in segments(directory)] == [0, durable]
    reopened = Journal(directory)
    reopened.append(run_of(b"third"), 1)
    reopened.close()
    assert payloads(read_all(directory)) == [b"first", b"second", b"third"]


def test_nothing_is_lost_while_the_disk_is_full(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = os.pwritev, []

    def write_20_bytes(fd: int, buffers: list[bytes], offset: int) -> int:
        if len(failures) < 2:
            failures.append(offset)
            return os.pwrite(fd, b"".join(buffers)[:20], offset)
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "pwritev", write_20_bytes)
    journal = Journal(directory)
    journal.append(run_of(b"one"), 1)
    journal.append(run_of(b"two"), 1)
    wait_for(lambda: journal.failure)
    wait_for(lambda: journal.durable == journal.end)
    assert journal.failure is None
    journal.close()
    assert payloads(read_all(directory)) == [b"one", b"two"]


def test_memory_is_bounded_while_the_disk_fails(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(directory, memory=64 * KIB)
    monkeypatch.setattr(os, "fdatasync", _always_fails)
    answers = [journal.append(run_of(bytes(10 * KIB)), 1) for _ in range(10)]
    assert answers[:6] == [None] * 6
    assert answers[6:] == [Full.MEMORY] * 4
    monkeypatch.undo()
    journal.close()
    assert len(payloads(read_all(directory))) == 6


def test_the_receive_time_is_the_wall_clocks_even_when_that_goes_back(directory: Path) -> None:
    times = iter([1000.0, 900.0, 1001.0])
    journal = Journal(directory, clock=lambda: next(times))
    for _ in range(3):
        journal.append(run_of(b"x"), 1)
    journal.close()
    assert [b.received for b in read_all(directory)] == [1000.0, 900.0, 1001.0]
    reopened = Journal(directory, clock=lambda: 5.0)
    reopened.append(run_of(b"x"), 1)
    reopened.close()
    assert read_all(directory)[-1].received == 5.0


def test_a_journal_continues_where_it_ended(filled: Path) -> None:
    before = read_all(filled)
    journal = Journal(filled, segment=8 * KIB)
    assert (journal.end, journal.index) == (before[-1].end, 85)
    journal.append(run_of(b"next"), 1)
    journal.close()
    after = read_all(filled)
    assert payloads(after) == [*payloads(before), b"next"]
    assert after[-1].index == 85


def test_many_bytes_are_synced_before_the_delay_is_over_and_few_are_not(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    real = os.fdatasync

    def counted(fd: int) -> None:
        syncs.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", counted)
    monkeypatch.setattr(segment_writer, "SLOW_SYNC", 3600)  # for disks of any speed
    journal = Journal(directory, delay=3600)
    block = run_of(bytes(256 * KIB))
    for _ in range(160):  # 40 MiB
        assert journal.append(block, 1) is None
    wait_for(lambda: journal.end - journal.durable < 8 << 20)
    assert 1 <= len(syncs) <= 5
    assert journal.close() == []


def test_after_a_pause_a_small_block_is_synced_at_once(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(directory, delay=3600)
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 2 * 3600)  # a pause
    assert journal.append(run_of(b"little"), 1) is None
    wait_for(lambda: journal.durable == journal.end)
    assert journal.close() == []


def test_a_bug_in_the_thread_is_reported(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(directory)

    def bug(*_: object) -> int:
        raise struct.error("a bug")

    monkeypatch.setattr(os, "pwritev", bug)
    journal.append(run_of(b"x"), 1)
    wait_for(lambda: journal.crash)
    assert isinstance(journal.crash, struct.error)
