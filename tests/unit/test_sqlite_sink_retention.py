"""The sqlite sink deletes the files that its retention names, and no others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import DAY, MONDAY, NODE, Clock, make_chain, numbered
from sqlite_stores import files, make_sink

from fastlog.clock import TRIAL
from fastlog.config import RetentionConfig
from fastlog.errors import SinkUnavailableError
from fastlog.sinks.day_directory import DayDirectory
from fastlog.sinks.day_retention import DayRetention
from fastlog.sinks.sqlite import SqliteSink


def test_retention_makes_room_also_while_the_files_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = make_chain([(["old"], MONDAY), (["new"], MONDAY + 9 * DAY)])
    context = {"clock": lambda: MONDAY + 9 * DAY, "retention": RetentionConfig(size=1)}
    sink = make_sink(tmp_path, **context)
    sink.open(NODE)
    sink.apply(chain)
    sink.close()
    assert len(files(tmp_path)) == 2

    def full(path: Path) -> None:
        raise SinkUnavailableError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("fastlog.sinks.cursor_rows.read_cursors", full)
        with pytest.raises(SinkUnavailableError, match="full"):
            make_sink(tmp_path, **context).open(NODE)
    assert files(tmp_path) == ["2026-12-02.db"]
    assert make_sink(tmp_path, **context).open(NODE) == chain[-1].block.end


def ten_days(data_dir: Path, clock: Clock, retention: RetentionConfig) -> SqliteSink:
    sink = make_sink(data_dir, clock=clock, steady=clock, retention=retention)
    sink.open(NODE)
    for decoded in numbered(10, step=DAY):
        clock.now = decoded.block.received
        sink.apply([decoded])
    clock.now = MONDAY + 10 * DAY
    return sink


def test_files_older_than_the_retention_are_deleted(tmp_path: Path) -> None:
    clock = Clock()
    sink = ten_days(tmp_path, clock, RetentionConfig(age=3 * DAY))
    sink.tick()
    # The age of a file counts from the end of its day: three full days and the current one stay.
    assert files(tmp_path) == ["2026-11-29.db", "2026-11-30.db", "2026-12-01.db", "2026-12-02.db"]

    clock.now += 1000 * DAY
    sink.tick()
    assert files(tmp_path) == ["2026-12-02.db"], "the newest is never deleted"


def test_the_oldest_files_are_deleted_while_all_are_too_big(tmp_path: Path) -> None:
    ten_days(tmp_path, Clock(), RetentionConfig()).close()
    directory = DayDirectory(tmp_path / "logs", 1)
    total = sum(directory.size(name) for name in directory.names()[-3:])

    sink = make_sink(tmp_path, retention=RetentionConfig(size=total))
    cursor = sink.open(NODE)
    sink.tick()

    assert files(tmp_path) == ["2026-11-30.db", "2026-12-01.db", "2026-12-02.db"]
    assert make_sink(tmp_path).open(NODE) == cursor


def test_retention_keeps_the_file_that_is_written_though_it_is_not_the_newest(
    tmp_path: Path,
) -> None:
    """The clock was wrong by years, a new journal was begun, and now the clock is right."""
    wrong = make_sink(tmp_path)
    wrong.open("ff" * 16)
    wrong.apply(numbered(1, start=MONDAY + 3650 * DAY))
    wrong.close()
    clock = Clock(MONDAY + 100 * DAY)
    sink = make_sink(
        tmp_path, clock=clock, steady=clock, retention=RetentionConfig(age=1.0, size=1)
    )
    sink.open(NODE)
    chain = numbered(2)
    sink.apply(chain[:1])
    clock.now += TRIAL
    sink.tick()
    sink.apply(chain[1:])

    assert files(tmp_path)[0] == "2026-11-23.db"
    assert make_sink(tmp_path).open(NODE) == chain[-1].block.end


def test_files_that_an_interrupted_deletion_left_are_deleted(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("2026-11-01.db-wal", "2026-11-01.db-shm", "notes.db-wal", "readme"):
        (logs / name).touch()
    make_sink(tmp_path).open(NODE)

    assert sorted(path.name for path in logs.iterdir()) == ["notes.db-wal", "readme"]


def test_the_oldest_files_are_deleted_while_too_little_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fastlog.sinks")
    clock = Clock()
    ten_days(tmp_path, clock, RetentionConfig()).close()
    disk = FakeDisk(monkeypatch, tmp_path / "logs", size=1 << 20)
    oldest = disk.used_by("2026-11-23.db")
    sink = make_sink(
        tmp_path,
        clock=clock,
        steady=clock,
        retention=RetentionConfig(keep_free=disk.free() + oldest + 1),
    )
    sink.open(NODE)
    sink.tick()
    assert files(tmp_path)[0] == "2026-11-25.db", "two files are needed, and no more"
    sink.tick()
    assert files(tmp_path)[0] == "2026-11-25.db"
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "sink sqlite: retention: deleted" in lines[0]
    assert "of the disk were free" in lines[0]


def test_a_reader_that_keeps_a_deleted_file_does_not_cost_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    ten_days(tmp_path, clock, RetentionConfig()).close()
    disk = FakeDisk(monkeypatch, tmp_path / "logs", size=1 << 20)
    keep_free = RetentionConfig(keep_free=disk.free() + 1)
    sink = make_sink(tmp_path, clock=clock, steady=clock, retention=keep_free)
    sink.open(NODE)
    disk.held["2026-11-23.db"] = disk.used_by("2026-11-23.db")
    for _ in range(100):
        sink.tick()
        clock.now += 1
    assert files(tmp_path)[0] == "2026-11-24.db"
    disk.held.clear()
    sink.tick()
    assert files(tmp_path)[0] == "2026-11-24.db"
    disk.others = 1 << 22  # other programs fill the disk
    sink.tick()
    assert files(tmp_path) == ["2026-12-02.db"]


def test_a_limit_of_free_space_that_cannot_be_reached_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    ten_days(tmp_path, clock, RetentionConfig()).close()
    FakeDisk(monkeypatch, tmp_path / "logs", size=1 << 20)
    keep_free = RetentionConfig(keep_free=1 << 21)
    sink = make_sink(tmp_path, clock=clock, steady=clock, retention=keep_free)
    sink.open(NODE)
    for _ in range(5):
        sink.tick()
    assert files(tmp_path) == ["2026-12-02.db"]
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "sink sqlite: retention: keep_free is 2 MiB, but" in warnings[0]


class FakeDisk:
    """What `statvfs` says of the day files: a disk of `size` bytes that they and others use."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, logs: Path, size: int) -> None:
        self._logs, self._size = logs, size
        self.others = 0
        self.held: dict[str, int] = {}
        """Files that a process keeps open, with their sizes: deleted, they still need the space."""
        monkeypatch.setattr(
            "fastlog.sinks.day_retention.os.statvfs",
            lambda path: SimpleNamespace(f_bavail=self.free(), f_frsize=1),
        )

    def used_by(self, name: str) -> int:
        return sum(path.stat().st_size for path in self._logs.glob(f"{name}*"))

    def free(self) -> int:
        held = sum(size for name, size in self.held.items() if not (self._logs / name).exists())
        return self._size - self.used_by("") - self.others - held


def test_a_preview_lists_what_would_be_deleted_and_deletes_nothing(tmp_path: Path) -> None:
    ten_days(tmp_path, Clock(), RetentionConfig()).close()
    before = files(tmp_path)
    directory = DayDirectory(tmp_path / "logs", 1)

    def preview(**limits: float) -> list[str]:
        retention = DayRetention("sqlite", directory, RetentionConfig(**limits))  # type: ignore[arg-type]
        return [deletion.file.path.name for deletion in retention.preview()]

    assert preview(age=1e9) == []
    assert preview(size=1, age=1e9) == before[:-1]
    assert preview(keep_free=1 << 60, age=1e9) == before[:-1]
    assert files(tmp_path) == before
    empty = DayRetention("sqlite", DayDirectory(tmp_path / "none", 1), RetentionConfig(size=1))
    assert empty.preview() == []
