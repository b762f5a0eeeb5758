"""What an import adds to a PostgreSQL store, into which sinks store meanwhile.

A record is known by its identity, as in day files. What a journal has behind the cursor of its sink
is left to that sink. If a journal has none, or one that has not stored for `ABANDONED`, all its
records are added, and the row of the journal in `cursors` says up to where: a sink that comes later
leaves out what is there (`without_imported`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import date, timedelta
from itertools import groupby
from operator import attrgetter
from types import TracebackType
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit
from uuid import UUID

from fastlog.config import RedactConfig
from fastlog.decode.copy_rows import encode, received_day
from fastlog.errors import FastlogError
from fastlog.routing.redaction import Redaction
from fastlog.search import Found
from fastlog.sinks.postgres_chunks import cover_added, cover_up_to, lock_chunks, read_covered
from fastlog.sinks.postgres_connection import (
    connect,
    is_rejection,
    is_without_partition,
    one_line,
    own_timeouts,
    own_transaction,
    parse_url,
    psycopg,
    unavailable,
)
from fastlog.sinks.postgres_copy import copy_into
from fastlog.sinks.postgres_partitions import ensure
from fastlog.sinks.postgres_schema import prepare
from fastlog.transfer.additions import Added, redact
from fastlog.transfer.known import KnownRecords
from fastlog.transfer.record_lines import id_of

ABANDONED: Final = "1 hour"
"""The time for which a sink must not have stored anything, so that records behind its cursor are
added."""
PATIENCE: Final = "2s"
"""The time in which the server notices that another import was killed."""
_LOCK: Final = 0x666C696D
"""The advisory lock that one import holds as long as it runs; the second key is the schema's."""
_WRITING: Final = 0x666C6977
"""The advisory lock of each transaction of an import, which may end after its process."""


class _Journal(NamedTuple):
    """What the store has of a journal, when the import meets it first."""

    cursor: int
    is_in_use: bool
    """Whether its sink may store at any time."""


