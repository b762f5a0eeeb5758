"""Measure searches of the same records in PostgreSQL and in day files: seconds, medians.

    PYTHONPATH=benchmarks python benchmarks/postgres_questions.py URL HOME
        [--records 1000000] [--days 5] [--rounds 5] [--keep]

The day files are made in HOME, or taken from there. A schema `bench_questions` is made in the
database of the URL, and dropped at the end, unless it is kept for a further run. Both stores are
asked in turns, in this process: neither the start of a command nor its connection is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from bench.questions.store import make_store

from fastlog.config import RetentionConfig
from fastlog.decode import copy_rows
from fastlog.query import TimeContext, parse
from fastlog.record import Record
from fastlog.search.day_store import DayStore
from fastlog.search.store import RecordStore, open_store
from fastlog.search.totals import TOTALS
from fastlog.sinks import SinkContext
from fastlog.sinks.postgres import PostgresSink
from fastlog.sinks.postgres_chunks import cover
from fastlog.sinks.postgres_partitions import day_of

SCHEMA = "bench_questions"
NODE = bytes(16)
BATCH = 20_000
SPAN = 2000
"""The offsets of these records are their numbers, and not bytes."""
NEWEST = 100


class Question(NamedTuple):
    """A question, and the work that answers it."""

    name: str
    ask: Callable[[RecordStore], object]


def newest(text: str) -> Callable[[RecordStore], object]:
    """Return the work that finds the newest matches of a query."""
    query = parse(text, TimeContext(time.time()))
    return lambda store: [
        (found.record.offset, found.record.idx)
        for found in islice(store.search(query, newest_first=True), NEWEST)
    ]


def totals(text: str) -> Callable[[RecordStore], object]:
    """Return the work that counts the matches as `fastlog stats` does."""
    query = parse(text, TimeContext(time.time()))
    return lambda store: [sum(each.values()) for each in store.count(query, TOTALS)]


QUESTIONS = (
    Question("newest 100", newest("")),
    Question("newest 100 of a common logger", newest("logger:app.db")),
    Question("newest 100 of ERROR and above", newest("level>=error")),
    Question("newest 100 of a rare level and logger", newest("level:critical logger:app.rare")),
    Question("extra.user=77", newest("extra.user=77")),
    Question("a common word", newest("payment")),
    Question("a substring that is nowhere", newest('"nowhere to be found"')),
    Question("a regular expression that is nowhere", newest(r"message:/[a-z]+-\d{4}-alpha\b/")),
    Question("stats", totals("")),
    Question("stats of a host", totals("host:10.0.0.7")),
)


def fill(url: str, lines: Path) -> None:
    """Store the records of lines of JSON in PostgreSQL."""
    context = SinkContext("bench", urlsplit(url), Path(), RetentionConfig())
    sink = PostgresSink(context)
    sink.open(NODE.hex())
    connection = sink._connection
    assert connection is not None
    fields = ", ".join(f'"{name}"' for name in copy_rows.FIELDS)
    statement = f"COPY {SCHEMA}.records ({fields}) FROM STDIN (FORMAT BINARY)"
    with lines.open() as file:
        while batch := [_record(line) for line in islice(file, BATCH)]:
            for record in batch:
                sink._ensure(day_of(int(record.received * 1e6)))
            with connection.cursor().copy(statement) as copy:
                copy.write(copy_rows.HEADER)
                copy.write(b"".join(copy_rows.encode(record, NODE) for record in batch))
                copy.write(copy_rows.TRAILER)
    connection.execute(
        f'UPDATE {SCHEMA}.cursors SET "offset" = (SELECT max("offset") + 1 FROM {SCHEMA}.records)'
    )
    began, own = time.perf_counter(), time.process_time()
    while cover(connection, sink._target, UUID(bytes=NODE), SPAN):
        pass
    took, own = time.perf_counter() - began, time.process_time() - own
    print(f"chunks and counts: {took:.1f} s, {own:.1f} s of the processor here", flush=True)
    for table in ("records", "chunks", "counts", "host_counts"):
        connection.execute(f"VACUUM ANALYZE {SCHEMA}.{table}")
    sink.close()


def _record(line: str) -> Record:
    fields = json.loads(line)
    return Record(**{**fields, "extra": json.dumps(fields["extra"], separators=(",", ":"))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("home", type=Path)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    home = arguments.home / f"{arguments.records}-{arguments.days}"
    store = make_store(home, arguments.records, arguments.days)
    url = f"{arguments.url}{'&' if '?' in arguments.url else '?'}schema={SCHEMA}"
    with psycopg.connect(arguments.url, autocommit=True) as connection:
        made = connection.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone()
        if made == (None,):
            fill(url, store.lines)
        days, postgres = DayStore(store.data_dir / "logs"), open_store(url, keep=1)
        print(f"{'':40} {'day files':>9} {'PostgreSQL':>10} {'ratio':>6}")
        for question in QUESTIONS:
            taken: tuple[list[float], list[float]] = ([], [])
            for _ in range(arguments.rounds + 1):
                answers = []
                for seconds, each in zip(taken, (days, postgres), strict=True):
                    began = time.perf_counter()
                    answers.append(question.ask(each))
                    seconds.append(time.perf_counter() - began)
                assert answers[0] == answers[1], question.name
            ours, theirs = (statistics.median(seconds[1:]) for seconds in taken)
            print(f"{question.name:40} {ours:9.3f} {theirs:10.3f} {theirs / ours:6.2f}", flush=True)
        if not arguments.keep:
            connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


if __name__ == "__main__":
    main()
