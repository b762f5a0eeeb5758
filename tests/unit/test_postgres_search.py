"""The search of a PostgreSQL store gives what looking at each record gives."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from conditions import wait_for
from day_files import START, make_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres_stores import Database, database, postgres_servers
from queries import parsed
from query_terms import QUESTIONS, Question, fields_of_records

from fastlog.decode import copy_rows
from fastlog.errors import ConfigError, FastlogError
from fastlog.query import EVERYTHING, compile_query
from fastlog.record import Record
from fastlog.search import Grouping, Progress, postgres_cancelling, postgres_live, postgres_rows
from fastlog.search.day_store import DayStore
from fastlog.search.postgres import PostgresStore
from fastlog.search.store import open_store
from fastlog.sinks.postgres_chunks import cover
from fastlog.sinks.postgres_connection import connect, parse_url
from fastlog.sinks.postgres_partitions import day_of, ensure

__all__ = ["database", "postgres_servers"]

NODE = "00ff" * 8


class Filled:
    """A store that a test fills with records of its own."""

    def __init__(self, database: Database, tmp_path: Path) -> None:
        self.database = database
        with closing(database.sink(tmp_path)) as sink:
            sink.open(NODE)
        self.store = PostgresStore(urlsplit(database.url()))
        self.reconnect()
        self.ensure(START)

    def reconnect(self) -> None:
        """Use a new connection, whose last statement is none of the store's."""
        self._connection = connect(parse_url(urlsplit(self.database.url())))

    def ensure(self, received: float) -> None:
        target = parse_url(urlsplit(self.database.url()))
        ensure(self._connection, target, day_of(int(received * 1e6)))

    def fill(self, records: Sequence[Record], *, anew: bool = True) -> None:
        if anew:
            self._connection.execute("DELETE FROM fastlog.records")
        fields = ", ".join(f'"{name}"' for name in copy_rows.FIELDS)
        statement = f"COPY fastlog.records ({fields}) FROM STDIN (FORMAT BINARY)"
        with self._connection.transaction(), self._connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                copy.write(copy_rows.HEADER)
                for record in records:
                    copy.write(copy_rows.encode(record, bytes.fromhex(NODE)))
                copy.write(copy_rows.TRAILER)
            end = max((record.offset for record in records), default=-1) + 1
            cursor.execute('UPDATE fastlog.cursors SET "offset" = %s', (end,))
            cursor.execute("NOTIFY fastlog")

    def cover(self, span: int) -> None:
        """Make the chunks of all but the last blocks."""
        for table in ("chunks", "counts", "host_counts"):
            self._connection.execute(f"DELETE FROM fastlog.{table}")
        target = parse_url(urlsplit(self.database.url()))
        while span and cover(self._connection, target, UUID(NODE), span):
            pass

    def found(self, text: str = "", **options: Any) -> list[str]:
        found = self.store.search(parsed(text), **options)
        return [each.record.funcName or "" for each in found]


@pytest.fixture
def filled(database: Database, tmp_path: Path) -> Filled:
    return Filled(database, tmp_path)


def numbered(records: Sequence[dict[str, Any]]) -> list[Record]:
    return [make_record(0, funcName=f"{n}", offset=n, **fields) for n, fields in enumerate(records)]


FIXTURE = HealthCheck.function_scoped_fixture


@settings(deadline=None, max_examples=120, suppress_health_check=[FIXTURE])
@given(
    records=st.lists(fields_of_records(), min_size=1, max_size=30),
    question=QUESTIONS,
    newest_first=st.booleans(),
    span=st.sampled_from([0, 1, 2, 7]),
)
def test_any_search_gives_the_records_that_match_in_order(
    filled: Filled, records: list[dict[str, Any]], question: Question, newest_first: bool, span: int
) -> None:
    made = numbered(records)
    filled.fill(made)
    filled.cover(span)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_rows, "_PAGES", (1, 2, 5))
        matching = [record for record in made if question.is_wanted(record)]
        expected = [each.funcName for each in sorted(matching, key=lambda each: each.created)]
        found = filled.found(question.text, newest_first=newest_first)
    assert found == (expected[::-1] if newest_first else expected)