class PostgresImporter:
    """Adds records to a database. A context manager.

    Args:
        url: The store.
        redact: What no sink may store, imports included.
        report: Called with the identity of a record that the database rejects, and the reason.
        gone: Journals that no server stores any more.

    Raises:
        FastlogError: The database cannot be used, or another import is running.
    """

    def __init__(
        self,
        url: str,
        redact: Sequence[RedactConfig],
        report: Callable[[str, str], object],
        gone: Collection[str] = (),
    ) -> None:
        self._target = parse_url(urlsplit(url))
        self._gone = gone
        self.left = set[str]()
        """The journals of which records were left to their servers."""
        self._redaction, self._report = Redaction(redact), report
        self._journals: dict[UUID, _Journal] = {}
        self._days: set[date] = set()
        """Those that have a partition, as far as this import knows."""
        with ExitStack() as stack:
            self._connection = stack.enter_context(closing(connect(self._target)))
            self._holder = stack.enter_context(closing(connect(self._target)))
            self._known = stack.enter_context(KnownRecords())
            with unavailable(self._target):
                prepare(self._connection, self._target)
                self._lock()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with suppress(psycopg.Error):
            self._holder.execute("ROLLBACK")  # closing alone releases the lock some time later
        self._stack.close()

    def _lock(self) -> None:
        """Take the locks, as long as there is a transaction: pgbouncer may be between."""
        holder, schema = self._holder, self._target.schema
        holder.execute(f"BEGIN; SELECT {own_timeouts(holder, 0, lock_timeout=PATIENCE)}")
        try:
            holder.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, schema))
        except psycopg.errors.LockNotAvailable:
            raise FastlogError(f"another import into {self._target.label} is running") from None
        with self._writing():  # waits for the last transaction of an import that was killed
            pass

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Run the body in a transaction while no other import has one."""
        with own_transaction(self._connection, 0, lock_timeout="0"):
            self._connection.execute(
                "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_WRITING, self._target.schema)
            )
            yield

    def add(self, some: Sequence[Found], digest: str = "") -> Added:
        """Store those of some records that the database does not have.

        Args:
            digest: As in `Importer.add`.
        """
        added = Added()
        with unavailable(self._target):
            self._holder.execute("SELECT 1")  # whether this is still the only import
            of_nodes = groupby(sorted(some, key=attrgetter("node")), attrgetter("node"))
            for node, records in of_nodes:
                try:
                    journal = UUID(node)
                except ValueError:
                    added = added.plus(self._reject_all(records, "its node is no UUID"))
                    continue
                added = added.plus(self._add_of(journal, list(records), is_digest=node == digest))
        return added

    def _add_of(self, node: UUID, some: list[Found], *, is_digest: bool) -> Added:
        journal = self._journal(node)
        mine = [
            each for each in some if not journal.is_in_use or each.record.offset < journal.cursor
        ]
        for day in {None} if is_digest else {received_day(each.record) for each in mine}:
            self._known.read(day, node.hex, self._places(node, day))
        new, redacted = redact(self._known.new(mine), self._redaction)
        rejected = self._store_or_reject(node, journal, new)
        self._known.add_last()
        if len(mine) < len(some):
            self.left.add(node.hex)
        return Added(
            new=len(new) - rejected,
            known=len(mine) - len(new),
            waiting=len(some) - len(mine),
            rejected=rejected,
            redacted=min(redacted, len(new) - rejected),
        )

    def _reject_all(self, some: Iterator[Found], reason: str) -> Added:
        records = list(some)
        for each in records:
            self._report(id_of(each), reason)
        return Added(rejected=len(records))

    def _journal(self, node: UUID) -> _Journal:
        """Return what is known of a journal. From then on it has a row in `cursors`."""
        if node not in self._journals:
            cursors = f"{self._target.schema}.cursors"
            self._connection.execute(
                f'INSERT INTO {cursors} (node, "offset", frames, stored, updated)'  # noqa: S608 our own text
                " VALUES (%s, 0, NULL, -1, '-infinity') ON CONFLICT DO NOTHING",
                (node,),
            )
            row = self._connection.execute(
                f'SELECT "offset", "offset" > 0 AND updated > now() - interval \'{ABANDONED}\''  # noqa: S608 our own text
                f" FROM {cursors} WHERE node = %s",
                (node,),
            ).fetchone()
            assert row is not None
            cursor, is_in_use = row
            self._journals[node] = _Journal(cursor, is_in_use and node.hex not in self._gone)
        return self._journals[node]

    def _places(self, node: UUID, day: date | None) -> Iterator[tuple[int, int]]:
        """Yield offset and number of the records of a journal, of one day or of all."""
        where, parameters = "node = %s", [node, *([day, day + timedelta(days=1)] if day else [])]
        if day:
            where += (
                " AND received_at >= %s::date::timestamp AT TIME ZONE 'UTC'"
                " AND received_at < %s::date::timestamp AT TIME ZONE 'UTC'"
            )
        with (
            own_transaction(self._connection, 0),
            self._connection.cursor("known", binary=True) as rows,
        ):
            rows.itersize = 10_000
            rows.execute(
                f'SELECT "offset", idx FROM {self._target.schema}.records WHERE {where}',  # noqa: S608 our own text
                parameters,
            )
            yield from rows

    def _store_or_reject(self, node: UUID, journal: _Journal, new: Sequence[Found]) -> int:
        """Store records, without those that the database rejects; return how many these are."""
        if not new:
            return 0
        try:
            self._store(node, journal, new)
        except psycopg.errors.CheckViolation as error:
            if not is_without_partition(error) or not self._days:
                return self._halve(node, journal, new, error)
            self._days.clear()  # retention has removed one meanwhile
            return self._store_or_reject(node, journal, new)
        except psycopg.Error as error:
            if not is_rejection(error):
                raise
            return self._halve(node, journal, new, error)
        return 0

    def _halve(
        self, node: UUID, journal: _Journal, new: Sequence[Found], error: psycopg.Error
    ) -> int:
        if len(new) == 1:
            self._report(id_of(new[0]), one_line(error))
            return 1
        half = len(new) // 2
        return sum(self._store_or_reject(node, journal, part) for part in (new[:half], new[half:]))

    def _store(self, node: UUID, journal: _Journal, new: Sequence[Found]) -> None:
        """Store records, with their chunks, in one transaction."""
        connection, target = self._connection, self._target
        records = [each.record for each in new]
        for day in {received_day(record) for record in records} - self._days:
            ensure(connection, target, day)
            self._days.add(day)
        with self._writing():
            if not journal.is_in_use:
                end = self._claim(node, journal, max(record.offset for record in records) + 1)
            lock_chunks(connection, target.schema, node)
            if journal.is_in_use:
                end = read_covered(connection, target.schema, node)
                covered = [record for record in records if record.offset < end]
            else:
                cover_up_to(connection, target.schema, node, end)
                covered = records
            copy_into(connection, target, [encode(record, node.bytes) for record in records])
            cover_added(connection, target.schema, node, covered)

    def _claim(self, node: UUID, journal: _Journal, end: int) -> int:
        """State that an import adds records up to an offset, and hinder a sink meanwhile.

        Returns:
            Up to where the journal had records before.
        """
        cursors = f"{self._target.schema}.cursors"
        row = self._connection.execute(
            f'SELECT "offset", greatest("offset", imported) FROM {cursors}'  # noqa: S608 our own text
            " WHERE node = %s FOR UPDATE",
            (node,),
        ).fetchone()
        if row is None or row[0] != journal.cursor:
            raise FastlogError(
                f"{self._target.label}: the server of journal {node.hex} stores into it now; "
                "repeat the import"
            )
        self._connection.execute(
            f"UPDATE {cursors} SET imported = greatest(imported, %s) WHERE node = %s",  # noqa: S608 our own text
            (end, node),
        )
        return int(row[1])
