"""The sqlite sink deletes the files that its retention names, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import DAY, MONDAY, NODE, Clock, make_chain, numbered
from sqlite_stores import files, make_sink

from fastlog.clock import TRIAL
from fastlog.config import RetentionConfig
from fastlog.errors import SinkUnavailableError
from fastlog.sinks.day_directory import DayDirectory
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

    def full(path: Path, node: str) -> None:
        raise SinkUnavailableError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("fastlog.sinks.sqlite.read_cursor", full)
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
