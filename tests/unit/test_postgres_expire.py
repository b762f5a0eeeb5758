"""`[[expire]]` on PostgreSQL: old records that a rule names are deleted, some in a transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from builders import DAY, MONDAY, NODE, Clock, Fuse, decoded_of, in_child, make_block, make_record
from commands import Run
from conditions import wait_for
from postgres_stores import Database, database, every_database, postgres_servers
from queries import parsed

from fastlog.config import ExpireConfig
from fastlog.decode import Batch
from fastlog.search.postgres import PostgresStore
from fastlog.search.postgres_health import examine_partitions
from fastlog.sinks import postgres_chunks, postgres_erasure, postgres_expiry
from fastlog.sinks.postgres import CARE_INTERVAL, PostgresSink
from fastlog.sinks.postgres_connection import connect, parse_url

__all__ = ["database", "every_database", "postgres_servers"]

RULES = [ExpireConfig("level<INFO", 3 * DAY), ExpireConfig("logger:noisy user=1", 5 * DAY)]
OTHER = "cd" * 16


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_expiry, "SHARE", 1.0)
    monkeypatch.setattr(postgres_expiry, "PAGES", 1)
    monkeypatch.setattr(postgres_chunks, "SPAN", 4000)


class Collector:
    """A sink, whose blocks have 40 records."""

    def __init__(
        self,
        database: Database,
        data_dir: Path,
        node: str = NODE,
        rules: list[ExpireConfig] = RULES,
        steady: Clock | None = None,
    ) -> None:
        self.clock, self.node = Clock(MONDAY), node
        self.sink: PostgresSink = database.sink(
            data_dir, clock=self.clock, steady=steady or self.clock, expire=rules
        )
        self.offset = self.sink.open(node)
        self._database = database

    def store(self, *days: int) -> None:
        for day in days:
            at = MONDAY + day * DAY
            messages = [f"{day} {n} {'debug' if n % 2 else 'info'}" for n in range(40)]
            block = make_block(messages, offset=self.offset, at=at)
            records = [
                make_record(
                    message, idx=n, offset=block.offset, received=at, created=at + 20 * n,
                    levelno=10 if n % 2 else 20, levelname="DEBUG" if n % 2 else "INFO",
                    name="noisy" if n < 10 else "app", extra=f'{{"user":{n % 3},"x":"y"}}',
                )
                for n, message in enumerate(messages)
            ]  # fmt: skip
            self.sink.apply(Batch.of([decoded_of(block, records)]))
            self.offset = block.end
        self._database.execute("UPDATE fastlog.partitions SET made = day")

    def cover(self) -> None:
        """Make chunks of the greater part of what is stored."""
        connection, target = self.sink._ready(), self.sink._target
        while postgres_chunks.cover(connection, target, UUID(self.node)):
            pass

    def tick(self, day: float) -> None:
        """Let the sink do its housekeeping at that day, by a clock that is trusted."""
        while self.clock.now < MONDAY + day * DAY:  # it must have been in step for an hour
            self.clock.now = min(self.clock.now + 600, MONDAY + day * DAY)
            self.sink._watch.read()
        self.clock.now += CARE_INTERVAL
        self.sink.tick()
        self.sink._expiry.background.wait(60)


@pytest.fixture
def collectors(tmp_path: Path) -> Iterator[list[Collector]]:
    made: list[Collector] = []
    yield made
    for each in made:
        each.sink.close()


def left(database: Database, day: int) -> list[str]:
    return [each for each in database.messages() if each.startswith(f"{day} ")]


def troubles(database: Database) -> list[str]:
    target = parse_url(urlsplit(database.url()))
    with closing(connect(target)) as connection:
        parts = examine_partitions(connection, target, deep=True)
        return [each.trouble for each in parts if each.trouble]


def test_each_rule_deletes_what_it_names_of_partitions_that_are_old_enough(
    every_database: Database,
    tmp_path: Path,
    collectors: list[Collector],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    collectors.append(collector := Collector(every_database, tmp_path))
    collector.store(0, 0, 1, 2)
    collector.cover()
    [(chunks,)] = every_database.execute("SELECT sum(records) FROM fastlog.chunks")
    assert 0 < chunks < 160, "some records have no chunk"
    collector.tick(3.9)
    assert len(left(every_database, 0)) == 80
    collector.tick(4.1)
    assert [each for each in left(every_database, 0) if each.endswith("debug")] == []
    assert len(left(every_database, 0)) == 40
    assert len(left(every_database, 1)) == 40
    assert troubles(every_database) == []
    [line] = [each for each in caplog.messages if "expiry" in each]
    assert line == (
        "sink postgresql: expiry: deleted 40 records of fastlog.records_20261123 that match"
        " 'level<INFO': older than 3 days"
    )
    collector.tick(8.0)
    gone = [n for n in range(0, 10, 2) if n % 3 == 1]
    assert [each for each in left(every_database, 0) if int(each.split()[1]) in gone] == []
    sizes = [len(left(every_database, day)) for day in (0, 1, 2)]
    assert sizes == [2 * (20 - len(gone)), 20 - len(gone), 20 - len(gone)]
    assert troubles(every_database) == []
    store = PostgresStore(urlsplit(every_database.url()))
    assert list(store.search(parsed("debug"))) == []
    assert len(list(store.search(parsed("info")))) == sum(sizes)


def test_late_records_expire_too_and_nothing_is_done_twice(
    database: Database, tmp_path: Path, collectors: list[Collector]
) -> None:
    collectors.append(collector := Collector(database, tmp_path, rules=RULES[:1]))
    collector.store(0, 1)
    collector.tick(5.1)
    renewed = "SELECT day::text, records, renewed FROM fastlog.expiry ORDER BY 1"
    before = database.execute(renewed)
    assert [row[:2] for row in before] == [("2026-11-23", 20), ("2026-11-24", 20)]
    collector.tick(5.2)
    assert database.execute(renewed) == before
    collectors.append(late := Collector(database, tmp_path, OTHER))
    late.store(0)
    late.sink.close()  # PostgreSQL counts what a session has inserted at its end at the latest
    collector.tick(5.3)
    after = database.execute(renewed)
    assert len(left(database, 0)) == 40
    assert (after[0] != before[0], after[1]) == (True, before[1])
    database.execute("VACUUM FULL fastlog.records_20261124")  # its rows have moved
    collector.tick(5.4)
    assert database.execute(renewed)[1][1:] != before[1][1:]
    assert len(left(database, 1)) == 20


def test_a_clock_that_is_not_trusted_expires_nothing(
    database: Database, tmp_path: Path, collectors: list[Collector]
) -> None:
    collectors.append(collector := Collector(database, tmp_path, steady=Clock(0.0)))
    collector.store(0, 1)
    collector.clock.now += 300 * DAY
    collector.sink.tick()
    collector.sink._expiry.background.wait(60)
    assert len(database.messages()) == 80


def test_the_age_counts_from_when_a_partition_was_made(
    database: Database, tmp_path: Path, collectors: list[Collector]
) -> None:
    collectors.append(collector := Collector(database, tmp_path))
    collector.store(0, 1)
    database.execute(
        "UPDATE fastlog.partitions SET made = '2026-11-26 00:00Z' WHERE day = '2026-11-23'"
    )
    collector.tick(5.9)
    assert (len(left(database, 0)), len(left(database, 1))) == (40, 20)
    collector.tick(6.1)
    assert len(left(database, 0)) == 20


def test_one_collector_works_at_a_time_and_another_goes_on_when_it_is_gone(
    database: Database, tmp_path: Path, collectors: list[Collector]
) -> None:
    one, two = [Collector(database, tmp_path, node) for node in (NODE, OTHER)]
    collectors += [one, two]
    one.store(0, 1)
    [work, *_] = one.sink._expiry._due(one.sink._ready(), MONDAY + 6 * DAY)
    assert one.sink._expiry._step(one.sink._ready(), work) is not None
    assert two.sink._expiry._step(two.sink._ready(), work) is None
    two.tick(5.5)
    assert len(left(database, 1)) == 40
    database.execute("UPDATE fastlog.expiry SET renewed = renewed - interval '61 seconds'")
    two.tick(5.6)
    assert [len(left(database, day)) for day in (0, 1)] == [20, 20]


def test_a_locked_step_is_left_to_the_collector_that_has_it(
    database: Database, tmp_path: Path, collectors: list[Collector]
) -> None:
    collectors.append(collector := Collector(database, tmp_path))
    collector.store(0, 1)
    with database.server.connect(database.name) as other, other.transaction():
        other.execute(f"SELECT pg_advisory_xact_lock({postgres_expiry._LOCK}, hashtext('fastlog'))")
        collector.tick(6.5)
        assert len(database.messages()) == 80
    collector.tick(6.6)
    assert len(database.messages()) < 80


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_collector_that_is_killed_leaves_all_in_agreement(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    collector = Collector(database, tmp_path)
    collector.store(0, 0, 1, 2)
    collector.cover()
    collector.sink.close()
    fuse, compress = Fuse(length), postgres_erasure.zstd.compress

    def killing(*arguments: object) -> bytes:
        fuse.spark()
        return compress(*arguments)

    def work() -> None:
        monkeypatch.setattr(postgres_erasure.zstd, "compress", killing)
        Collector(database, tmp_path).tick(4.2)

    in_child(work)
    monkeypatch.setattr(postgres_erasure.zstd, "compress", compress)
    assert troubles(database) == []
    database.execute("UPDATE fastlog.expiry SET renewed = renewed - interval '1 hour'")
    other = Collector(database, tmp_path)
    other.tick(4.2)
    other.sink.close()
    assert len(left(database, 0)) == 40
    assert troubles(database) == []


def test_the_sink_stores_and_is_asked_while_records_expire(
    database: Database,
    tmp_path: Path,
    collectors: list[Collector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step that is under way hinders neither a transaction of the sink nor a search."""
    monkeypatch.setattr(postgres_expiry, "PAGES", 100)
    collectors.append(collector := Collector(database, tmp_path))
    collector.store(0, 1)
    collector.cover()
    expiry, store = collector.sink._expiry, PostgresStore(urlsplit(database.url()))
    with closing(connect(collector.sink._target)) as own:
        [work, *_] = expiry._due(own, MONDAY + 4.5 * DAY)
        with monkeypatch.context() as patch:
            patch.setattr(own, "commit", lambda: None)
            assert expiry._step(own, work) is not None
            collector.store(0, 4)
            assert len(list(store.search(parsed("debug")))) == 80
        own.commit()
    assert len(list(store.search(parsed("debug")))) == 60