@settings(deadline=None, max_examples=30, suppress_health_check=[FIXTURE])
@given(
    records=st.lists(fields_of_records(), min_size=1, max_size=20),
    question=QUESTIONS,
    span=st.sampled_from([0, 1, 3]),
)
def test_any_count_counts_the_records_that_match(
    filled: Filled, records: list[dict[str, Any]], question: Question, span: int
) -> None:
    filled.fill(numbered(records))
    filled.cover(span)
    groupings = [
        *(Grouping(), Grouping(("level",)), Grouping(("logger", "host"))),
        *(Grouping(("extra.user",)), Grouping(("node",), 60), Grouping(interval=3600)),
    ]
    assert_counts(filled, numbered(records), question.text, groupings)


LEVELS = (
    (20, "INFO"),
    (30, "WARNING"),
    (40, "ERROR"),
    (None, None),
    (7, "info"),
    (8, "INFO\u017f"),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[FIXTURE])
@given(
    records=st.lists(
        st.tuples(st.integers(-200, 200), st.sampled_from(LEVELS), st.sampled_from("abc")),
        min_size=1, max_size=30,
    ),
    terms=st.sets(
        st.sampled_from(
            ["level>=warning", "-level:error", "level:info", "logger:a", "host:a", "host:*"]
        ),
        max_size=2,
    ),
    since=st.none() | st.integers(-200, 200),
    until=st.none() | st.integers(-200, 200),
    span=st.sampled_from([1, 3, 8]),
    newest_first=st.booleans(),
)  # fmt: skip
def test_levels_loggers_hosts_and_times_are_counted_and_found_by_minutes(
    filled: Filled,
    records: list[tuple[int, tuple[int | None, str | None], str]],
    terms: set[str],
    since: int | None,
    until: int | None,
    span: int,
    newest_first: bool,
) -> None:
    made = numbered(
        [
            {"created": START + at, "levelno": level[0], "levelname": level[1], "name": name,
             "host": "ab"[at % 2]}
            for at, level, name in records
        ]
    )  # fmt: skip
    filled.fill(made)
    filled.cover(span)
    bounds = [f"created>=@{START + since}"] if since is not None else []
    bounds += [f"created<@{START + until}"] if until is not None else []
    text = " ".join([*sorted(terms), *bounds])
    for groupings in (
        [Grouping(("level",)), Grouping(("logger",)), Grouping(("host",)), Grouping(interval=60)],
        [Grouping(("level", "logger"), 120), Grouping()],
    ):
        assert_counts(filled, made, text, groupings)
    is_wanted = compile_query(parsed(text))
    found = filled.found(text, newest_first=newest_first)
    matching = [record for record in made if is_wanted((*record, NODE))]
    expected = [each.funcName for each in sorted(matching, key=lambda each: each.created)]
    assert found == (expected[::-1] if newest_first else expected)


