"""Damaged day files, and other files with such a name: the rest is read and written."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from builders import (
    DAY,
    MONDAY,
    NODE,
    Fuse,
    in_child,
    make_chain,
    make_context,
    messages_of,
    rest_of,
)
from conditions import wait_for
from day_files import START, make_record, write_day, write_old_day
from senders import stock_frame
from servers import Server

from fastlog.cli import fastlog
from fastlog.cli.command import run
from fastlog.decode import Decoded
from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.query import COLUMNS, Filters, parse_condition
from fastlog.search import Unread, follow, newest
from fastlog.search.clauses import clauses
from fastlog.search.rows import COLUMN_LIST
from fastlog.sinks import day_directory, day_file, day_schema
from fastlog.sinks.day_chunks import MinuteBounds
from fastlog.sinks.day_migration import migrate
from fastlog.sinks.sqlite import SqliteSink

OLD = "2026-11-20.db"
HEALTHY = ["message 0", "message 1", "message 2"]


# ---- ways to damage a file, and the messages about it ------------------------------------------


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def truncate(path: Path, size: int) -> None:
    os.truncate(path, size)
    os.utime(path, (START, START))


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def replace_by_other_database(path: Path) -> None:
    path.unlink()
    change(path, "CREATE TABLE x (y)")


WAYS: dict[str, tuple[Callable[[Path], object], str]] = {
    "random bytes": (lambda p: p.write_bytes(os.urandom(20_000)), "is not a database"),
    "text": (lambda p: p.write_text("no database" * 1000), "is not a database"),
    "cut in half": (lambda p: truncate(p, p.stat().st_size // 2 // 4096 * 4096), "malformed"),
    "zeroed": (
        lambda p: overwrite(p, 4096, bytes(p.stat().st_size - 4096)),
        "malformed",
    ),
    "empty": (lambda p: truncate(p, 0), "is empty"),
    "a directory": (replace_by_directory, "is not a file"),
    "a fifo": (replace_by_fifo, "is not a file"),
    "a link to nothing": (replace_by_link, "unable to open"),
    "another database": (replace_by_other_database, "not one of fastlog's"),
    "a newer schema": (
        lambda p: change(p, "UPDATE meta SET value = 4 WHERE key = 'schema'"),
        "has schema version 4, and this fastlog reads versions up to 3: upgrade fastlog-server",
    ),
    "no number as schema": (
        lambda p: change(p, "UPDATE meta SET value = 'x' WHERE key = 'schema'"),
        "schema version 'x'",
    ),
    "a column less": (
        lambda p: change(p, "ALTER TABLE processes RENAME COLUMN taskName TO task"),
        "processes lacks taskName",
    ),
    "a table less": (lambda p: change(p, "DROP TABLE sites"), "sites lacks filename, funcName, id"),
    "a view of less": (
        lambda p: change(p, "DROP VIEW records", "CREATE VIEW records AS SELECT * FROM entries"),
        "records lacks filename, funcName, host",
    ),
    "a time that is no number": (
        lambda p: change(p, "UPDATE entries SET created = 'x'"),
        "is no number",
    ),
    "a text that is none": (
        lambda p: change(p, "UPDATE entries SET message = x'ff'"),
        "message of a record is of type bytes",
    ),
}


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_it(*args: object) -> Result:
        words = [*map(str, args), "--data-dir", str(tmp_path)]
        code = run(fastlog, "fastlog", words)
        return Result(code, *capsys.readouterr())

    return run_it


VALUES = ("a time that is no number", "a text that is none")
"""Ways that only a reader of the records can notice."""
NOTICED = [way for way in WAYS if way != "a text that is none"]
"""Ways that are noticed without reading a message."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Write healthy files and one that is damaged in this way; return the name of the way."""
    logs = tmp_path / "logs"
    write_day(logs / "2026-11-19.db", [make_record(0)])
    write_day(logs / OLD, [make_record(n, message="x" * 2000) for n in range(10, 40)])
    write_day(logs / "2026-11-21.db", [make_record(1), make_record(2)])
    name: str = request.param
    WAYS[name][0](logs / OLD)
    return name


def test_readers_read_the_healthy_files_and_report_the_damaged_one(
    command: Run, way: str, tmp_path: Path
) -> None:
    what = WAYS[way][1]
    for words in (["query"], ["query", "--since", "@0"], ["tail"], ["query", "--limit", "0"]):
        result = command(*words, "--json")
        found = [msgspec.json.decode(line) for line in result.out.splitlines()]
        assert [record["message"] for record in found] == HEALTHY, words
        assert result.code == 3
        [line] = result.err.splitlines()
        assert str(tmp_path / "logs" / OLD) in line
        assert line.endswith("; some or all of its records are left out")
        assert what in line


