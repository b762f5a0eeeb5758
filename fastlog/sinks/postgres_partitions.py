"""The partitions of `records`: one for each UTC day of receipt, made before it is needed.

A partition is made as a table and attached, which takes a weaker lock than CREATE … PARTITION OF:
neither readers nor other collectors wait for it. There is no default partition: attaching another
one would have to read it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from fastlog.errors import SinkUnavailableError
from fastlog.sinks.postgres_connection import Connection, Target
from fastlog.sinks.postgres_schema import locked

_DAY: Final = 86_400.0


class Partition(NamedTuple):
    """What the database has of a partition."""

    name: str
    day: date
    made: datetime
    size: int
    """Bytes, with indexes."""
    is_attached: bool
    is_pending: bool
    """Whether a DETACH CONCURRENTLY was broken off."""
    is_retiring: bool

    @property
    def begin(self) -> float:
        """The first second of its day, since the epoch."""
        return datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC).timestamp()

    @property
    def end(self) -> float:
        """The first second after its day, since the epoch."""
        return self.begin + _DAY

    @property
    def age_from(self) -> float:
        """When its age begins: at the end of its day, or when it was made, if that is later.

        A server whose clock is wrong, or that was away for long, stores into old days.
        """
        return max(self.end, self.made.timestamp())


def day_of(received_us: int) -> date:
    """Return the UTC day of a time of receipt, in microseconds since the epoch."""
    return datetime.fromtimestamp(received_us // 1_000_000, UTC).date()


def name_of(day: date) -> str:
    """Return the name of the partition of a day."""
    return f"records_{day:%Y%m%d}"


def ensure(connection: Connection, target: Target, day: date) -> None:
    """Make the partition of a day, unless there is one.

    Raises:
        SinkUnavailableError: Retention is detaching the old one.
        psycopg.Error: It cannot be made.
    """
    schema, name = target.schema, name_of(day)
    if state_of(connection, schema, name) == "attached":
        return
    with locked(connection, target):
        state = state_of(connection, schema, name)
        if state == "attached":
            return
        if state == "pending":
            raise SinkUnavailableError(f"{target.label}: {schema}.{name} is being detached")
        if state == "retired":
            connection.execute(f"DROP TABLE {schema}.{name}")
        elif state == "detached":
            raise SinkUnavailableError(
                f"{target.label}: the table {schema}.{name} exists, and is no partition of "
                f"{schema}.records; attach it again, or rename it"
            )
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = begin + timedelta(days=1)
        connection.execute(f"CREATE TABLE {schema}.{name} (LIKE {schema}.records INCLUDING ALL)")
        connection.execute(
            f"ALTER TABLE {schema}.records ATTACH PARTITION {schema}.{name}"
            f" FOR VALUES FROM ('{begin.isoformat()}') TO ('{end.isoformat()}')"
        )
        # Those of the rows of a partition that somebody has dropped, or keeps as another table.
        for table in ("chunks", "counts", "host_counts"):
            connection.execute(f"DELETE FROM {schema}.{table} WHERE day = %s", (day,))  # noqa: S608 our own text
        connection.execute(
            f"INSERT INTO {schema}.partitions (name, day) VALUES (%s, %s)"  # noqa: S608 our own text
            " ON CONFLICT (name) DO UPDATE SET made = now(), retiring = NULL",
            (name, day),
        )


def list_partitions(connection: Connection, schema: str) -> list[Partition]:
    """List the partitions that this package has made, the oldest first."""
    rows = connection.execute(
        "SELECT name, day, made, coalesce(pg_total_relation_size(c.oid), 0),"  # noqa: S608 our own text
        " inhrelid IS NOT NULL, coalesce(inhdetachpending, false), retiring IS NOT NULL"
        f" FROM {schema}.partitions"
        " LEFT JOIN pg_class c ON c.oid = to_regclass(%s || '.' || name)"
        " LEFT JOIN pg_inherits ON inhrelid = c.oid ORDER BY day",
        (schema,),
    )
    return [Partition._make(row) for row in rows]


def state_of(connection: Connection, schema: str, name: str) -> str:
    """Return `attached`, `pending` (being detached), `retired` (to be dropped), `detached` by
    somebody else, or `missing`."""
    row = connection.execute(
        "SELECT CASE WHEN inhdetachpending THEN 'pending' WHEN inhrelid IS NOT NULL THEN 'attached'"  # noqa: S608 our own text
        " WHEN retiring IS NOT NULL THEN 'retired' ELSE 'detached' END"
        f" FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid"
        f" LEFT JOIN {schema}.partitions ON name = relname"
        " WHERE pg_class.oid = to_regclass(%s)",
        (f"{schema}.{name}",),
    ).fetchone()
    return "missing" if row is None else str(row[0])