def assert_counts(
    filled: Filled, made: Sequence[Record], text: str, groupings: Sequence[Grouping]
) -> None:
    """Compare the counts of a query with those of each record."""
    is_wanted = compile_query(parsed(text))
    rows = [(*record, NODE) for record in made]
    expected = []
    for grouping in groupings:
        group = grouping.grouper((*Record._fields, "node"))
        step = grouping.step
        expected.append(
            Counter(
                group(row, None if step is None else int(row[0]) // step * step)
                for row in rows
                if is_wanted(row)
            )
        )
    counts = filled.store.count(parsed(text), groupings)
    assert [_plain(each) for each in counts] == [_plain(each) for each in expected]


def _plain(counter: Counter[Any]) -> Counter[Any]:
    """Return counts in which equal values of `extra` are one group: a jsonb prints numbers, and
    orders keys, in its own way."""
    plain: Counter[Any] = Counter()
    for group, number in counter.items():
        plain[tuple(map(_value, group))] += number
    return plain


def _value(value: object) -> object:
    try:
        decoded = json.loads(str(value), parse_int=float) if isinstance(value, str) else value
    except ValueError:
        return value
    return json.dumps(decoded, sort_keys=True).replace("-0.0", "0.0")


@pytest.mark.parametrize("newest_first", [False, True])
def test_records_with_and_without_a_chunk_are_found_in_order(
    filled: Filled, newest_first: bool
) -> None:
    """Times overlap: chunks and the rows without one take turns in the answer."""
    times = [START + n * 37 % 60 for n in range(60)]
    filled.fill(numbered([{"created": at, "message": f"Word {at}"} for at in times]))
    filled.cover(17)
    expected = [f"{n}" for n in sorted(range(60), key=lambda n: times[n], reverse=newest_first)]
    for text in ("word", "message:/W[o]rd/"):
        assert filled.found(text, newest_first=newest_first) == expected


def test_records_are_as_they_were_stored(filled: Filled) -> None:
    record = make_record(
        1, extra='{"a":"x: y, z","user":{"b":[1,2.5,null,"é\\n"]}}', message='"\u2028', taskName=""
    )
    filled.fill([record])
    [found] = filled.store.search(EVERYTHING)
    assert (found.record, found.node) == (record, NODE)


def test_records_of_the_first_and_the_last_possible_time_are_found(filled: Filled) -> None:
    times = [-62_135_596_800.0, 0.0, 253_402_300_799.9]
    filled.fill([make_record(0, created=created, offset=n) for n, created in enumerate(times)])
    for text in ("", f"created<={times[-1]}", "message:/0/"):
        found = filled.store.search(parsed(text))
        assert [each.record.created for each in found] == times


def test_pages_continue_behind_equal_times_and_in_all_partitions(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_rows, "_PAGES", (3,))
    filled.ensure(START + 86_400)
    records = [
        make_record(0, funcName=f"{n}", offset=n // 4, idx=n % 4, created=START + n // 6,
                    received=START + 86_400 * (n % 2))
        for n in range(40)
    ]  # fmt: skip
    filled.fill(records)
    assert filled.found() == [f"{n}" for n in range(40)]
    assert filled.found(newest_first=True) == [f"{n}" for n in reversed(range(40))]


@pytest.mark.parametrize(
    ("query", "must_have"),
    [
        (f"created>={START + 5}", "Index Cond: created_at >="),
        ("message:timeout", "ILIKE '%_ime"),
        ("logger:app.db", "starts_with"),
        ("level>=error", "levelno >="),
    ],
)
def test_the_database_narrows_what_is_read(filled: Filled, query: str, must_have: str) -> None:
    from fastlog.sinks.postgres_narrowing import PostgresNarrowing

    narrowing = PostgresNarrowing(parsed(query))
    filled.fill(numbered([{}] * 2000))
    with connect(parse_url(urlsplit(filled.database.url()))) as connection:
        connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        plan = connection.execute(
            f"EXPLAIN SELECT * FROM fastlog.records WHERE {narrowing.condition.sql}"
            " ORDER BY created_at DESC LIMIT 10",
            narrowing.condition.parameters,
        )
        text = "\n".join(line for (line,) in plan)
    assert "records_created_at" in text or "created_at_idx" in text
    if must_have.startswith("ILIKE"):
        assert "~~*" in text
    else:
        assert must_have in text.replace("(", "").replace('"', "")


def test_a_search_ends_at_its_deadline(filled: Filled) -> None:
    filled.fill(numbered([{}] * 10))
    filled.database.execute(
        "CREATE FUNCTION fastlog.slow(int4) RETURNS bool LANGUAGE sql AS"
        " 'SELECT pg_sleep(60) IS NOT NULL';"
        "ALTER TABLE fastlog.records RENAME TO real;"
        "CREATE VIEW fastlog.records AS SELECT * FROM fastlog.real WHERE fastlog.slow(idx)"
    )
    import time

    progress = Progress(time.monotonic() + 0.3)
    assert list(filled.store.search(EVERYTHING, progress=progress)) == []
    assert progress.stopped == "deadline"
    progress = Progress(time.monotonic() + 0.3)
    filled.store.count(EVERYTHING, [Grouping()], progress=progress)
    assert progress.stopped == "deadline"


def test_new_records_are_followed_by_notification(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_live, "INTERVAL", 60.0)
    filled.fill(numbered([{}, {}, {}]))
    first, position = filled.store.newest(parsed(""), 2)
    assert [each.record.funcName for each in first] == ["1", "2"]
    batches = filled.store.follow(parsed("level:error"), position, lambda _: None)
    found: list[str] = []

    def follow() -> None:
        for batch in batches:
            found.extend(each.record.funcName or "" for each in batch)
            if "9" in found:
                return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    listening = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%cursors%' AND state = 'idle'"
    wait_for(lambda: filled.database.execute(listening))
    error = {"levelno": 40, "levelname": "ERROR"}
    filled.fill(numbered([{}] * 3 + [error, {}, error])[3:], anew=False)
    wait_for(lambda: found == ["3", "5"])
    filled.fill(numbered([{}] * 9 + [error])[6:], anew=False)
    follower.join(30)
    assert found == ["3", "5", "9"]


def test_a_lost_connection_is_made_again_while_records_are_followed(
    filled: Filled, caplog: pytest.LogCaptureFixture
) -> None:
    filled.fill(numbered([{}] * 3))
    _, position = filled.store.newest(parsed(""), 1)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        if not pauses:
            filled.database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE '%cursors%' AND pid <> pg_backend_pid()"
                " AND datname = current_database()"
            )
        pauses.append(seconds)
        if len(pauses) == 3:
            filled.fill(numbered([{}] * 6)[3:], anew=False)

    filled.reconnect()
    batch = next(filled.store.follow(parsed(""), position, pause))
    assert [each.record.funcName for each in batch] == ["3", "4", "5"]
    [line] = caplog.messages
    assert line.endswith("; trying again")


