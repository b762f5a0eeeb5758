"""Measure the storing in PostgreSQL: microseconds a record, medians.

    python benchmarks/postgres_copy.py URL [--rounds 9] [--records 20000]

The database of the URL must be empty; a schema `bench_copy` is made in it, and dropped at the end.
All ways store the same records into the same table, alternately, in transactions of `--records`
that commit as the sink's do:

- `fastlog`: the journal's blocks → decoder → sink. The only way that begins with pickles.
- `pre-encoded`: tuples that were encoded before; only COPY and commit are measured. No client can
  be faster.
- `write_row`: rows of Python values, in binary COPY, as psycopg's documentation shows it.
- `text rows`: the same in text, with `extra` as text.

CPU is that of this process and of the database's process for the connection.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from decode_cost import make_blocks, make_frames
from psycopg.types.json import set_json_dumps

from fastlog.config import RetentionConfig
from fastlog.decode import Batch, Decoder, copy_rows
from fastlog.record import Record
from fastlog.sinks import SinkContext
from fastlog.sinks.postgres import PostgresSink
from fastlog.sinks.postgres_partitions import day_of

SCHEMA = "bench_copy"
NODE = "ab" * 16
TYPES = {
    **dict.fromkeys(("created", "received"), "float8"),
    **dict.fromkeys(("created_at", "received_at"), "timestamptz"),
    **dict.fromkeys(("levelno", "lineno", "process", "thread", "offset"), "int8"),
    "idx": "int4",
    "extra": "jsonb",
    "node": "uuid",
}


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has used.

    `/proc/PID/stat` counts hundredths of a second, which are half a microsecond a record here.
    """
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class Bench:
    """A sink, and a connection beside it that writes into the same table."""

    def __init__(self, url: str, records: int) -> None:
        separator = "&" if "?" in url else "?"
        context = SinkContext(
            "bench", urlsplit(f"{url}{separator}schema={SCHEMA}"), Path(), RetentionConfig()
        )
        self.sink = PostgresSink(context)
        self.sink.open(NODE)
        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        blocks = make_blocks(make_frames(records), 400, 20)
        self.blocks, self.records = blocks, records
        self.decoder = Decoder("c", "copy", bytes.fromhex(NODE))
        self.sink._ensure(day_of(blocks[0].received_us))
        self.encoded = [self.decoder.decode(block).copy for block in blocks]
        self.rows = [
            self._row(record) for block in blocks for record in Decoder("c").decode(block).records
        ]
        fields = ", ".join(f'"{name}"' for name in copy_rows.FIELDS)
        self.statement = f"COPY {SCHEMA}.records ({fields}) FROM STDIN"

    @staticmethod
    def _row(record: Record) -> tuple[object, ...]:
        from datetime import UTC, datetime

        values = record._asdict()
        values["created_at"] = datetime.fromtimestamp(record.created, UTC)
        values["received_at"] = datetime.fromtimestamp(record.received, UTC)
        values["node"] = UUID(NODE)
        return tuple(values[name] for name in copy_rows.FIELDS)

    def fastlog(self) -> None:
        self.sink._cursor = 0
        self.sink.apply(Batch(self.blocks, self.decoder.decode, lambda _: None))

    def _transact(self, write: Callable[[psycopg.Cursor], None]) -> None:
        with self.connection.transaction(), self.connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
            write(cursor)

    def pre_encoded(self) -> None:
        def write(cursor: psycopg.Cursor) -> None:
            with cursor.copy(f"{self.statement} (FORMAT BINARY)") as copy:
                for part in (copy_rows.HEADER, *self.encoded, copy_rows.TRAILER):
                    copy.write(part)

        self._transact(write)

    def write_row(self) -> None:
        types = [TYPES.get(name, "text") for name in copy_rows.FIELDS]
        extra = copy_rows.FIELDS.index("extra")

        class Raw:
            """JSON that is text already."""

            def __init__(self, text: str) -> None:
                self.text = text

        def write(cursor: psycopg.Cursor) -> None:
            from psycopg.types.json import Jsonb

            set_json_dumps(lambda raw: raw.text, cursor)
            with cursor.copy(f"{self.statement} (FORMAT BINARY)") as copy:
                copy.set_types(types)
                for row in self.rows:
                    copy.write_row((*row[:extra], Jsonb(Raw(row[extra])), *row[extra + 1 :]))

        self._transact(write)

    def text_rows(self) -> None:
        def write(cursor: psycopg.Cursor) -> None:
            with cursor.copy(self.statement) as copy:
                for row in self.rows:
                    copy.write_row(row)

        self._transact(write)

    def measure(self, way: Callable[[], None], connection: psycopg.Connection) -> tuple[float, ...]:
        """Return microseconds a record: elapsed, CPU of the client, CPU of the server."""
        self.connection.execute(f"TRUNCATE {SCHEMA}.records")
        self.connection.execute(f'UPDATE {SCHEMA}.cursors SET "offset" = 0')
        pid = connection.info.backend_pid
        server, client, began = cpu_of(pid), time.process_time(), time.perf_counter()
        way()
        elapsed, client = time.perf_counter() - began, time.process_time() - client
        server = cpu_of(pid) - server
        [(stored,)] = self.connection.execute(f"SELECT count(*) FROM {SCHEMA}.records")
        assert stored == self.records
        return tuple(1e6 * each / self.records for each in (elapsed, client, server))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--records", type=int, default=20_000)
    arguments = parser.parse_args()
    bench = Bench(arguments.url, arguments.records)
    gc.disable()
    ways = {
        "fastlog": (bench.fastlog, bench.sink._connection),
        "pre-encoded": (bench.pre_encoded, bench.connection),
        "write_row": (bench.write_row, bench.connection),
        "text rows": (bench.text_rows, bench.connection),
    }
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    for _ in range(arguments.rounds + 1):
        for name, (way, connection) in ways.items():
            taken[name].append(bench.measure(way, connection))
        gc.collect()
    print(f"{'':12} {'time':>7} {'client':>7} {'server':>7} {'CPU':>7}")
    medians = {
        name: [statistics.median(column) for column in zip(*rounds[1:], strict=True)]
        for name, rounds in taken.items()
    }
    for name, (elapsed, client, server) in medians.items():
        cpu = client + server
        print(f"{name:12} {elapsed:7.2f} {client:7.2f} {server:7.2f} {cpu:7.2f}")
    ours, best = medians["fastlog"], medians["pre-encoded"]
    print(f"fastlog has {best[0] / ours[0]:.0%} of the speed of pre-encoded data by time, "
          f"{sum(best[1:]) / sum(ours[1:]):.0%} by CPU")  # fmt: skip
    bench.sink.close()
    bench.connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


if __name__ == "__main__":
    main()
