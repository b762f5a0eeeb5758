"""Measure a PostgreSQL sink under sustained load, with chunks and without, in turns.

    python benchmarks/postgres_chunks.py URL [--rate 0] [--seconds 10] [--rounds 3]

A schema `bench_chunks` is made in the database of the URL, and dropped at the end. Blocks of 400
records are decoded and stored in transactions of 20 blocks, at `--rate` records a second, or as
fast as it goes (0). Meanwhile the sink makes chunks in the background, as a server does, or not.
Printed are medians: records stored in a second; the time inside the sink, and the processor time of
this process and of the database, in microseconds a record; and how far the chunks are behind at the
end, in MiB of the journal. Searches use chunks up to 64 MiB.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from decode_cost import make_blocks, make_frames
from postgres_copy import cpu_of

from fastlog.block import Block
from fastlog.config import RetentionConfig
from fastlog.decode import Batch, Decoder
from fastlog.sinks import SinkContext
from fastlog.sinks.postgres import PostgresSink
from fastlog.sinks.postgres_chunks import read_covered

SCHEMA = "bench_chunks"
NODE = "ab" * 16
BLOCK, AT_ONCE = 400, 20
COLUMNS = ("records/s", "inside", "client", "database", "behind")


def backends(connection: psycopg.Connection) -> float:
    """Return the seconds of CPU that the processes of all connections have used."""
    rows = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
    )
    return sum(cpu_of(pid) for (pid,) in rows.fetchall())


def own() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Load:
    """A sink, and the blocks that it stores."""

    def __init__(self, url: str) -> None:
        separator = "&" if "?" in url else "?"
        self._context = SinkContext(
            "bench", urlsplit(f"{url}{separator}schema={SCHEMA}"), Path(), RetentionConfig()
        )
        self.url = url
        self.decoder = Decoder("c", "copy", bytes.fromhex(NODE))
        self.blocks = make_blocks(make_frames(BLOCK * AT_ONCE), BLOCK, 20)

    def _store(self, at: int, number: int) -> int:
        decoded = []
        for block in self.blocks:
            end = at + len(block.payload)
            now = int(time.time() * 1e6)
            moved = Block(at, end, number, block.frames, now, block.payload)
            decoded.append(self.decoder.decode(moved))
            at, number = end, number + block.frames
        self.sink.apply(Batch.of(decoded))
        return at

    def run(self, seconds: float, rate: float, *, with_chunks: bool) -> tuple[float, ...]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
            self.sink = PostgresSink(self._context)  # one that remembers nothing of the last run
            self.sink.open(NODE)
            at = number = 0
            inside, ticked, client, database = 0.0, time.monotonic(), own(), backends(connection)
            began = time.monotonic()
            while (now := time.monotonic()) < began + seconds:
                if rate and (early := began + number / rate - now) > 0:
                    time.sleep(min(early, 0.1))
                    continue
                at, number = self._store(at, number), number + BLOCK * AT_ONCE
                inside += time.monotonic() - now
                if with_chunks and time.monotonic() >= ticked + 1:
                    ticked = time.monotonic()
                    self.sink.tick()
            took = time.monotonic() - began
            client, database = own() - client, backends(connection) - database
            covered = read_covered(connection, SCHEMA, UUID(NODE))
            self.sink._chunks.background.stop()
            self.sink._chunks.background.wait(60)
            self.sink.close()
            connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
        costs = (1e6 * each / number for each in (inside, client, database))
        return (number / took, *costs, (at - covered) / (1 << 20))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    load = Load(arguments.url)
    taken: dict[bool, list[tuple[float, ...]]] = {False: [], True: []}
    for _ in range(arguments.rounds):
        for with_chunks, rounds in taken.items():
            rounds.append(load.run(arguments.seconds, arguments.rate, with_chunks=with_chunks))
    print(f"{'':15}" + "".join(f"{name:>11}" for name in COLUMNS))
    for with_chunks, rounds in taken.items():
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        name = "with chunks" if with_chunks else "without chunks"
        print(f"{name:15}" + "".join(f"{each:11.1f}" for each in medians))


if __name__ == "__main__":
    main()
