"""The sqlite sink: exactly once, with crashes, other workers, midnights and full files."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from builders import (
    DAY,
    MONDAY,
    NODE,
    Clock,
    Fuse,
    in_child,
    make_chain,
    make_context,
    make_decoded,
    make_record,
    messages_of,
    numbered,
    rest_of,
)
from columns import with_records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlog.clock import TRIAL
from fastlog.config import RetentionConfig
from fastlog.errors import ConfigError, SinkConflictError, SinkUnavailableError
from fastlog.record import Record
from fastlog.sinks import day_file, day_rows
from fastlog.sinks.day_directory import DayDirectory, DayFileName, day_of, parse_name
from fastlog.sinks.sqlite import SqliteSink


def make(data_dir: Path, *, limit: int = 1 << 30, **context: object) -> SqliteSink:
    return SqliteSink(make_context(data_dir, "sqlite:", **context), file_limit=limit)


def files(data_dir: Path) -> list[str]:
    return sorted(path.name for path in (data_dir / "logs").glob("*.db"))


def rows(data_dir: Path, column: str = "message") -> list[object]:
    """Return one column of all rows of all files, in the order of the journal."""
    found: list[tuple[object, ...]] = []
    for name in files(data_dir):
        with closing(sqlite3.connect(data_dir / "logs" / name)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                found += connection.execute(f"SELECT offset, idx, {column} FROM records")
    return [row[2] for row in sorted(found, key=lambda row: row[:2])]


def value(data_dir: Path, name: str, sql: str) -> object:
    with closing(sqlite3.connect(data_dir / "logs" / name)) as connection:
        return connection.execute(sql).fetchone()


def test_every_field_is_stored_as_it_is(tmp_path: Path) -> None:
    decoded = make_decoded(["one"])
    record = make_record(
        "ä\n語",
        levelno=-(2**63),
        thread=2**63 - 1,
        lineno=None,
        received=decoded.block.received,
        extra='{"a":[1,{"b":null}]}',
        idx=3,
    )
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply([with_records(decoded, [record])])
    columns = ", ".join(Record._fields)

    stored = value(tmp_path, "2026-11-23.db", f"SELECT {columns} FROM records")

    assert stored == tuple(record)
    assert rows(tmp_path, "node") == [NODE]


ROWS = day_rows.ROWS


@pytest.mark.parametrize(
    "sizes", [[ROWS - 1], [ROWS], [ROWS + 1], [3 * ROWS + 5], [1, ROWS, 7], [0, 2 * ROWS], [0]]
)
def test_records_keep_their_order_with_any_number_in_a_statement(
    tmp_path: Path, sizes: list[int]
) -> None:
    chain = make_chain(
        ([f"{block}.{n}" for n in range(size)], MONDAY) for block, size in enumerate(sizes)
    )
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain)

    assert rows(tmp_path) == messages_of(chain)
    assert rows(tmp_path, "idx") == [record.idx for each in chain for record in each.records]
    assert set(rows(tmp_path, "node")) <= {NODE}


def test_a_rejected_row_among_many_stores_none_of_them(tmp_path: Path) -> None:
    decoded = make_decoded([str(n) for n in range(2 * ROWS)])
    odd = [*decoded.records]
    odd[ROWS + 3] = odd[ROWS + 3]._replace(thread=2**63)
    sink = make(tmp_path)
    sink.open(NODE)

    with pytest.raises(OverflowError):
        sink.apply([with_records(decoded, odd)])

    assert rows(tmp_path) == []
    assert list(sink.offending(with_records(decoded, odd))) == [ROWS + 3]


def test_a_new_sink_starts_at_zero_and_an_old_one_at_its_cursor(tmp_path: Path) -> None:
    chain = numbered(4)
    sink = make(tmp_path)
    assert sink.open(NODE) == 0
    sink.apply(chain[:2])
    sink.apply(chain[2:])
    assert sink.cursor() == chain[-1].block.end
    sink.close()

    assert make(tmp_path).open(NODE) == chain[-1].block.end
    assert make(tmp_path).open("ff" * 16) == 0
    assert rows(tmp_path) == messages_of(chain)


def test_a_block_that_is_stored_already_is_a_conflict(tmp_path: Path) -> None:
    chain = numbered(2)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain)

    with pytest.raises(SinkConflictError):
        sink.apply(chain[1:])
    assert rows(tmp_path) == messages_of(chain)


def test_a_block_goes_whole_into_the_day_of_its_stamp(tmp_path: Path) -> None:
    chain = make_chain(
        [
            (["last of monday", "too"], MONDAY + DAY - 1e-6),
            (["first of tuesday"], MONDAY + DAY),
            (["thursday"], MONDAY + 3 * DAY + 5),
        ]
    )
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain)

    assert files(tmp_path) == ["2026-11-23.db", "2026-11-24.db", "2026-11-26.db"]
    assert value(tmp_path, "2026-11-23.db", "SELECT count(*) FROM records") == (2,)
    assert value(tmp_path, "2026-11-23.db", "SELECT sealed FROM cursor") == ("2026-11-24.db",)
    assert value(tmp_path, "2026-11-26.db", "SELECT offset, sealed FROM cursor") == (
        chain[-1].block.end,
        None,
    )
    assert rows(tmp_path) == messages_of(chain)


def test_a_file_states_its_smallest_and_largest_created(tmp_path: Path) -> None:
    decoded = make_decoded(["a", "b", "c"])
    times = [MONDAY - 100.0, MONDAY + 7.5, MONDAY + 1.0]
    records = [r._replace(created=t) for r, t in zip(decoded.records, times, strict=True)]
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply([with_records(decoded, records)])
    sink.apply([make_decoded(["d"], offset=decoded.block.end)])

    with closing(sqlite3.connect(tmp_path / "logs" / "2026-11-23.db")) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
    assert (meta["min_created"], meta["max_created"]) == (MONDAY - 100.0, MONDAY + 7.5)


def test_a_stamp_of_an_earlier_day_goes_into_the_file_of_that_day(tmp_path: Path) -> None:
    """The clock was ahead, then right, then set back a little: the cursor moves both ways."""
    days = [0, 1, 0, 5000, 0, 1, -1, 1]
    chain = make_chain([([f"{n}"], MONDAY + day * DAY) for n, day in enumerate(days)])
    sink = make(tmp_path)
    sink.open(NODE)
    for decoded in chain:
        sink.apply([decoded])
        assert make(tmp_path).open(NODE) == decoded.block.end

    assert files(tmp_path) == ["2026-11-22.db", "2026-11-23.db", "2026-11-24.db", "2040-08-01.db"]
    assert rows(tmp_path) == messages_of(chain)
    monday = value(tmp_path, "2026-11-23.db", "SELECT group_concat(message) FROM records")
    assert monday == ("0,2,4",)
    where = value(tmp_path, "2026-11-24.db", "SELECT offset, sealed, step, frames FROM cursor")
    assert where == (chain[-1].block.end, None, 8, 8)


def test_past_its_limit_a_day_continues_in_another_file(tmp_path: Path) -> None:
    chain = numbered(5, per_block=200)
    sink = make(tmp_path, limit=100_000)
    sink.open(NODE)
    for decoded in chain:
        sink.apply([decoded])
    sink.close()

    assert files(tmp_path)[:2] == ["2026-11-23.1.db", "2026-11-23.2.db"]
    assert rows(tmp_path) == messages_of(chain)
    assert make(tmp_path, limit=100_000).open(NODE) == chain[-1].block.end


def test_two_workers_apply_each_block_once(tmp_path: Path) -> None:
    chain = numbered(3)
    slow, fast = make(tmp_path), make(tmp_path)
    slow.open(NODE)
    fast.open(NODE)
    fast.apply(chain[:2])

    with pytest.raises(SinkConflictError):
        slow.apply(chain[:1])
    slow.apply(rest_of(chain, slow.open(NODE)))

    assert rows(tmp_path) == messages_of(chain)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=st.lists(st.sampled_from(["a", "b", "reopen a", "reopen b", "sync a"]), max_size=30))
def test_two_workers_in_any_order_store_every_block_once(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str]
) -> None:
    """They have different limits, so that they would choose different files."""
    data_dir = tmp_path_factory.mktemp("workers")
    days = (0, 0.5, 1, 0.6, 0, 1.4, 2, 0.3)  # the clock is set back now and then
    messages = ([f"{block}.{n}" for n in range(40)] for block in range(len(days)))
    chain = make_chain(zip(messages, (MONDAY + day * DAY for day in days), strict=True))
    sinks = {"a": make(data_dir, limit=1), "b": make(data_dir, limit=60_000)}
    for sink in sinks.values():
        sink.open(NODE)

    def work(name: str) -> None:
        todo = rest_of(chain, sinks[name].cursor())
        try:
            sinks[name].apply(todo[:1]) if todo else sinks[name].sync()
        except SinkConflictError:
            sinks[name].open(NODE)

    for each in actions:
        action, _, name = each.rpartition(" ")
        if action == "reopen":
            sinks[name].open(NODE)
        elif action == "sync" and sinks[name].cursor():
            ignore_conflict(sinks[name].sync)
        else:
            work(name)
    deadline = 0
    while rest_of(chain, max(sink.cursor() for sink in sinks.values())) and deadline < 100:
        work("a")
        deadline += 1

    assert rows(data_dir) == messages_of(chain)
    for sink in sinks.values():
        sink.close()


def ignore_conflict(work: Callable[[], object]) -> None:
    with suppress(SinkConflictError):
        work()


def test_the_cursor_of_a_file_decides_between_two_workers(tmp_path: Path) -> None:
    """Only the transactions keep the two apart here."""
    chain = numbered(3)
    slow, fast = (day_file.DayFile(tmp_path / "2026-11-23.db", NODE) for _ in range(2))
    slow.enter(0, 1)
    fast.enter(0, 1)
    end = fast.append(chain[:1], 0)
    for late in (
        lambda: slow.append(chain[:1], 0),
        lambda: slow.seal(0, 1, "x", MONDAY),
        lambda: slow.enter(0, 1),
    ):
        with pytest.raises(SinkConflictError):
            late()
    fast.seal(end, 1, "2026-11-23.1.db", MONDAY)
    for late in (
        lambda: slow.append(chain[1:], end),
        lambda: slow.seal(end, 1, "2026-11-23.2.db", MONDAY),
        lambda: slow.enter(end, 1),
    ):
        with pytest.raises(SinkConflictError):
            late()

    with closing(sqlite3.connect(tmp_path / "2026-11-23.db")) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (3,)
        cursor = connection.execute("SELECT offset, sealed FROM cursor").fetchall()
    assert cursor == [(end, "2026-11-23.1.db")]
    slow.enter(end, 3)  # the cursor returns, from a file that it entered meanwhile
    with pytest.raises(SinkConflictError):
        fast.seal(end, 1, "2026-11-23.1.db", MONDAY)
    assert slow.append(chain[1:2], end) == chain[1].block.end
    slow.close()
    fast.close()


def test_a_late_worker_cannot_write_to_the_sealed_file_of_the_day_before(tmp_path: Path) -> None:
    chain = make_chain([(["monday"], MONDAY), (["tuesday"], MONDAY + DAY)])
    stale, fresh = make(tmp_path), make(tmp_path)
    stale.open(NODE)
    stale.apply(chain[:1])
    fresh.open(NODE)
    fresh.apply(chain[1:])

    # The same block, but with a stamp of Monday, so that the stale worker chooses the old file.
    late = chain[1]._replace(block=replace(chain[1].block, received_us=int(MONDAY * 1e6)))
    with pytest.raises(SinkConflictError):
        stale.apply([late])

    assert rows(tmp_path) == messages_of(chain)


@pytest.mark.parametrize("batch", [1, 2])
def test_killed_before_every_third_to_fifth_statement_it_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Two days and a file past its limit: every step of storing, sealing, entering, syncing."""
    chain = numbered(5, per_block=30, step=DAY / 2)
    connect = sqlite3.connect

    def run_sink(data_dir: Path, fuse: Fuse | None) -> None:
        def fused(*args: object, **kwargs: object) -> sqlite3.Connection:
            connection = connect(*args, **kwargs)  # type: ignore[arg-type]
            if fuse is not None:
                connection.set_trace_callback(lambda _: fuse.spark())
            return connection

        with monkeypatch.context() as patched:
            patched.setattr(day_file.sqlite3, "connect", fused)
            sink = make(data_dir, limit=50_000)
            todo = rest_of(chain, sink.open(NODE))
            for start in range(0, len(todo), batch):
                sink.apply(todo[start : start + batch])
                sink.sync()
            sink.close()

    length, died = 0, True
    while died:
        data_dir = tmp_path / str(length)
        died = in_child(lambda d=data_dir, n=length: run_sink(d, Fuse(n))) == signal.SIGKILL
        run_sink(data_dir, None)
        assert rows(data_dir) == messages_of(chain), f"killed at statement {length}"
        length += 5 if length > 40 else 3
    assert length > 60


