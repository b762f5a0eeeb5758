"""Migration of a day file to the present schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from fastlog.record import PROCESS, SITE
from fastlog.sinks.day_chunks import Chunks, MinuteBounds
from fastlog.sinks.day_rows import RecurringRows
from fastlog.sinks.day_schema import (
    BLOCK,
    COUNTED_PROCESS,
    COUNTED_SITE,
    ENTRY,
    TABLES,
    VERSION,
    VIEW,
    read_version,
)


def migrate(connection: sqlite3.Connection, version: int, bounds: MinuteBounds) -> None:
    """Migrate a file from this version to the current one, with a transaction for each version.

    The caller sets `synchronous`, so that the commits are durable. Another process may do the same
    at the same time: each reads the version again once it has the lock.

    Args:
        connection: To the file.
        version: Of the file.
        bounds: The minutes that are counted in the file.

    Raises:
        sqlite3.Error: The file keeps the version that it has reached.
    """
    for old in range(version, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if read_version(connection) == old:
                _STEPS[old](connection, bounds)
                connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (old + 1,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def rebuild_chunks(connection: sqlite3.Connection, bounds: MinuteBounds) -> None:
    """Replace all chunks and counts, in the caller's transaction."""
    for table in ("chunks", "site_counts", "process_counts"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 our own text
    _state_bounds(connection, bounds)
    make_chunks(connection, bounds)


def make_chunks(connection: sqlite3.Connection, bounds: MinuteBounds) -> None:
    """Write the chunks of all entries that none covers, in the caller's transaction."""
    sites = RecurringRows(connection, "sites", SITE, COUNTED_SITE)
    processes = RecurringRows(connection, "processes", PROCESS, COUNTED_PROCESS)
    Chunks(connection, bounds, sites, processes).begin()


def _state_bounds(connection: sqlite3.Connection, bounds: MinuteBounds) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO meta VALUES ('first_minute', ?), ('end_minute', ?)", bounds
    )


def _add_steps(connection: sqlite3.Connection, bounds: MinuteBounds) -> None:
    for column in ("step INTEGER NOT NULL DEFAULT 0", "frames INTEGER", "sealed_at REAL"):
        connection.execute(f"ALTER TABLE cursor ADD COLUMN {column}")


def _split_records(connection: sqlite3.Connection, bounds: MinuteBounds) -> None:
    """Store the values that recur once, and make the chunks."""
    execute = connection.execute
    execute("DROP INDEX IF EXISTS records_created")
    execute("ALTER TABLE records RENAME TO old_records")
    execute("ALTER TABLE old_records ADD COLUMN certificate TEXT")
    for statement in TABLES:
        execute(statement)
    _state_bounds(connection, bounds)
    joins = []
    for table, columns in (("sites", SITE), ("processes", PROCESS), ("blocks", BLOCK)):
        names = ", ".join(f"[{name}]" for name in columns)
        execute(
            f"INSERT INTO {table} ({names})"  # noqa: S608 our own text
            f" SELECT {names} FROM old_records GROUP BY {names} ORDER BY min(rowid)"
        )
        execute(f"CREATE INDEX {table}_values ON {table} ({names})")
        equal = " AND ".join(f"{table}.[{name}] IS old_records.[{name}]" for name in columns)
        joins.append(f" LEFT JOIN {table} ON {equal}")
    own = ", ".join(f"[{name}]" for name in ENTRY)
    execute(
        f"INSERT INTO entries (site_id, process_id, block_id, {own})"  # noqa: S608 our own text
        f" SELECT sites.id, processes.id, blocks.id, {own}"
        f" FROM old_records{''.join(joins)} ORDER BY old_records.rowid"
    )
    for table in ("sites", "processes", "blocks"):
        execute(f"DROP INDEX {table}_values")
    execute("DROP TABLE old_records")
    make_chunks(connection, bounds)


def _add_certificate(connection: sqlite3.Connection, bounds: MinuteBounds) -> None:
    columns = connection.execute("SELECT name FROM pragma_table_info('processes')")
    if ("certificate",) not in columns.fetchall():  # the step before makes the present tables
        connection.execute("ALTER TABLE processes ADD COLUMN certificate TEXT")
        connection.execute("DROP VIEW records")
        connection.execute(VIEW)


_STEPS: Final[dict[int, Callable[[sqlite3.Connection, MinuteBounds], None]]] = {
    1: _add_steps,
    2: _split_records,
    3: _add_certificate,
}
"""What turns a file of a version into one of the next version."""
