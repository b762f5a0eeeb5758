"""Summaries of the BRIN on offsets, made as soon as a range of pages is full.

A range without a summary is read by every statement that looks for offsets. Autovacuum makes the
summaries once a minute or later: under load, that leaves millions of rows without.
"""

from __future__ import annotations

from typing import Final

from fastlog.sinks.postgres_connection import (
    STATEMENT_SECONDS,
    Connection,
    Target,
    own_transaction,
    psycopg,
)

RANGE: Final = 128
"""Pages of a range, PostgreSQL's default."""
_NEWEST: Final = 2
"""Partitions that are looked at: today's, and that of tomorrow, which is made ahead."""
_LOCK_TIMEOUT: Final = "100ms"
"""Autovacuum has the same lock. It is cancelled if it hinders somebody for `deadlock_timeout`, a
second by default."""


class OffsetSummaries:
    """Makes the summaries of the partitions into which is being stored."""

    def __init__(self, target: Target) -> None:
        self._schema = target.schema
        self._done: dict[int, int] = {}
        """For each index, the first page that has no summary, as far as this process knows."""
        self._is_allowed = True

    def complete(self, connection: Connection) -> None:
        """Make what is missing, except where another process is at it.

        Args:
            connection: In autocommit mode.
        """
        if not self._is_allowed:
            return
        try:
            with own_transaction(connection, STATEMENT_SECONDS, lock_timeout=_LOCK_TIMEOUT):
                for index, pages in self._indexes(connection):
                    if pages is not None:
                        self._summarize(connection, index, pages // RANGE * RANGE)
        except psycopg.errors.LockNotAvailable:
            return
        except psycopg.errors.InsufficientPrivilege:  # the tables are of another role
            self._is_allowed = False

    def _indexes(self, connection: Connection) -> list[tuple[int, int | None]]:
        """Return the indexes, each with the pages of its partition; None if that is dropped now."""
        return connection.execute(
            "SELECT i.oid, pg_relation_size(c.oid) / current_setting('block_size')::int"
            " FROM (SELECT c.oid, relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
            " WHERE inhparent = to_regclass(%s) AND NOT inhdetachpending"
            " ORDER BY relname DESC LIMIT %s) c"
            " JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid"
            " JOIN pg_am ON pg_am.oid = i.relam WHERE amname = 'brin'"
            " ORDER BY c.relname DESC",
            (f"{self._schema}.records", _NEWEST),
        ).fetchall()

    def _summarize(self, connection: Connection, index: int, end: int) -> None:
        done = self._done.get(index)
        if done is None:
            connection.execute("SELECT brin_summarize_new_values(%s::oid::regclass)", (index,))
        elif done < end:
            # Not with brin_summarize_new_values: it includes the last range, and then each row that
            # comes into this one has to change the summary.
            connection.execute(
                "SELECT count(brin_summarize_range(%s::oid::regclass, page))"
                " FROM generate_series(%s::bigint, %s::bigint, %s) page",
                (index, done, end - 1, RANGE),
            )
        self._done[index] = end
