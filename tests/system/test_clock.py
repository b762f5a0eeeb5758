"""Wrong clocks: they delete nothing, and records are in the file of their day."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import DAY, MONDAY, NODE, Clock, make_chain, make_context
from clocks import COMPILER, WrongClock
from conditions import wait_for, wait_past_midnight
from senders import stock_frame
from servers import Server

from fastlog.clock import STEP, TRIAL, ClockWatch
from fastlog.config import RetentionConfig
from fastlog.journal import read_positions
from fastlog.sinks.day_directory import day_of
from fastlog.sinks.sqlite import SqliteSink

HOUR = 3600.0


class Clocks:
    """A wall clock that can be set, and a steady one."""

    def __init__(self, now: float = MONDAY) -> None:
        self.wall, self.steady = Clock(now), Clock(0.0)

    def advance(self, seconds: float) -> None:
        self.wall.now += seconds
        self.steady.now += seconds


# ---- whether the clock is trusted ---------------------------------------------------------------


def test_a_clock_is_trusted_after_an_hour_in_step() -> None:
    clocks = Clocks()
    watch = ClockWatch(clocks.wall, clocks.steady)
    assert not watch.read().trusted
    clocks.advance(TRIAL - 1)
    assert not watch.read().trusted
    clocks.advance(1)
    assert watch.read() == (clocks.wall.now, True, 0.0)
    clocks.advance(1e9)
    assert watch.read().trusted


@pytest.mark.parametrize("jump", [STEP + 1, -STEP - 1, 40 * DAY, -56 * 365 * DAY])
def test_after_a_jump_the_clock_is_not_trusted_for_an_hour(jump: float) -> None:
    clocks = Clocks()
    watch = ClockWatch(clocks.wall, clocks.steady)
    clocks.advance(TRIAL)
    assert watch.read().trusted
    clocks.wall.now += jump
    assert watch.read() == (clocks.wall.now, False, jump)
    assert watch.read().jump == 0
    clocks.advance(TRIAL - 1)
    assert not watch.read().trusted
    clocks.advance(1)
    assert watch.read().trusted


def test_small_steps_add_up_to_a_jump_and_a_slow_correction_does_not() -> None:
    clocks = Clocks()
    watch = ClockWatch(clocks.wall, clocks.steady)
    clocks.advance(TRIAL)
    for _ in range(1000):  # 500 parts in a million, the maximum correction of NTP
        assert watch.read().trusted
        clocks.advance(600)
        clocks.wall.now += 0.3
    for _ in range(7):
        clocks.advance(60)
        clocks.wall.now += 10
        trusted = watch.read().trusted
    assert not trusted


# ---- retention --------------------------------------------------------------------------------


def store(sink: SqliteSink, clocks: Clocks, at: int, days: Sequence[float]) -> None:
    """Store one block per day, received on these days after Monday, by the wall clock."""
    begun = clocks.wall.now
    for number, day in enumerate(days, at):
        clocks.wall.now = MONDAY + day * DAY
        offset = sink.open(NODE)
        chain = make_chain([([str(number)], clocks.wall.now)])
        moved = chain[0].block
        block = type(moved)(offset, offset + moved.end, number, 1, moved.received_us, moved.payload)
        sink.apply([chain[0]._replace(block=block)])
    clocks.wall.now = begun


def files(data_dir: Path) -> list[str]:
    return sorted(path.name for path in (data_dir / "logs").glob("*.db"))


def test_a_clock_that_is_ahead_for_a_short_time_deletes_nothing(tmp_path: Path) -> None:
    clocks = Clocks()
    context = make_context(
        tmp_path,
        "sqlite:",
        clock=clocks.wall,
        steady=clocks.steady,
        retention=RetentionConfig(age=DAY),
    )
    sink = SqliteSink(context)
    sink.open(NODE)
    clocks.advance(TRIAL)
    sink.tick()
    store(sink, clocks, 0, [-1.5, -1, -0.5, 0])
    kept = files(tmp_path)
    assert len(kept) == 3
    for jump in (31 * DAY, 5000 * DAY, -20_000 * DAY):
        clocks.wall.now += jump
        sink.tick()
        clocks.advance(TRIAL - 1)
        sink.tick()
        clocks.wall.now -= jump
        sink.tick()
    assert files(tmp_path) == kept


def test_a_file_of_1970_ages_from_the_time_at_which_the_clock_was_corrected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clocks = Clocks()
    context = make_context(
        tmp_path,
        "sqlite:",
        clock=clocks.wall,
        steady=clocks.steady,
        retention=RetentionConfig(age=DAY),
    )
    sink = SqliteSink(context)
    store(sink, clocks, 0, [-MONDAY / DAY, 0])
    assert files(tmp_path) == ["1970-01-01.db", "2026-11-23.db"]
    clocks.advance(TRIAL)
    sink.tick()
    clocks.advance(DAY - TRIAL)
    sink.tick()
    assert files(tmp_path) == ["1970-01-01.db", "2026-11-23.db"]
    clocks.advance(1)
    with caplog.at_level("INFO"):
        sink.tick()
    assert files(tmp_path) == ["2026-11-23.db"]
    [line] = [record.message for record in caplog.records if "retention" in record.message]
    name = tmp_path / "logs" / "1970-01-01.db"
    assert line.startswith(f"sink sqlite: retention: deleted {name}: older than 24 hours; ")
    assert line.endswith("iB, records of 2026-11-23 00:00:00 UTC to 2026-11-23 00:00:00 UTC")


def test_the_cursors_file_and_the_newest_are_kept_whatever_their_size(
    tmp_path: Path,
) -> None:
    clocks = Clocks()
    context = make_context(
        tmp_path, "sqlite:", clock=clocks.wall, steady=clocks.steady,
        retention=RetentionConfig(age=DAY, size=1),
    )  # fmt: skip
    sink = SqliteSink(context)
    store(sink, clocks, 0, [0, 5000, 1])
    sink.tick()
    assert files(tmp_path) == ["2026-11-24.db", "2040-08-01.db"]
    store(sink, clocks, 3, [1])
    with closing(sqlite3.connect(tmp_path / "logs" / "2026-11-24.db")) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM records")
    assert count == 2


def test_every_stamp_has_a_day() -> None:
    assert str(day_of(0)) == "1970-01-01"
    assert str(day_of(2**64 - 1)) == "9999-12-31"


# ---- a real server ----------------------------------------------------------------------------

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler for the wrong clock")


def send(server: Server, step: int, count: int = 20) -> None:
    with server.connect() as client:
        for number in range(count):
            client.sendall(stock_frame(f"{step} {number}"))


def wait_for_housekeeping(server: Server) -> None:
    """Wait for the worker's housekeeping, which also writes its position, once a second."""
    for _ in range(2):
        before = read_positions(server.data)["sqlite"].durable
        stored = server.stored()
        send(server, 99, 1)
        server.wait_stored(stored + 1)
        wait_for(lambda b=before: read_positions(server.data)["sqlite"].durable > b)


