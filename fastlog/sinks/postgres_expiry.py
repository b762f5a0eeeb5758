"""Expiry: deletes the records of old partitions that a rule of `[[expire]]` names.

A partition is read in its physical order, some pages at a time. What matches there is deleted in
the transaction that says so in the table `expiry`, so that the work goes on after whatever stops
it. SQL leaves out rows, and the evaluator of queries decides about the others, as in a search.

Rows may come late: those of a server that was away for long. PostgreSQL counts what is inserted
into a partition. If that, or the file of the partition, has changed since a rule began to be
applied to it, the rule is applied once more.

One collector of all that share a database does the work at a time, with the rules of its own
configuration: a row of `expiry` that was renewed within a minute is its claim.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID, uuid4

from fastlog.config import ExpireConfig, format_duration
from fastlog.query import Node, TimeContext, parse
from fastlog.sinks.postgres_background import Background
from fastlog.sinks.postgres_connection import (
    STATEMENT_SECONDS,
    Connection,
    Target,
    own_transaction,
)
from fastlog.sinks.postgres_erasure import delete_records
from fastlog.sinks.postgres_matches import Matches
from fastlog.sinks.postgres_partitions import Partition, list_partitions

log = logging.getLogger(__name__)

PAGES: Final = 512
"""Pages that one transaction looks at: 4 MiB, some ten thousand records."""
SHARE: Final = 0.1
"""The share of the time for this work."""
CLAIM: Final = "1 minute"
"""The time after which another collector may go on with the work of one."""
_LOCK: Final = 0x666C6578
"""The advisory lock of one step; the second key is the schema's."""


class _Rule(NamedTuple):
    query: Node
    settings: ExpireConfig
    key: str
    """What the table calls it."""


class _Work(NamedTuple):
    """A rule that is to be applied to a partition."""

    partition: Partition
    rule: _Rule


class _Pass(NamedTuple):
    """How far a rule was applied to a partition."""

    page: int
    """The next page to look at."""
    pages: int
    """Where this ends."""
    records: int
    """How many were deleted."""

    @property
    def is_over(self) -> bool:
        return self.page >= self.pages


