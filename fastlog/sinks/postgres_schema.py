"""The tables of a PostgreSQL store: made, completed and migrated by the sink.

`records` is partitioned by the day of receipt (`postgres_partitions.py`). `cursors` has a row for
each journal: how far its sink has stored it, and up to where an import may have added records.
`partitions` has what retention must know of a partition. `chunks` and `counts` serve searches
(`postgres_chunks.py`). `expiry` has how far the rules of `[[expire]]` were applied
(`postgres_expiry.py`). `meta` has the version.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from fastlog.errors import NewerSchemaError
from fastlog.sinks.postgres_connection import Connection, Target, own_transaction

log = logging.getLogger(__name__)

VERSION: Final = 5
_LOCK: Final = 0x666C6F67
"""The advisory lock under which tables and partitions are made; the second key is the schema's."""

_META = "CREATE TABLE {s}.meta (key text PRIMARY KEY, value text NOT NULL)"
_CURSORS = """
CREATE TABLE {s}.cursors (
    node uuid PRIMARY KEY,
    "offset" bigint NOT NULL,
    frames bigint,
    stored bigint NOT NULL,
    updated timestamptz NOT NULL DEFAULT now(),
    imported bigint NOT NULL DEFAULT 0
)"""
_PARTITIONS = """
CREATE TABLE {s}.partitions (
    name text PRIMARY KEY,
    day date NOT NULL UNIQUE,
    made timestamptz NOT NULL DEFAULT now(),
    retiring timestamptz
)"""
# The journals of several servers are at very different offsets. With only the smallest and the
# largest of a range of pages in a summary, what looks for one journal would read the rows of all.
_RECORDS = """
CREATE TABLE {s}.records (
    created float8 NOT NULL,
    created_at timestamptz NOT NULL,
    received float8 NOT NULL,
    received_at timestamptz NOT NULL,
    levelno int8,
    lineno int8,
    process int8,
    thread int8,
    "offset" int8 NOT NULL,
    node uuid NOT NULL,
    idx int4 NOT NULL,
    levelname text,
    name text,
    message text NOT NULL,
    pathname text,
    filename text,
    module text,
    "funcName" text,
    "processName" text,
    "threadName" text,
    "taskName" text,
    exc_text text,
    stack_info text,
    host text NOT NULL,
    certificate text,
    extra jsonb NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX records_created_at ON {s}.records (created_at);
CREATE INDEX records_offset ON {s}.records
    USING brin ("offset" int8_minmax_multi_ops) WITH (autosummarize = on)"""
_CHUNKS = """
CREATE TABLE {s}.chunks (
    node uuid NOT NULL,
    "begin" bigint NOT NULL,
    part int NOT NULL,
    "end" bigint NOT NULL,
    day date NOT NULL,
    records int NOT NULL,
    min_created float8 NOT NULL,
    max_created float8 NOT NULL,
    keys bytea NOT NULL,
    text bytea NOT NULL,
    PRIMARY KEY (node, "begin", part)
);
ALTER TABLE {s}.chunks ALTER keys SET STORAGE EXTERNAL, ALTER text SET STORAGE EXTERNAL;
CREATE INDEX chunks_end ON {s}.chunks (node, "end");
CREATE INDEX chunks_day ON {s}.chunks (day)"""
_COUNTS = """
CREATE TABLE {s}.counts (
    day date NOT NULL,
    minute bigint,
    levelno bigint,
    levelname text,
    name text,
    records bigint NOT NULL
);
CREATE INDEX counts_minute ON {s}.counts (minute);
CREATE INDEX counts_day ON {s}.counts (day)"""
_HOST_COUNTS = """
CREATE TABLE {s}.host_counts (
    day date NOT NULL,
    minute bigint,
    host text NOT NULL,
    records bigint NOT NULL
);
CREATE INDEX host_counts_minute ON {s}.host_counts (minute);
CREATE INDEX host_counts_day ON {s}.host_counts (day)"""
_EXPIRY = """
CREATE TABLE {s}.expiry (
    day date NOT NULL,
    rule text NOT NULL,
    worker uuid NOT NULL,
    renewed timestamptz NOT NULL DEFAULT now(),
    file oid NOT NULL,
    inserted bigint NOT NULL,
    pages bigint NOT NULL,
    page bigint NOT NULL,
    records bigint NOT NULL,
    PRIMARY KEY (day, rule)
)"""
TABLES: Final = {
    "meta": _META,
    "cursors": _CURSORS,
    "partitions": _PARTITIONS,
    "records": _RECORDS,
    "chunks": _CHUNKS,
    "counts": _COUNTS,
    "host_counts": _HOST_COUNTS,
    "expiry": _EXPIRY,
}