def day(offset: float) -> str:
    return f"{datetime.fromtimestamp(time.time() + offset, UTC):%Y-%m-%d}.db"


@needs_compiler
@pytest.mark.parametrize(
    "steps",
    [
        [100 - time.time(), 0, 0],
        [0, 15 * 365 * DAY, 0],
        [0, 40 * DAY, 0],
        [0, -3 * DAY, 0],
    ],
    ids=["from 1970", "15 years ahead", "40 days ahead", "3 days behind"],
)
def test_a_server_with_a_wrong_clock_deletes_nothing_and_stores_by_day(
    tmp_path: Path, steps: list[float]
) -> None:
    wait_past_midnight()
    clock = WrongClock(tmp_path, steps[0])
    with Server(tmp_path, env=clock.env) as server:
        for number, offset in enumerate(steps):
            clock.set(offset)
            before = server.stored()
            send(server, number)
            server.wait_stored(before + 20)
            if number or offset:  # a clock that is right from the start has nothing to delete
                wait_for_housekeeping(server)
        assert server.losses() == []
        rows = server.records()
        for number, offset in enumerate(steps):
            of_step = [row for row in rows if row["message"].startswith(f"{number} ")]
            assert len(of_step) == 20
            for row in of_step:
                assert abs(row["received"] - time.time() - offset) < 600
        assert {path.name for path in server.logs.glob("*.db")} >= {day(o) for o in steps}
        [today] = [path for path in server.logs.glob("*.db") if path.name == day(0)]
        with closing(sqlite3.connect(today)) as connection:
            sql = "SELECT count(*) FROM records WHERE message LIKE '2 %'"
            assert connection.execute(sql).fetchone() == (20,)