def test_after_a_crash_between_seal_and_entry_the_file_that_the_seal_names_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = make_chain([(["monday"], MONDAY), (["tuesday"], MONDAY + DAY)])

    def broken(self: object, offset: int, step: int, frames: int | None) -> None:
        raise SinkUnavailableError("power cut")

    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    with monkeypatch.context() as patched:
        patched.setattr(day_file.DayFile, "enter", broken)
        with pytest.raises(SinkUnavailableError):
            sink.apply(chain[1:])
    assert value(tmp_path, "2026-11-23.db", "SELECT sealed FROM cursor") == ("2026-11-24.db",)

    sink.apply(chain[1:])
    assert rows(tmp_path) == messages_of(chain)


def test_retention_makes_room_also_while_the_files_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = make_chain([(["old"], MONDAY), (["new"], MONDAY + 9 * DAY)])
    context = {"clock": lambda: MONDAY + 9 * DAY, "retention": RetentionConfig(size=1)}
    sink = make(tmp_path, **context)
    sink.open(NODE)
    sink.apply(chain)
    sink.close()
    assert len(files(tmp_path)) == 2

    def full(path: Path, node: str) -> None:
        raise SinkUnavailableError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("fastlog.sinks.sqlite.read_cursor", full)
        with pytest.raises(SinkUnavailableError, match="full"):
            make(tmp_path, **context).open(NODE)
    assert files(tmp_path) == ["2026-12-02.db"]
    assert make(tmp_path, **context).open(NODE) == chain[-1].block.end