@pytest.mark.parametrize("way", NOTICED, indirect=True)
def test_stats_counts_the_healthy_files_and_reports_the_damaged_one(
    command: Run, way: str, tmp_path: Path
) -> None:
    result = command("stats", "--json")
    tree = msgspec.json.decode(result.out)
    assert (result.code, tree["records"], len(result.err.splitlines())) == (3, 3, 1)
    assert list(tree["unread"]) == [str(tmp_path / "logs" / OLD)]


@pytest.mark.parametrize("way", NOTICED, indirect=True)
def test_check_reports_the_damaged_file(command: Run, way: str, tmp_path: Path) -> None:
    result = command("check")
    [line] = [line for line in result.out.splitlines() if OLD in line]
    assert line.startswith(f"FAILED  day file {tmp_path}/logs/{OLD}: ")
    assert result.code == 1
    assert any(
        line.startswith("ok") and f"2 day files in {tmp_path}" in line
        for line in result.out.splitlines()
    )


def test_check_finds_damage_inside_a_file_when_it_reads_all(command: Run, tmp_path: Path) -> None:
    path = tmp_path / "logs" / OLD
    write_day(path, [make_record(n, message="x" * 3000) for n in range(300)])
    assert "ok      1 day files" in command("check", "--deep").out
    overwrite(path, path.stat().st_size // 2 // 4096 * 4096, bytes(4096))

    assert command("check").code == 0
    result = command("check", "--deep")
    assert (result.code, "FAILED" in result.out) == (1, True)
    [line] = [line for line in result.out.splitlines() if OLD in line]
    assert "damaged" in line
    # A reader prints the records before the damage, and reports that some are left out.
    found = command("query", "--limit", "0", "--json")
    assert found.code == 3
    assert 50 < len(found.out.splitlines()) < 300
    assert len(found.err.splitlines()) == 1


def test_a_file_that_is_being_created_is_not_reported(command: Run, tmp_path: Path) -> None:
    write_day(tmp_path / "logs" / OLD, [make_record(0)])
    (tmp_path / "logs" / "2026-11-21.db").touch()
    assert command("query")[::2] == (0, "")


def test_following_continues_beside_a_damaged_file_and_in_its_replacement(
    tmp_path: Path,
) -> None:
    path = tmp_path / OLD
    write_day(path, [make_record(0), make_record(1)])
    lines: list[str] = []
    unread = Unread(lines.append)
    _, position = newest(tmp_path, Filters(), 0, unread)

    def damage() -> None:
        path.unlink()
        path.write_bytes(b"x" * 8192)

    def replace() -> None:
        path.rename(path.with_name(f"{OLD}.damaged"))
        write_day(path, [make_record(2)])

    steps = iter([damage, lambda: None, replace, lambda: None])
    seen: list[str] = []
    stop = RuntimeError()

    def pause(_: float) -> None:
        step = next(steps, None)
        if step is None:
            raise stop
        step()

    with pytest.raises(RuntimeError):
        for batch in follow(tmp_path, Filters(), position, pause, unread):
            seen += [found.record.message for found in batch]
    assert seen == ["message 2"]
    assert len(lines) == 1


# ---- the sink ----------------------------------------------------------------------------------


def make(data_dir: Path) -> SqliteSink:
    return SqliteSink(make_context(data_dir, "sqlite:"))


def stored(logs: Path, but: str = "") -> list[str]:
    """Return the messages in all day files but one, in the order of the journal."""
    found: list[tuple[int, int, str]] = []
    for path in logs.glob("*.db"):
        if path.name != but:
            with closing(sqlite3.connect(path)) as connection:
                found += connection.execute("SELECT offset, idx, message FROM records")
    return [message for _, _, message in sorted(found)]


def three_days() -> list[Decoded]:
    """Return two blocks each of Friday the 20th, of Sunday and of Monday."""
    return make_days(-3, -3, -1, -1, 0, 0)


def make_days(*when: int) -> list[Decoded]:
    """Return a block for each of these days, counted from Monday."""
    return make_chain(
        ([f"{n}.{k}" + "x" * 500 for k in range(30)], MONDAY + day * DAY)
        for n, day in enumerate(when)
    )


def work(sink: SqliteSink, chain: list[Decoded]) -> int:
    """Apply the chain as a worker does; return how often the sink raised an error."""
    rejections, opened = 0, False
    while rejections < 10:
        try:
            if not opened:
                sink.open(NODE)
            opened = True
            todo = rest_of(chain, sink.cursor())
            if not todo:
                sink.sync()
                return rejections
            sink.apply(todo[:1])
        except SinkConflictError:
            opened, rejections = False, rejections + 1
        except SinkUnavailableError:
            rejections += 1
    raise AssertionError("the sink does not recover")


def test_an_older_file_that_is_damaged_does_not_stop_the_sink(
    tmp_path: Path, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    logs = tmp_path / "logs"
    before = {path.name for path in logs.iterdir()}
    chain = three_days()[2:]
    sink = make(tmp_path)
    # The cursor is in a healthy file already, as it is when an older one is damaged.
    healthy = day_file.DayFile(logs / "2026-11-22.db", NODE)
    healthy.enter(0, 1)
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


QUERY_AS_ANOTHER_USER = """
import os, sys
import fastlog.cli.query  # now: the other user may not read the interpreter's files
from fastlog.cli import fastlog
from fastlog.cli.command import run
if os.geteuid() == 0:  # root may read everything
    os.setuid(65534)
sys.exit(run(fastlog, "fastlog", ["query", "--json", "--data-dir", sys.argv[1]]))
"""


def test_a_file_without_read_permission_is_reported_as_the_others_are() -> None:
    with tempfile.TemporaryDirectory() as name:  # only its owner can enter tmp_path
        logs = Path(name) / "logs"
        write_day(logs / OLD, [make_record(1)])
        write_day(logs / "2026-11-21.db", [make_record(2)])
        (logs / OLD).chmod(0)
        (logs / "2026-11-21.db").chmod(0o644)
        Path(name).chmod(0o755)
        logs.chmod(0o755)
        command = [sys.executable, "-c", QUERY_AS_ANOTHER_USER, name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert [msgspec.json.decode(line)["message"] for line in done.stdout.splitlines()] == [
        "message 2"
    ]
    assert done.stderr == (
        f"fastlog query: {logs / OLD} cannot be read (unable to open database file); "
        "some or all of its records are left out\n"
    )
    assert done.returncode == 3


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
    monkeypatch.setattr(day_file, "_BUSY_TIMEOUT", 0.01)
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


def test_the_current_file_of_a_newer_version_is_rejected_with_one_line(tmp_path: Path) -> None:
    chain = three_days()
    sink = make(tmp_path)
    work(sink, chain[:5])
    sink.close()
    current = tmp_path / "logs" / "2026-11-23.db"
    change(current, "UPDATE meta SET value = 4 WHERE key = 'schema'")
    before = current.read_bytes()

    with pytest.raises(SinkUnavailableError) as caught:
        make(tmp_path).open(NODE)
    assert str(caught.value) == (
        f"{current} has schema version 4, and this fastlog reads versions up to 3: "
        "upgrade fastlog-server, or move the file away"
    )
    assert current.read_bytes() == before


# ---- older versions ----------------------------------------------------------------------------


def make_version_1(logs: Path, chain: list[Decoded]) -> None:
    """Friday, Sunday and Monday as version 1 stored them, all but the last block."""
    logs.mkdir()
    names = [OLD, "2026-11-22.db", "2026-11-23.db"]
    for at, name in enumerate(names):
        blocks = chain[2 * at : min(2 * at + 2, 5)]
        write_old_day(logs / name, [r for b in blocks for r in b.records], NODE, version=1)
        successor = (*names, None)[at + 1]
        change(
            logs / name,
            f"INSERT INTO cursor VALUES ('{NODE}', {blocks[-1].block.end}, "
            f"{'NULL' if at == 2 else repr(successor)})",
        )


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [(version,)] = connection.execute("SELECT value FROM meta WHERE key = 'schema'")
    assert isinstance(version, int)
    return version


def test_files_of_version_1_are_read_as_they_are_and_the_current_one_is_migrated(
    tmp_path: Path, command: Run
) -> None:
    chain = three_days()
    logs = tmp_path / "logs"
    make_version_1(logs, chain)
    assert command("query", "--limit", "0")[::2] == (0, "")
    assert version_of(logs / "2026-11-23.db") == 1

    assert work(make(tmp_path), chain) == 0

    versions = [version_of(logs / name) for name in (OLD, "2026-11-22.db", "2026-11-23.db")]
    assert versions == [1, 1, day_schema.VERSION]
    with closing(sqlite3.connect(logs / "2026-11-23.db")) as connection:
        cursor = connection.execute("SELECT offset, sealed, step, frames FROM cursor").fetchone()
    assert cursor == (chain[-1].block.end, None, 0, chain[-1].block.index + 30)
    result = command("query", "--limit", "0", "--json")
    assert len(result.out.splitlines()) == len(messages_of(chain))
    # The cursor then moves on from there, to the next day and back.
    longer = make_days(-3, -3, -1, -1, 0, 0, 1, 0, -1)
    assert work(make(tmp_path), longer) == 0
    assert stored(logs) == messages_of(longer)
    assert version_of(logs / "2026-11-22.db") == day_schema.VERSION


def test_a_migration_that_is_interrupted_anywhere_changes_nothing_and_is_done_later(
    tmp_path: Path,
) -> None:
    chain = three_days()
    logs = tmp_path / "logs"
    make_version_1(logs, chain)
    current = logs / "2026-11-23.db"

    class StopHere(BaseException):
        pass

    class Interrupted(sqlite3.Connection):
        left = 0

        def execute(self, *args: object) -> sqlite3.Cursor:
            Interrupted.left -= 1
            if Interrupted.left < 0 and args[0] != "ROLLBACK":
                raise StopHere
            return super().execute(*args)  # type: ignore[arg-type]

    before = stored(logs)
    bounds = MinuteBounds(0, 0)
    versions = set()
    for length in range(1, 100):
        with closing(sqlite3.connect(current, isolation_level=None, factory=Interrupted)) as file:
            Interrupted.left = length
            try:
                migrate(file, version_of(current), bounds)
            except StopHere:
                versions.add(version_of(current))
                assert stored(logs) == before
            else:
                break
    assert 20 < length < 99
    assert versions == {1, 2}
    assert version_of(current) == day_schema.VERSION
    assert work(make(tmp_path), chain) == 0


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_is_missing_is_an_error_and_never_its_own_name(column: str) -> None:
    """SQLite takes a `"name"` that no column has for a text."""
    rest = ", ".join(f"[{name}]" for name in COLUMNS if name != column)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE records ({rest})")
        filters = Filters(where=(parse_condition(f"{column}=1", START),))
        [condition] = clauses(filters)
        for sql, parameters in (
            (f"SELECT {COLUMN_LIST} FROM records", ()),
            (f"SELECT 1 FROM records WHERE {condition.sql}", condition.parameters),
        ):
            with pytest.raises(sqlite3.OperationalError, match="no such column"):
                connection.execute(sql, parameters)


# ---- a real server ----------------------------------------------------------------------------


def send(server: Server, first: int, count: int) -> None:
    payload = "x" * 900
    with server.connect() as client:
        for number in range(first, first + count):
            client.sendall(stock_frame(f"{number} {payload}"))


@pytest.mark.parametrize("name", ["random bytes", "cut in half", "zeroed"])
def test_a_server_continues_without_its_damaged_file_and_counts_the_lost_records(
    tmp_path: Path, name: str
) -> None:
    # Segments are released once a second: there is room for all that is sent meanwhile.
    config = '[journal]\nsize = "2MiB"\nsegment = "64KiB"\n'
    server = Server(tmp_path, config=config)
    with server:
        for at in range(0, 600, 100):
            send(server, at, 100)
            server.wait_stored(at + 100)
        wait_for(lambda: server.status().get("oldest", 0) > 0, "a segment was released")
        assert server.stop() == 0
        [current] = server.logs.glob("*.db")
        WAYS[name][0](current)
        server.start()
        send(server, 600, 20)
        aside = current.with_name(f"{current.name}.damaged")
        wait_for(lambda: 619 in numbers(server), "the last record is stored")
        found = numbers(server)
        assert found == list(range(found[0], 620)), "the journal's rest is stored again, once"
        assert aside.exists()
        [loss] = server.losses()
        assert loss["reason"] == "stored, then gone: a day file was damaged or removed"
        assert loss["count"] == -1
        assert aside.name in loss["detail"]
        assert "journal offsets 0 to " in loss["detail"]


def numbers(server: Server) -> list[int]:
    try:
        return [int(row["message"].split()[0]) for row in server.records()]
    except sqlite3.DatabaseError:
        return []  # the damaged one is not set aside yet
