"""Indexes of trigrams on closed partitions, for the option `trigrams=yes`.

With one, a search for a text reads the rows that may have it, and not all. It costs much more than
storing the rows, so it is made when no more rows come, in the background.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Final

from fastlog.config import format_duration
from fastlog.sinks.postgres_background import Background
from fastlog.sinks.postgres_connection import Connection, Target

log = logging.getLogger(__name__)

INTERVAL: Final = 600.0
"""Seconds between two looks for partitions without the index."""
CLOSED: Final = 3600
"""Seconds after the end of its day from which on a partition is closed."""
SUFFIX: Final = "_trigrams"
_TEXTS: Final = ("message", "exc_text", "stack_info", "(extra::text)")
"""What a word is looked for in, as `fastlog.sinks.postgres_narrowing` writes it."""


class TrigramIndexes:
    """Makes the indexes of one store.

    Args:
        sink: The sink's name, for the log.
        target: The store.
    """

    def __init__(self, sink: str, target: Target) -> None:
        self._sink, self._target = sink, target
        self.background = Background(sink, target, "make an index of trigrams")
        self._looked_at = float("-inf")

    def tick(self, now: float, wall: float) -> None:
        """Begin to make what is missing, unless that is being done. Does not wait.

        Args:
            now: Seconds of a clock that never goes back.
            wall: The wall clock, in seconds since the epoch.
        """
        if self.background.is_running or now < self._looked_at + INTERVAL:
            return
        self._looked_at = now
        self.background.begin(lambda connection: self._make_all(connection, wall))

    def _make_all(self, connection: Connection, wall: float) -> None:
        schema = self._target.schema
        closed = datetime.fromtimestamp(wall - CLOSED, UTC).date()
        rows = connection.execute(
            "SELECT p.name, i.indisvalid, progress.pid IS NOT NULL"  # noqa: S608 our own text
            f" FROM {schema}.partitions p"
            " JOIN pg_inherits ON inhrelid = to_regclass(%s || '.' || p.name)"
            f" LEFT JOIN pg_index i ON indexrelid = to_regclass(%s || '.' || p.name || '{SUFFIX}')"
            " LEFT JOIN pg_stat_progress_create_index progress ON progress.relid = inhrelid"
            " WHERE p.day < %s AND p.retiring IS NULL AND NOT inhdetachpending ORDER BY p.day DESC",
            (schema, schema, closed),
        )
        for name, is_valid, is_being_made in rows.fetchall():
            if is_valid or is_being_made:
                continue
            if is_valid is False:  # it was broken off
                connection.execute(f"DROP INDEX IF EXISTS {schema}.{name}{SUFFIX}")
            self._make(connection, name)

    def _make(self, connection: Connection, name: str) -> None:
        schema, began = self._target.schema, time.monotonic()
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        row = connection.execute(
            "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace"
            " WHERE extname = 'pg_trgm'"
        ).fetchone()
        assert row is not None
        operators = f'"{row[0]}".gin_trgm_ops'
        columns = ", ".join(f'{text} COLLATE "C" {operators}' for text in _TEXTS)
        connection.execute(
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name}{SUFFIX}"
            f" ON {schema}.{name} USING gin ({columns})"
        )
        log.info(
            "sink %s: made an index of trigrams of %s.%s in %s",
            *(self._sink, schema, name, format_duration(time.monotonic() - began)),
        )