def test_a_sink_that_is_closed_ends_the_work_at_the_next_pause(
    database: Database,
    tmp_path: Path,
    collectors: list[Collector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_expiry, "SHARE", 1e-9)
    collectors.append(collector := Collector(database, tmp_path))
    collector.store(0, 1)
    for _ in range(8):
        collector.clock.now += 600
        collector.sink._watch.read()
    collector.clock.now += 6 * DAY
    background = collector.sink._expiry.background
    collector.sink._expiry.tick(collector.sink._ready(), collector.clock.now)
    wait_for(lambda: len(database.messages()) < 80, "the first step is done")
    assert background.is_running
    collector.sink.close()
    background.wait(60)
    assert not background.is_running
    assert len(database.messages()) > 40


def test_version_3_is_migrated_and_keeps_its_chunks(
    database: Database, tmp_path: Path, collectors: list[Collector]
) -> None:
    collectors.append(collector := Collector(database, tmp_path))
    collector.store(0, 1)
    collector.cover()
    [(chunks,)] = database.execute("SELECT sum(records) FROM fastlog.chunks")
    database.execute(
        "DROP TABLE fastlog.expiry; UPDATE fastlog.meta SET value = '3' WHERE key = 'schema'"
    )
    collector.sink.open(NODE)
    assert database.execute("SELECT sum(records) FROM fastlog.chunks") == [(chunks,)]
    collector.tick(6.5)
    assert len(database.messages()) < 80


@pytest.mark.usefixtures("nothing_configured")
def test_the_preview_counts_what_rules_would_delete(
    database: Database, tmp_path: Path, command: Run
) -> None:
    collector = Collector(database, tmp_path)
    collector.store(-20, -10)
    collector.sink.close()
    (tmp_path / "fastlog.toml").write_text(
        f"[[sink]]\nurl = '{database.url()}'\nname = 'central'\n"
        "[[expire]]\nfilter = 'level<INFO'\nage = '7 days'\n"
        "[[expire]]\nfilter = 'message:/nowhere/'\nage = '7 days'\n"
        "[[expire]]\nfilter = 'user=1'\nage = '3650 days'\n"
    )
    result = command("check", "--retention")
    assert (result.code, result.err) == (0, "")
    found = [line for line in result.out.splitlines() if "would be deleted: '" in line]
    assert len(found) == 2
    assert found[0] == (
        "ok      partition fastlog.records_20261103: 20 records would be deleted: 'level<INFO',"
        " older than 7 days"
    )
    assert len(database.messages()) == 80