def test_a_failed_transaction_leaves_neither_rows_nor_cursor(tmp_path: Path) -> None:
    chain = numbered(2)
    bad = with_records(chain[1], [*chain[1].records, make_record("x", thread=2**63)])
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])

    with pytest.raises(OverflowError):
        sink.apply([bad])

    assert sink.cursor() == chain[0].block.end
    assert rows(tmp_path) == messages_of(chain[:1])
    sink.apply(chain[1:])
    assert rows(tmp_path) == messages_of(chain)


def test_offending_rows_are_returned_and_nothing_is_stored(tmp_path: Path) -> None:
    decoded = make_decoded(["good", "bad", "worse"])
    records = [
        decoded.records[0],
        decoded.records[1]._replace(process=2**64),
        decoded.records[2]._replace(message="\ud800"),
    ]
    sink = make(tmp_path)
    sink.open(NODE)

    reasons = sink.offending(with_records(decoded, records))

    assert list(reasons) == [1, 2]
    assert "OverflowError" in reasons[1]
    assert rows(tmp_path) == []


def test_a_locked_file_is_unavailable_and_used_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_file, "_BUSY_TIMEOUT", 0.01)
    chain = numbered(2)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])

    with closing(sqlite3.connect(tmp_path / "logs" / "2026-11-23.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SinkUnavailableError, match="locked"):
            sink.apply(chain[1:])
        other.execute("ROLLBACK")
    sink.apply(chain[1:])

    assert rows(tmp_path) == messages_of(chain)


def test_a_full_disk_is_unavailable_and_used_later(tmp_path: Path) -> None:
    chain = numbered(3, per_block=500)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    connection = sink._file.connection
    connection.execute("PRAGMA max_page_count = 1")  # no page more than there are

    with pytest.raises(SinkUnavailableError, match="full"):
        sink.apply(chain[1:])
    sink.apply(chain[1:])  # it opened the file again, which has room now

    assert rows(tmp_path) == messages_of(chain)


def test_sync_commits_something_even_where_nothing_is_new(tmp_path: Path) -> None:
    """A commit that changes no page syncs no log, so earlier commits would not be durable."""
    sink = make(tmp_path)
    assert sink.open(NODE) == sink.sync() == 0
    chain = numbered(1)
    sink.apply(chain)
    log = tmp_path / "logs" / "2026-11-23.db-wal"

    for _ in range(2):
        size = log.stat().st_size
        assert sink.sync() == chain[-1].block.end
        assert log.stat().st_size > size


def test_a_long_reader_does_not_stop_the_writer(tmp_path: Path) -> None:
    chain = numbered(40, per_block=50)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])

    with closing(sqlite3.connect(tmp_path / "logs" / "2026-11-23.db")) as reader:
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM records").fetchone()
        for decoded in chain[1:]:
            sink.apply([decoded])
        assert sink.sync() == chain[-1].block.end
        assert reader.execute("SELECT count(*) FROM records").fetchone() == seen

    assert rows(tmp_path) == messages_of(chain)


