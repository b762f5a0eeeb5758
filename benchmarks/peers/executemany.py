"""Measure the plain way to store records: tuples into one flat table by `executemany`.

    executemany.py DIRECTORY RECORDS [--without-index]

It uses a write-ahead log and transactions of the same size as the sink, and no garbage collection,
as a worker. It lacks other optimizations of the sink: larger pages, many rows in a statement, an
adapter for None, tables for values that recur. The tuples are made before, a batch at a time,
outside the measurement. Prints as JSON the CPU-seconds and seconds of storing, and the peak
resident memory in bytes.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from bench.frames import make_records, pickled
from usage import measure

from fastlog.block import Block, Kind, make_run
from fastlog.decode import Decoder
from fastlog.record import Record
from fastlog.sinks.day_schema import COLUMNS, typed

NODE = "00" * 16
BATCH = 10_000
"""Rows of a transaction: the most that a worker passes to a sink at once."""
TABLE = f"CREATE TABLE records ({typed(COLUMNS)})"
INDEX = "CREATE INDEX records_created ON records (created)"
PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 4096",
    "PRAGMA cache_size = -16384",
)
STEP = 1e-5
"""Seconds between two records, as in the load."""


def make_batches(records: int) -> Iterator[list[tuple[object, ...]]]:
    """Yield rows as the sink gets them, numbered, with a rising `created`."""
    frames = [pickled(record).data[4:] for record in make_records(BATCH)]
    payload = memoryview(make_run(Kind.STOCK, frames, peer="127.0.0.1:5000"))
    stamp = time.time_ns() // 1000
    block = Block(0, len(payload), 0, len(frames), stamp, payload)
    samples = Decoder().decode(block).records
    start = stamp / 1e6
    for first in range(0, records, len(samples)):
        yield [
            number_record(sample, number, start + number * STEP, first)
            for number, sample in enumerate(samples[: records - first], first)
        ]


def number_record(sample: Record, number: int, created: float, offset: int) -> tuple[object, ...]:
    head, _, tail = sample.message.split(" ", 2)
    message = f"{head} {number:09d} {tail}"
    return tuple(sample._replace(message=message, created=created, offset=offset))


def store(directory: Path, records: int, with_index: bool) -> tuple[float, float]:
    """Return CPU-seconds and seconds."""
    connection = sqlite3.connect(directory / "records.db", isolation_level=None)
    execute = connection.execute
    for statement in (*PRAGMAS, TABLE, *([INDEX] if with_index else [])):
        execute(statement)
    names = ", ".join(f'"{name}"' for name in Record._fields)
    slots = ", ".join("?" * len(Record._fields))
    insert = f"INSERT INTO records ({names}, node) VALUES ({slots}, '{NODE}')"
    cpu = seconds = 0.0
    for batch in make_batches(records):
        used, began = time.process_time(), time.monotonic()
        execute("BEGIN IMMEDIATE")
        connection.executemany(insert, batch)
        execute("COMMIT")
        cpu += time.process_time() - used
        seconds += time.monotonic() - began
    used, began = time.process_time(), time.monotonic()
    execute("PRAGMA wal_checkpoint")
    cpu += time.process_time() - used
    seconds += time.monotonic() - began
    [stored] = execute("SELECT count(DISTINCT message) FROM records").fetchone()
    assert stored == records, f"{stored} of {records} rows are stored"
    return cpu, seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("records", type=int)
    parser.add_argument("--without-index", action="store_true")
    options = parser.parse_args()
    gc.disable()
    cpu, seconds = store(options.directory, options.records, not options.without_index)
    # Not that of getrusage, which includes the peak of the process that started this one.
    peak = measure(os.getpid()).peak_rss
    print(json.dumps({"cpu": cpu, "seconds": seconds, "peak_memory": peak}))


if __name__ == "__main__":
    main()
