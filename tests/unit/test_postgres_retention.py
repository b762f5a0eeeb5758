"""Retention of partitions: what is too old or too much is dropped, whatever breaks it off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from builders import DAY, MONDAY, NODE, make_chain, messages_of
from postgres_stores import Database, database, every_database, postgres_servers

from fastlog.config import RetentionConfig
from fastlog.decode import Batch
from fastlog.sinks import postgres_retention
from fastlog.sinks.postgres import PostgresSink

__all__ = ["database", "every_database", "postgres_servers"]

CONTENTS = [([f"{day}" + "x" * 5000], MONDAY + day * DAY) for day in range(-4, 1)]
CHAIN = make_chain(CONTENTS)


class Clock:
    """A wall clock that has been in step for an hour, and a steady one."""

    def __init__(self) -> None:
        self.steady = 0.0

    def wall(self) -> float:
        return MONDAY + self.steady

    def make(self, database: Database, tmp_path: Path, **limits: Any) -> PostgresSink:
        sink = database.sink(
            tmp_path, clock=self.wall, steady=lambda: self.steady,
            retention=RetentionConfig(**limits),
        )  # fmt: skip
        sink.open(NODE)
        sink.apply(Batch.of(CHAIN))
        database.execute("UPDATE fastlog.partitions SET made = day")
        return sink

    def tick(self, sink: PostgresSink) -> None:
        self.steady += 3700
        sink.tick()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def days(database: Database) -> list[str]:
    """Return the tables of days, attached or not."""
    return [
        name.removeprefix("records_202611")
        for (name,) in database.execute(
            "SELECT relname FROM pg_class WHERE relname ~ '^records_\\d{8}$' ORDER BY 1"
        )
    ]


def make_claims_old(database: Database) -> None:
    database.execute("UPDATE fastlog.partitions SET retiring = retiring - interval '1 hour'")


def test_partitions_that_are_too_old_are_dropped(
    every_database: Database, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with closing(clock.make(every_database, tmp_path, age=2.5 * DAY)) as sink:
        clock.tick(sink)
    assert days(every_database) == ["20", "21", "22", "23", "24"]
    assert every_database.messages() == messages_of(CHAIN[1:])
    [line] = caplog.messages
    assert line.startswith(
        "sink postgresql: retention: dropped fastlog.records_20261119: older than 2.5 days; "
    ), line


def test_partitions_that_are_too_much_are_dropped(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    with closing(clock.make(database, tmp_path, size=1)) as sink:
        clock.tick(sink)
    assert days(database) == ["23", "24"], "the one with the cursor, and those after it, are kept"


def test_nothing_is_too_old_while_the_clock_is_not_trusted(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    with closing(clock.make(database, tmp_path, age=DAY)) as sink:
        sink.tick()
    assert len(days(database)) == 6


def test_the_age_of_a_partition_counts_from_when_it_was_made(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    """A server that was away for a month stores its old records, and they are there to be read."""
    with closing(clock.make(database, tmp_path, age=DAY)) as sink:
        database.execute(
            "UPDATE fastlog.partitions SET made = '2026-11-23' WHERE day < '2026-11-20'"
        )
        clock.tick(sink)
    assert days(database) == ["19", "22", "23", "24"]


def test_a_reader_delays_the_retention_and_the_sink_goes_on(
    every_database: Database,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The DETACH is broken off; a later look finishes it."""
    monkeypatch.setattr(postgres_retention, "PATIENCE", 0.2)
    with closing(clock.make(every_database, tmp_path, age=2.5 * DAY)) as sink:
        with every_database.server.connect(every_database.name) as reader, reader.transaction():
            reader.execute("SELECT count(*) FROM fastlog.records")
            for _ in range(2):
                clock.tick(sink)
                make_claims_old(every_database)
            sql = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"
            assert every_database.execute(sql) == [(1,)]
            sink.apply(Batch.of(make_chain([*CONTENTS, (["more"], MONDAY)])[-1:]))
        clock.tick(sink)
        make_claims_old(every_database)
        assert days(every_database) == ["20", "21", "22", "23", "24"]
    warnings = [each for each in caplog.messages if "is in use" in each]
    assert len(warnings) == 1, caplog.messages


@pytest.mark.parametrize("broken", ["claimed", "detached"])
def test_a_collector_that_ended_between_two_steps_is_replaced_by_another(
    database: Database, tmp_path: Path, clock: Clock, broken: str
) -> None:
    with closing(clock.make(database, tmp_path)) as sink:
        database.execute(
            "UPDATE fastlog.partitions SET retiring = now() WHERE name = 'records_20261120'"
        )
        if broken == "detached":
            database.execute(
                "ALTER TABLE fastlog.records DETACH PARTITION fastlog.records_20261120"
            )
        clock.tick(sink)
        assert "20" in days(database), "another collector is at work"
        make_claims_old(database)
        clock.tick(sink)
    assert days(database) == ["19", "21", "22", "23", "24"]


def test_records_for_a_day_that_is_being_dropped_are_stored(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    with closing(clock.make(database, tmp_path)) as sink:
        database.execute(
            "UPDATE fastlog.partitions SET retiring = now() WHERE name = 'records_20261120';"
            "ALTER TABLE fastlog.records DETACH PARTITION fastlog.records_20261120"
        )
        sink.open("11" * 16)
        sink.apply(Batch.of(CHAIN[1:2]))
        clock.tick(sink)
    assert len(database.messages()) == 5


def test_a_partition_that_was_made_anew_meanwhile_is_not_dropped(
    database: Database, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late block comes between the DETACH and the DROP."""
    with (
        closing(clock.make(database, tmp_path, age=2.5 * DAY)) as sink,
        closing(database.sink(tmp_path)) as other,
    ):
        other.open("11" * 16)
        locked = postgres_retention.locked

        def locked_after_a_late_block(*arguments: Any) -> Any:
            if not other.cursor():
                other.apply(Batch.of(CHAIN[:1]))
            return locked(*arguments)

        monkeypatch.setattr(postgres_retention, "locked", locked_after_a_late_block)
        clock.tick(sink)
    assert days(database) == ["19", "20", "21", "22", "23", "24"]
    assert len(database.messages()) == 5


def test_a_partition_that_somebody_has_detached_is_kept(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    with closing(clock.make(database, tmp_path, age=DAY)) as sink:
        database.execute("ALTER TABLE fastlog.records DETACH PARTITION fastlog.records_20261119")
        clock.tick(sink)
    assert days(database) == ["19", "22", "23", "24"]


def test_collectors_that_look_at_once_drop_each_partition_once(
    database: Database, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with closing(clock.make(database, tmp_path, age=DAY)) as sink:
        others = [psycopg.connect(database.url(), autocommit=True) for _ in range(2)]
        retire: Callable[..., None] = sink._retention.retire
        for connection in (*others, *others):
            retire(connection, MONDAY + 3600, None)
    assert sorted(line.split()[4] for line in caplog.messages) == [
        f"fastlog.records_202611{day}:" for day in (19, 20, 21)
    ]
