"""`fastlog check` of `postgresql:` sinks: their partitions, and what retention would drop.

psycopg is imported only where there is such a sink.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from urllib.parse import urlsplit

from fastlog.cli.checks import State, Verdict
from fastlog.cli.counted import counted
from fastlog.config import (
    Config,
    ExpireConfig,
    RetentionConfig,
    SinkConfig,
    format_duration,
    format_size,
)
from fastlog.errors import FastlogError
from fastlog.query import between, both, column
from fastlog.routing import parse_filter
from fastlog.search import Grouping
from fastlog.search.store import POSTGRES, open_store


def postgres_sinks(config: Config) -> list[SinkConfig]:
    """Return the sinks that store in PostgreSQL."""
    return [sink for sink in config.sinks if urlsplit(sink.url).scheme in POSTGRES]


def check_partitions(sink: SinkConfig, *, deep: bool) -> Iterator[Verdict]:
    """Check the partitions of a sink whose database can be reached.

    Yields a verdict for each partition with a trouble, one for all others, and a warning if
    searches are slow since chunks are not made.
    """
    from fastlog.search.postgres_health import examine_partitions, too_much_without_chunks
    from fastlog.sinks.postgres_connection import connect, parse_url, unavailable

    target = parse_url(urlsplit(sink.url))
    place, sound = f"{target.label}, schema {target.schema}", 0
    try:
        with closing(connect(target)) as connection, unavailable(target):
            for each in examine_partitions(connection, target, deep=deep):
                if each.trouble:
                    subject = f"partition {target.schema}.{each.name}"
                    yield Verdict(State.FAILED, subject, each.trouble)
                else:
                    sound += 1
            if size := too_much_without_chunks(connection, target):
                text = f"{format_size(size)} of the journals have none yet: searches read all rows"
                yield Verdict(State.WARNING, f"chunks of sink {sink.name}", text)
    except FastlogError as error:
        yield Verdict(State.FAILED, f"partitions of sink {sink.name}", str(error))
    if sound:
        text = "rows and cursors are sound" if deep else "no fault found; --deep reads all rows"
        yield Verdict(State.OK, f"{counted(sound, 'partition')} in {place}", text)


def preview_partitions(sink: SinkConfig, retention: RetentionConfig) -> Iterator[Verdict]:
    """Yield what retention would drop of a sink, and a sum.

    Raises:
        FastlogError: The database cannot be used.
    """
    from fastlog.sinks.postgres_connection import connect, parse_url, unavailable
    from fastlog.sinks.postgres_retention import PostgresRetention

    target = parse_url(urlsplit(sink.url))
    with closing(connect(target)) as connection, unavailable(target):
        sizes, deletions = PostgresRetention(sink.name, target, retention).preview(
            connection, time.time()
        )
    gained = 0
    for file, reason in deletions:
        gained += file.size
        text = f"would be dropped: {reason}; {format_size(file.size)}"
        yield Verdict(State.OK, f"partition {target.schema}.{file.path}", text)
    limits = f"age {format_duration(retention.age)}, size {format_size(retention.size)}"
    text = (
        f"would drop {len(deletions)} of {len(sizes)} partitions, "
        f"{format_size(gained)} of {format_size(sum(sizes))} ({limits})"
    )
    yield Verdict(State.OK, f"retention of sink {sink.name}", text)


def preview_rules(sink: SinkConfig, rules: Sequence[ExpireConfig]) -> Iterator[Verdict]:
    """Yield what rules of `[[expire]]` would delete of each partition.

    Raises:
        FastlogError: The database cannot be used.
    """
    from fastlog.sinks.postgres_connection import connect, parse_url, unavailable
    from fastlog.sinks.postgres_expiry import is_due
    from fastlog.sinks.postgres_partitions import list_partitions

    if not rules:
        return
    target, now = parse_url(urlsplit(sink.url)), time.time()
    with closing(connect(target)) as connection, unavailable(target):
        partitions = list_partitions(connection, target.schema)
    with closing(open_store(sink.url, keep=1)) as store:
        for partition in partitions:
            span = between(column("received"), partition.begin, partition.end)
            for rule in rules:
                if not is_due(partition, rule, now):
                    continue
                [counts] = store.count(both(parse_filter(rule.filter), span), [Grouping()])
                if number := counts.total():
                    subject = f"partition {target.schema}.{partition.name}"
                    age = format_duration(rule.age)
                    records = counted(number, "record")
                    text = f"{records} would be deleted: {rule.filter!r}, older than {age}"
                    yield Verdict(State.OK, subject, text)