@needs_compiler
def test_a_server_deletes_old_files_after_an_hour_in_step_and_logs_it(tmp_path: Path) -> None:
    wait_past_midnight()
    clock = WrongClock(tmp_path)
    config = '[retention]\nage = "1 day"\n'
    with Server(tmp_path, env=clock.env, config=config) as server:
        send(server, 0)
        server.wait_stored(20)
        first = day(0)
        clock.set(3 * DAY)
        send(server, 1)
        server.wait_stored(40)
        assert (server.logs / day(3 * DAY)).exists()
        wait_for_housekeeping(server)
        assert (server.logs / first).exists()

        def is_gone() -> bool:
            clock.advance(13 * HOUR)
            return wait_for_tick(server, first)

        wait_for(is_gone, "the old file is deleted", 60)
        wait_for(lambda: "retention: deleted" in server.messages())
        line = next(line for line in server.messages().splitlines() if "retention: del" in line)
        assert f"{first}: older than 24 hours; " in line
        assert "records of 20" in line


def wait_for_tick(server: Server, name: str) -> bool:
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 1.1 or not (server.logs / name).exists())
    return not (server.logs / name).exists()


@needs_compiler
def test_a_damaged_file_of_today_leaves_that_of_yesterday_and_is_counted_exactly(
    tmp_path: Path,
) -> None:
    wait_past_midnight()
    clock = WrongClock(tmp_path, -DAY)
    # Segments are released once a second: the journal has room for all that is sent until then.
    config = '[journal]\nsize = "2MiB"\nsegment = "64KiB"\n'
    with Server(tmp_path, env=clock.env, config=config) as server:
        send(server, 0)
        server.wait_stored(20)
        clock.set(0)
        for number in range(1, 6):
            before = server.stored()
            with server.connect() as client:
                for at in range(100):
                    client.sendall(stock_frame(f"{number} {at} {'x' * 900}"))
            server.wait_stored(before + 100)
        wait_for(lambda: server.status().get("oldest", 0) > 0, "a segment was released")
        # While the server runs, the pages of the table that it appends to are zeroed. None of them
        # is in the write-ahead log any more, from where a checkpoint would write it again.
        today = server.logs / day(0)
        with closing(sqlite3.connect(today)) as reader:
            checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)"
            wait_for(lambda: reader.execute(checkpoint).fetchone()[0] == 0, "nothing is in the log")
        with today.open("r+b") as file:
            file.seek(100)
            file.write(bytes(today.stat().st_size - 100))
        assert server.stop() == 0
        server.start()
        send(server, 6)
        wait_for(lambda: "6 19" in messages(server), "the last record is stored")
        found = messages(server)
        assert len(found) == len(set(found))
        assert [text for text in found if text.startswith("0 ")] == [f"0 {n}" for n in range(20)]
        [loss] = server.losses()
        assert loss["count"] == 540 - len(found)
        assert loss["count"] > 0


def messages(server: Server) -> list[str]:
    try:
        return [row["message"] for row in server.records()]
    except sqlite3.DatabaseError:
        return []  # the damaged file is not moved away yet
