"""One client process of `blog_load.py`: takes runs until none remains, and logs each of them.

It imports little, because two hundred of them start at once. It uses the unmodified handler of the
standard library. Arguments: host, port ("" if the host is the path of a Unix socket), the least and
the greatest pause in ms, the seed, and a descriptor whose end of file is the signal to begin.
Standard input is a file of runs that all clients read with one common offset: each item is read by
one of them. The client writes a byte to standard output when it is ready.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import random
import sys
import time

ITEM = 32
"""Bytes of an item: the run's trace_id, its number of records, blanks, and a newline."""


def main(host: str, port: str, least: str, greatest: str, seed: str, begin: str) -> None:
    logger = logging.getLogger("blog.run")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    os.write(sys.stdout.fileno(), b"r")
    os.read(int(begin), 1)
    while item := os.read(sys.stdin.fileno(), ITEM):
        trace_id, count = item.decode().split()
        number = int(trace_id.rpartition("-")[2])
        random.seed(int(seed) + number)
        # A connection for each run, as a process for each run would make it.
        handler = logging.handlers.SocketHandler(host, int(port) if port else None)
        logger.addHandler(handler)
        log_run(logger, trace_id, int(count), float(least) / 1e3, float(greatest) / 1e3)
        logger.removeHandler(handler)
        handler.close()


def log_run(
    logger: logging.Logger, trace_id: str, count: int, least: float, greatest: float
) -> None:
    """Log `count` numbered records, with a pause in seconds before each."""
    for number in range(count):
        if greatest:
            time.sleep(random.uniform(least, greatest))
        logger.info(
            "record %d of %d of run %s", number + 1, count, trace_id,
            extra={"trace_id": trace_id, "number": number},
        )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