def test_files_that_are_removed_while_open_are_noticed_and_filled_again(
    tmp_path: Path,
) -> None:
    chain = numbered(2)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain)
    for path in (tmp_path / "logs").iterdir():
        path.unlink()

    with pytest.raises(SinkUnavailableError, match="removed"):
        sink.sync()
    with pytest.raises(SinkConflictError):
        sink.sync()
    assert sink.open(NODE) == 0
    assert sink.missing() == "a day file was removed, emptied or replaced"
    sink.apply(chain)
    assert rows(tmp_path) == messages_of(chain)


def ten_days(data_dir: Path, clock: Clock, retention: RetentionConfig) -> SqliteSink:
    sink = make(data_dir, clock=clock, steady=clock, retention=retention)
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

    sink = make(tmp_path, retention=RetentionConfig(size=total))
    cursor = sink.open(NODE)
    sink.tick()

    assert files(tmp_path) == ["2026-11-30.db", "2026-12-01.db", "2026-12-02.db"]
    assert make(tmp_path).open(NODE) == cursor


def test_retention_keeps_the_file_that_is_written_though_it_is_not_the_newest(
    tmp_path: Path,
) -> None:
    """The clock was wrong by years, a new journal was begun, and now the clock is right."""
    wrong = make(tmp_path)
    wrong.open("ff" * 16)
    wrong.apply(numbered(1, start=MONDAY + 3650 * DAY))
    wrong.close()
    clock = Clock(MONDAY + 100 * DAY)
    sink = make(tmp_path, clock=clock, steady=clock, retention=RetentionConfig(age=1.0, size=1))
    sink.open(NODE)
    chain = numbered(2)
    sink.apply(chain[:1])
    clock.now += TRIAL
    sink.tick()
    sink.apply(chain[1:])

    assert files(tmp_path)[0] == "2026-11-23.db"
    assert make(tmp_path).open(NODE) == chain[-1].block.end