def test_records_that_a_crash_took_back_come_once(filled: Filled) -> None:
    """The cursor is lower then, and a search may see that before the sink stores them again."""
    records, position = numbered([{}] * 6), dict[str, int]()
    with filled.store.arrivals() as arrivals:

        def arrived() -> list[str | None]:
            batches = arrivals.read(EVERYTHING, position)
            return [each.record.funcName for batch in batches for each in batch]

        filled.fill(records[:4])
        assert arrived() == ["0", "1", "2", "3"]
        filled.fill(records[:2])
        assert arrived() == []
        filled.fill(records[2:], anew=False)
        assert arrived() == ["4", "5"]


def test_a_database_without_records_of_fastlog_is_an_error(database: Database) -> None:
    store = PostgresStore(urlsplit(database.url()))
    with pytest.raises(FastlogError, match=r"^postgresql:///test\d+: no sink has stored records"):
        list(store.search(EVERYTHING))


def test_a_search_that_waits_for_a_lock_names_the_process_that_keeps_it(
    filled: Filled, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_cancelling, "LOCK_SECONDS", 0.2)
    filled.fill(numbered([{}] * 3))
    database = filled.database
    with database.server.connect(database.name) as other, ThreadPoolExecutor(1) as pool:
        process = f"{other.info.backend_pid} (user postgres)"
        with other.transaction():
            other.execute("LOCK TABLE fastlog.records")
            searching = pool.submit(filled.store.count, EVERYTHING, [Grouping()])
            wait_for(lambda: caplog.messages, "the lock is reported")
        assert [each.total() for each in searching.result(60)] == [3]
    assert caplog.messages == [f"waiting for a lock that process {process} keeps"]


def test_a_search_without_a_table_names_it(filled: Filled) -> None:
    filled.database.execute("DROP TABLE fastlog.cursors")
    with pytest.raises(FastlogError, match=r'"fastlog\.cursors" does not exist; a server that sto'):
        filled.store.newest(parsed(""), 5)


def test_a_store_is_opened_by_its_url(tmp_path: Path) -> None:
    assert open_store(f"sqlite://{tmp_path}") == DayStore(tmp_path)
    assert isinstance(open_store("postgresql:///x"), PostgresStore)
    with pytest.raises(ConfigError, match="expected sqlite:///directory or postgresql://"):
        open_store("mysql://x")