class PostgresExpiry:
    """Applies `[[expire]]` to the partitions of a store.

    Args:
        sink: The sink's name, for the log.
        rules: What expires.

    Raises:
        ConfigError: A filter is no query.
    """

    def __init__(self, sink: str, target: Target, rules: Sequence[ExpireConfig]) -> None:
        self._sink, self._target = sink, target
        self._rules = [
            _Rule(parse(rule.filter, TimeContext(0.0)), rule, _key(rule.filter)) for rule in rules
        ]
        self._worker = uuid4()
        self.background = Background(sink, target, "delete what has expired")

    def tick(self, connection: Connection, now: float | None) -> None:
        """Begin to delete what has expired, unless that is being done. Does not wait for it.

        Args:
            connection: In autocommit mode.
            now: The wall clock, in seconds since the epoch; None while it is not trusted.

        Raises:
            psycopg.Error: The database cannot be used.
        """
        if not self._rules or now is None or self.background.is_running:
            return
        due = self._due(connection, now)
        if due and not self._is_claimed(connection):
            self.background.begin(lambda own: self._work(own, due))

    def _due(self, connection: Connection, now: float) -> list[_Work]:
        """Return what is left to do, the oldest partition first."""
        old = [
            _Work(partition, rule)
            for partition in list_partitions(connection, self._target.schema)
            for rule in self._rules
            if is_due(partition, rule.settings, now)
        ]
        rows = connection.execute(
            f"SELECT e.day, e.rule FROM {self._target.schema}.expiry e"  # noqa: S608 our own text
            f" JOIN {self._target.schema}.partitions p USING (day)"
            " JOIN pg_class c ON c.oid = to_regclass(%s || '.' || p.name)"
            " WHERE e.page >= e.pages AND e.file = c.relfilenode"
            " AND e.inserted = pg_stat_get_tuples_inserted(c.oid)",
            (self._target.schema,),
        )
        done = {*rows.fetchall()}
        return [each for each in old if (each.partition.day, each.rule.key) not in done]

    def _is_claimed(self, connection: Connection) -> bool:
        """Return whether another collector is at work."""
        row = connection.execute(
            f"SELECT 1 FROM {self._target.schema}.expiry"  # noqa: S608 our own text
            f" WHERE worker <> %s AND renewed > now() - interval '{CLAIM}' LIMIT 1",
            (self._worker,),
        ).fetchone()
        return row is not None

    def _work(self, connection: Connection, due: Sequence[_Work]) -> None:
        for work in due:
            while True:
                began = time.monotonic()
                done = self._step(connection, work)
                took = time.monotonic() - began
                if done is None:
                    return
                if done.is_over and done.records:
                    log.info(
                        "sink %s: expiry: deleted %d records of %s that match %r: older than %s",
                        *(self._sink, done.records, f"{self._target.schema}.{work.partition.name}"),
                        *(work.rule.settings.filter, format_duration(work.rule.settings.age)),
                    )
                if not self.background.pause(took / SHARE - took):
                    return
                if done.is_over:
                    break

    def _step(self, connection: Connection, work: _Work) -> _Pass | None:
        """Apply a rule to some pages of a partition, in one transaction.

        Returns:
            How far the rule is applied; None if another collector is at work.
        """
        schema, rule = self._target.schema, work.rule
        with own_transaction(connection, STATEMENT_SECONDS, synchronous_commit="off"):
            [locked] = connection.execute(
                "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, schema)
            ).fetchone() or (False,)
            if not locked or self._is_claimed(connection):
                return None
            before = self._begin(connection, work)
            end = min(before.page + PAGES, before.pages)
            matches = Matches(connection, f"{schema}.{work.partition.name}", rule.query)
            found = matches.find(before.page, end)
            nodes: set[UUID] = {each.node for each in found}
            deleted = (
                delete_records(connection, schema, nodes, *matches.deletion(found)) if found else 0
            )
            done = _Pass(end, before.pages, before.records + deleted)
            connection.execute(
                f"UPDATE {schema}.expiry SET page = %s, records = %s, worker = %s, renewed = now()"  # noqa: S608 our own text
                " WHERE day = %s AND rule = %s",
                (done.page, done.records, self._worker, work.partition.day, rule.key),
            )
        return done

    def _begin(self, connection: Connection, work: _Work) -> _Pass:
        """Return how far the rule is applied; begin anew if rows may have come since then."""
        schema, (partition, rule) = self._target.schema, work
        row = connection.execute(
            f"INSERT INTO {schema}.expiry AS e"  # noqa: S608 our own text
            " (day, rule, worker, file, inserted, pages, page, records)"
            " SELECT %s, %s, %s, relfilenode, pg_stat_get_tuples_inserted(oid),"
            " pg_relation_size(oid) / current_setting('block_size')::int, 0, 0"
            " FROM pg_class WHERE oid = %s::regclass"
            " ON CONFLICT (day, rule) DO UPDATE SET file = excluded.file,"
            " inserted = excluded.inserted, pages = excluded.pages, page = 0, records = 0"
            " WHERE e.file <> excluded.file OR e.page >= e.pages"
            " AND e.inserted <> excluded.inserted"
            " RETURNING page, pages, records",
            (partition.day, rule.key, self._worker, f"{schema}.{partition.name}"),
        ).fetchone()
        if row is None:
            row = connection.execute(
                f"SELECT page, pages, records FROM {schema}.expiry WHERE day = %s AND rule = %s",  # noqa: S608 our own text
                (partition.day, rule.key),
            ).fetchone()
        assert row is not None
        return _Pass._make(row)


def is_due(partition: Partition, rule: ExpireConfig, now: float) -> bool:
    """Return whether the records of a partition are old enough for a rule."""
    is_there = partition.is_attached and not (partition.is_pending or partition.is_retiring)
    return is_there and partition.age_from + rule.age < now


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
