"""A sink and damaged day files: the current one is set aside, and what it had is stored again."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from builders import MONDAY, NODE, Fuse, in_child, messages_of
from day_file_damage import OLD, VALUES, WAYS, change, overwrite, write_days
from sqlite_sinks import make, make_days, stored, three_days, work

from fastlog.errors import SinkUnavailableError
from fastlog.sinks import day_cursor, day_directory, day_file


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Write healthy files and one that is damaged in this way; return the name of the way."""
    name: str = request.param
    write_days(tmp_path / "logs", name)
    return name


def test_an_older_file_that_is_damaged_does_not_stop_the_sink(
    tmp_path: Path, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    logs = tmp_path / "logs"
    before = {path.name for path in logs.iterdir()}
    chain = three_days()[2:]
    sink = make(tmp_path)
    # The cursor is in a healthy file already, as it is when an older one is damaged.
    healthy = day_file.DayFile(logs / "2026-11-22.db")
    healthy.enter(NODE, 0, 1)
    healthy.close()
    work(sink, chain)
    sink.close()
    sink = make(tmp_path)
    work(sink, chain)
    sink.close()

    assert {*before, "2026-11-22.db", "2026-11-23.db"} == {path.name for path in logs.iterdir()}
    everything = messages_of(chain)
    assert [text for text in stored(logs, but=OLD) if "x" in text] == everything
    named = [record.message for record in caplog.records if OLD in record.message]
    if way not in ("empty", *VALUES):
        assert len(named) == 2, "once by each of the two"


@pytest.mark.parametrize(
    "name", [way for way in WAYS if " schema" not in way and way not in VALUES]
)
def test_the_current_file_that_is_damaged_is_set_aside_and_what_it_had_is_stored_again(
    tmp_path: Path, name: str
) -> None:
    chain = three_days()
    logs = tmp_path / "logs"
    sink = make(tmp_path)
    work(sink, chain[:5])
    sink.close()
    damage, _ = WAYS[name]
    current = logs / "2026-11-23.db"
    damage(current)
    damaged = current.read_bytes() if current.is_file() and not current.is_symlink() else b""

    sink = make(tmp_path)
    cursor = sink.open(NODE)

    assert cursor == chain[3].block.end, "where the previous file was sealed"
    assert sink.index() == chain[4].block.index
    assert sink.missing()
    work(sink, chain)
    assert stored(logs) == messages_of(chain)
    if name != "empty":
        aside = logs / "2026-11-23.db.damaged"
        assert os.path.lexists(aside)
        assert not damaged or aside.read_bytes() == damaged


def test_damage_of_an_open_file_is_found_twice_before_it_is_set_aside(tmp_path: Path) -> None:
    chain = three_days()
    logs = tmp_path / "logs"
    sink = make(tmp_path)
    work(sink, chain[:5])
    sink.close()  # so that nothing is in the write-ahead log
    sink.open(NODE)
    current = logs / "2026-11-23.db"
    with closing(sqlite3.connect(current)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entries'")
        page = root.fetchone()[0]
    overwrite(current, (page - 1) * day_file.PAGE, bytes(day_file.PAGE))

    assert work(sink, chain) == 2
    names = {path.name for path in logs.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    assert names == {OLD, "2026-11-22.db", "2026-11-23.db", "2026-11-23.db.damaged"}
    assert stored(logs) == messages_of(chain)


@pytest.mark.parametrize("what", ["sealed = 5", "sealed = 'x'", "offset = 'x'", "step = -1"])
def test_an_impossible_cursor_is_damage(tmp_path: Path, what: str) -> None:
    chain = three_days()
    sink = make(tmp_path)
    work(sink, chain[:5])
    sink.close()
    change(tmp_path / "logs" / "2026-11-23.db", f"UPDATE cursor SET {what}")
    work(make(tmp_path), chain)
    assert stored(tmp_path / "logs") == messages_of(chain)
    assert (tmp_path / "logs" / "2026-11-23.db.damaged").exists()


def test_a_file_that_was_set_aside_is_never_overwritten_and_keeps_its_log(tmp_path: Path) -> None:
    logs = tmp_path
    name = day_directory.DayFileName(day_directory.day_of(int(MONDAY * 1e6)))
    for number in range(3):
        (logs / "2026-11-23.db").write_bytes(f"damaged {number}".encode() * 1000)
        (logs / "2026-11-23.db-wal").write_bytes(f"log {number}".encode())
        day_directory.DayDirectory(logs, 1).set_aside(name)
    names = ["2026-11-23.db.damaged", "2026-11-23.db.1.damaged", "2026-11-23.db.2.damaged"]
    assert [(logs / name).read_bytes()[:9] for name in names] == [
        f"damaged {n}".encode() for n in range(3)
    ]
    assert [(logs / f"{name}-wal").read_bytes() for name in names] == [b"log 0", b"log 1", b"log 2"]


def test_killed_at_any_step_of_setting_a_file_aside_it_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each statement and each renaming, from the opening on."""
    chain = make_days(-1, 0, 0, 1)
    begun = tmp_path / "begun"
    sink = make(begun)
    work(sink, chain[:3])
    sink.close()
    change(begun / "logs" / "2026-11-23.db", "DROP TABLE cursor")
    connect, rename = sqlite3.connect, Path.rename

    def run_sink(data_dir: Path, fuse: Fuse) -> None:
        def fused(*args: object, **kwargs: object) -> sqlite3.Connection:
            connection = connect(*args, **kwargs)  # type: ignore[arg-type]
            connection.set_trace_callback(lambda _: fuse.spark())
            return connection

        def renamed(path: Path, target: Path) -> Path:
            fuse.spark()
            rename(path, target)
            fuse.spark()
            return target

        with monkeypatch.context() as patched:
            patched.setattr(day_file.sqlite3, "connect", fused)
            patched.setattr(Path, "rename", renamed)
            work(make(data_dir), chain)

    length, died = 0, True
    while died:
        data_dir = tmp_path / str(length)
        shutil.copytree(begun, data_dir)
        died = in_child(lambda d=data_dir, n=length: run_sink(d, Fuse(n))) == signal.SIGKILL
        work(make(data_dir), chain)
        assert stored(data_dir / "logs") == messages_of(chain), f"killed at step {length}"
        assert (data_dir / "logs" / "2026-11-23.db.damaged").exists()
        length += 6
    assert length > 60


def test_all_files_damaged_the_sink_begins_at_the_start_of_the_journal(tmp_path: Path) -> None:
    chain = three_days()
    sink = make(tmp_path)
    work(sink, chain)
    sink.close()
    for path in (tmp_path / "logs").glob("*.db"):
        path.write_bytes(os.urandom(9000))
    work(make(tmp_path), chain)
    assert stored(tmp_path / "logs") == messages_of(chain)


def test_nothing_is_stored_twice_when_a_sealed_file_was_deleted(tmp_path: Path) -> None:
    """The clock was set back, retention deleted a sealed file, and the current file is damaged in
    its tables of the cursor, so that readers could still read its records."""
    chain = make_days(0, -2, 1, 1)
    logs = tmp_path / "logs"
    sink = make(tmp_path)
    work(sink, chain)
    sink.close()
    (logs / "2026-11-21.db").unlink()
    change(logs / "2026-11-24.db", "DROP TABLE cursor")

    work(make(tmp_path), chain)
    assert stored(logs) == messages_of(chain)
    assert (logs / "2026-11-24.db.damaged").exists()


@pytest.mark.parametrize("name", ["2026-11-23.db", "2026-11-22.db"])
def test_a_file_that_cannot_be_read_now_is_an_error_only_if_it_may_hold_the_cursor(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_cursor, "BUSY_TIMEOUT", 0.01)
    chain = three_days()
    sink = make(tmp_path)
    work(sink, chain[:5])
    sink.close()
    with closing(sqlite3.connect(tmp_path / "logs" / name, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE meta SET value = 1 WHERE key = 'synced'")
        if name == "2026-11-23.db":
            with pytest.raises(SinkUnavailableError, match="locked"):
                make(tmp_path).open(NODE)
        else:
            assert make(tmp_path).open(NODE) == chain[4].block.end
        other.execute("ROLLBACK")
    work(make(tmp_path), chain)
    assert not list((tmp_path / "logs").glob("*.damaged"))
