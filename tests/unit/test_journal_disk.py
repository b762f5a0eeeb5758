"""The disk of the journal: what stays free on it, what is released when it is full, and the log."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import Clock
from conditions import wait_for
from journal_blocks import KIB, payloads, read_all, run_of

from fastlog.journal import Journal
from fastlog.journal.disk import PARTS, RESERVE, RESERVED_PARTS, SETTLED, Disk, segment_size
from fastlog.journal.segment import segments

MIB = 1 << 20


class FakeDisk:
    """What `statvfs` says of the disk, besides what the journal has taken."""

    def __init__(self, size: int, free: int) -> None:
        self.size, self.free = size, free

    def statvfs(self, path: object) -> SimpleNamespace:
        return SimpleNamespace(f_blocks=self.size, f_bavail=self.free, f_frsize=1)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDisk]:
    fake = FakeDisk(1 << 40, 1 << 39)
    monkeypatch.setattr(os, "statvfs", fake.statvfs)
    yield fake


def test_segments_are_a_quarter_of_the_journal_and_a_part_of_the_disk(
    disk: FakeDisk, tmp_path: Path
) -> None:
    assert segment_size(tmp_path, 64 * MIB, 1024 * MIB) == 64 * MIB
    assert segment_size(tmp_path, 64 * MIB, 128 * MIB) == 32 * MIB
    disk.size = 160 * MIB
    assert segment_size(tmp_path, 64 * MIB, 1024 * MIB) == 160 * MIB // PARTS
    disk.size = 1
    assert segment_size(tmp_path, 64 * MIB, 1024 * MIB) == 64 * KIB
    disk.size = 0  # a file system that does not know
    assert segment_size(tmp_path, 64 * MIB, 1024 * MIB) == 64 * MIB


def test_a_write_leaves_space_to_the_sinks_as_far_as_they_need_it(
    disk: FakeDisk, tmp_path: Path
) -> None:
    own = Disk(tmp_path, segment_size=40 * MIB, consequence="")
    disk.free = 110 * MIB
    assert own.room(unstored=1 << 30) == 30 * MIB, "two segments stay free"
    disk.free = 50 * MIB
    assert own.room(unstored=1 << 30) <= 0
    assert own.room(unstored=50 * MIB) <= 0
    assert own.room(unstored=0) == 25 * MIB, "a half: it will be needed once more"
    disk.size = 320 * MIB
    assert own.room(unstored=1 << 30) == 50 * MIB - 320 * MIB // RESERVED_PARTS
    small = Disk(tmp_path, segment_size=1, consequence="")
    disk.size, disk.free = 1 << 40, 100 * MIB
    assert small.room(unstored=1 << 30) == 100 * MIB - RESERVE


def test_a_full_disk_is_one_line_and_its_end_another_however_often_it_is_full(
    disk: FakeDisk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(100.0)
    own = Disk(tmp_path, 40 * MIB, "records wait", clock)
    disk.free = MIB
    full = OSError(errno.ENOSPC, "No space left on device")
    for _ in range(5):
        own.failed("write", full)
        assert (own.failure, own.is_full) == ("cannot write: disk full", True)
        clock.now += SETTLED / 2
        own.worked()
        own.report()
        assert (own.failure, own.is_full) == (None, False)
    assert [record.getMessage() for record in caplog.records] == [
        f"journal {tmp_path}: cannot write: disk full: 1 MiB are free, and 80 MiB must be left for "
        "the sinks; make room for 79 MiB or more; records wait"
    ]
    clock.now += SETTLED
    own.report()
    own.report()
    assert [record.getMessage() for record in caplog.records[1:]] == [
        f"journal {tmp_path}: the disk takes blocks again, after 20 s"
    ]
    own.failed("sync", OSError(errno.EIO, "Input/output error"))
    assert (own.failure, own.is_full) == ("cannot sync: Input/output error", False)
    assert "[Errno 5] Input/output error; records wait" in caplog.records[-1].getMessage()


def test_a_journal_that_ends_says_that_its_disk_works_again(
    disk: FakeDisk, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one, as after a reload, does not know that it was full."""
    journal = Journal(directory, delay=0)
    disk.free = 0
    journal.append(run_of(b"waiting"), 1)
    wait_for(lambda: journal.failure)
    disk.free = MIB
    wait_for(lambda: journal.durable == journal.end)
    assert journal.close() == []
    assert "the disk takes blocks again, after" in caplog.records[-1].getMessage()


@pytest.mark.parametrize("skips", [False, True], ids=["all stored", "another sink skips"])
def test_an_open_segment_that_is_stored_is_freed_while_the_disk_is_full(
    disk: FakeDisk, directory: Path, skips: bool
) -> None:
    journal = Journal(directory, delay=0)
    journal.append(run_of(bytes(100 * KIB)), 1)
    wait_for(lambda: journal.durable == journal.end)
    stored = journal.durable
    disk.free = 0
    journal.append(run_of(b"waiting"), 1)
    wait_for(lambda: journal.failure == "cannot write: disk full")
    journal.release(stored - 1, stored - 1)
    assert len(segments(directory)) == 1, "a byte of it is not stored"

    def is_deleted() -> bool:
        # As the receiver does once a second.
        journal.release(by_all=0 if skips else stored, by_holding=stored)
        return not (directory / f"{0:020}.seg").exists()

    wait_for(is_deleted)
    assert journal.failure
    disk.free = MIB
    wait_for(lambda: journal.durable == journal.end)
    assert journal.failure is None
    journal.close()
    assert payloads(read_all(directory, stored)) == [b"waiting"]


def test_on_a_full_disk_sinks_that_may_not_hold_the_journal_skip_one_segment_at_a_time(
    disk: FakeDisk, directory: Path
) -> None:
    journal = Journal(directory, segment=64 * KIB, size=64 * MIB, delay=0)
    for _ in range(8):
        journal.append(run_of(bytes(40 * KIB)), 1)
        wait_for(lambda: journal.durable == journal.end)
    durable, before = journal.durable, journal.oldest
    journal.release(by_all=0, by_holding=durable)
    assert journal.oldest == before == 0, "there is space"
    disk.free = 0
    journal.append(run_of(b"waiting"), 1)
    wait_for(lambda: journal.failure)
    for _ in range(2):
        journal.release(by_all=0, by_holding=durable)
        assert before < journal.oldest <= before + 128 * KIB
        before = journal.oldest
    disk.free = 1 << 39
    journal.close()