def test_files_that_an_interrupted_deletion_left_are_deleted(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("2026-11-01.db-wal", "2026-11-01.db-shm", "notes.db-wal", "readme"):
        (logs / name).touch()
    make(tmp_path).open(NODE)

    assert sorted(path.name for path in logs.iterdir()) == ["notes.db-wal", "readme"]


def test_the_url_can_set_the_directory_and_the_file_size(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/elsewhere?file_size=1"
    sink = SqliteSink(make_context(tmp_path, url))
    sink.open(NODE)
    for decoded in numbered(2):
        sink.apply([decoded])

    assert (tmp_path / "elsewhere" / "2026-11-23.1.db").exists()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("sqlite:relative", "expected sqlite:"),
        ("sqlite://host/dir", "expected sqlite:"),
        ("sqlite:?file_siz=1", "did you mean 'file_size'"),
        ("sqlite:?file_size=big", "a size such as"),
    ],
)
def test_a_wrong_url_is_explained(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        SqliteSink(make_context(tmp_path, url))


def test_names_of_day_files_are_parsed_and_formatted() -> None:
    day = day_of(int(MONDAY * 1e6))
    first = DayFileName(day)
    assert [str(first), str(first.successor())] == ["2026-11-23.db", "2026-11-23.1.db"]
    assert parse_name("2026-11-23.db") == first
    assert parse_name("2026-11-23.12.db") == DayFileName(day, 12)
    others = ("2026-11-31.db", "2026-11-23.0.db", "2026-11-23.db-wal", "x.db", "2026-11-23")
    assert [parse_name(text) for text in others] == [None] * 5