_ALL_CURSORS = """
INSERT INTO {s}.cursors (node, "offset", stored)
    SELECT node, max("offset") + 1, max("offset") FROM {s}.records
    WHERE node NOT IN (SELECT node FROM {s}.cursors) GROUP BY node"""
"""Version 1 let users delete the cursors of servers that were removed. Searches need them."""
MIGRATIONS: Final[Sequence[str]] = (
    f"{_CHUNKS};{_COUNTS};{_HOST_COUNTS};{_ALL_CURSORS}",
    "ALTER TABLE IF EXISTS {s}.records ADD COLUMN IF NOT EXISTS certificate text",
    _EXPIRY,
    "ALTER TABLE IF EXISTS {s}.cursors ADD COLUMN IF NOT EXISTS imported bigint NOT NULL DEFAULT 0",
)
"""The SQL from each version to the next, the first from version 1."""


def prepare(connection: Connection, target: Target, *, had_tables: bool = False) -> None:
    """Make the tables that are missing, and migrate those of an older version.

    Args:
        had_tables: They were all there before; the log says if all are gone.

    Raises:
        NewerSchemaError: A newer fastlog has made the tables.
        psycopg.Error: The tables cannot be made.
    """
    if read_version(connection, target) == VERSION and not missing_tables(connection, target):
        return
    with locked(connection, target):
        _complete(connection, target, had_tables=had_tables)


def read_version(connection: Connection, target: Target) -> int | None:
    """Return the version of the tables; None if there are none.

    Raises:
        NewerSchemaError: A newer fastlog has made them.
    """
    found = connection.execute(
        "SELECT to_regclass(%s) IS NOT NULL", (f"{target.schema}.meta",)
    ).fetchone()
    if found != (True,):
        return None
    row = connection.execute(
        f"SELECT value FROM {target.schema}.meta WHERE key = 'schema'"  # noqa: S608 our own text
    ).fetchone()
    version = None if row is None else int(row[0])
    if version is not None and version > VERSION:
        raise NewerSchemaError(
            f"{target.label}: its schema {target.schema} has version {version}, and this fastlog "
            f"knows versions up to {VERSION}; install a newer one"
        )
    return version


@contextmanager
def locked(connection: Connection, target: Target) -> Iterator[None]:
    """Run the body in a transaction while no other collector makes tables or partitions."""
    with own_transaction(connection, 0):
        connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, target.schema))
        yield


def missing_tables(connection: Connection, target: Target) -> list[str]:
    """Return the names of the tables that are not there. Waits for no lock."""
    rows = connection.execute(
        "SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(%s || '.' || name) IS NULL",
        (list(TABLES), target.schema),
    )
    return [name for (name,) in rows]


def _complete(connection: Connection, target: Target, *, had_tables: bool) -> None:
    schema = target.schema
    exists = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,))
    if exists.fetchone() is None:
        connection.execute(f"CREATE SCHEMA {schema}")
    version = read_version(connection, target)
    for step in MIGRATIONS[version - 1 :] if version is not None else ():
        connection.execute(step.format(s=schema))
    missing = missing_tables(connection, target)
    for name in missing:
        connection.execute(TABLES[name].format(s=schema))
    if missing and len(missing) < len(TABLES):
        log.warning(
            "%s: tables were missing in the schema %s and are made again: %s",
            *(target.label, schema, ", ".join(missing)),
        )
    elif missing and had_tables:
        log.warning(
            "%s: all tables of the schema %s were dropped and are made again; what the journal "
            "still has is stored there",
            *(target.label, schema),
        )
    if "cursors" in missing and "records" not in missing:
        # No block is stored twice: the last one of each journal is known, though not its end.
        connection.execute(
            f'INSERT INTO {schema}.cursors (node, "offset", stored)'  # noqa: S608 our own text
            f' SELECT node, max("offset"), max("offset") FROM {schema}.records GROUP BY node'
        )
    if "partitions" in missing and "records" not in missing:
        connection.execute(
            f"INSERT INTO {schema}.partitions (name, day)"  # noqa: S608 our own text
            " SELECT relname, to_date(substr(relname, 9, 8), 'YYYYMMDD')"
            " FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = %s::regclass AND relname ~ '^records_\\d{8}$'",
            (f"{schema}.records",),
        )
    if {*missing} - {"expiry"}:  # chunks, counts and what they cover belong together
        connection.execute(f"TRUNCATE {schema}.chunks, {schema}.counts, {schema}.host_counts")
    connection.execute(
        f"INSERT INTO {schema}.meta VALUES ('schema', %s)"  # noqa: S608 our own text
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (str(VERSION),),
    )
