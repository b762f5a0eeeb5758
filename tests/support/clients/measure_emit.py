# -*- coding: utf-8 -*-
"""Measures the cost of emit(): the standard handler and ours, in turns. For Python 2.7 and 3.6+.

    measure_emit.py CLIENT_DIRECTORY PORT ROUNDS RECORDS [down] [extras]

Prints a JSON object: for each handler a list with a pair for each round: microseconds a record that
the caller waits, and microseconds of CPU that the process needs until everything is sent.
"""

from __future__ import print_function

import json
import logging
import logging.handlers
import resource
import sys
import timeit

sys.path.insert(0, sys.argv[1])
import fastlog_client


def make_records(count, extras):
    logger = logging.getLogger("app.db")
    extra = {"user": 77, "seconds": 3.2, "path": "/index"} if extras else None
    return [
        logger.makeRecord(
            "app.db", logging.INFO, "/srv/app/views.py", 17, "query %d of %s", (i, "all"), None, "run",
            extra,
        )
        for i in range(count)
    ]


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(handler, records, settle):
    emit, clock = handler.emit, timeit.default_timer
    used, start = cpu(), clock()
    for record in records:
        emit(record)
    waited = clock() - start
    settle()
    return waited / len(records) * 1e6, (cpu() - used) / len(records) * 1e6


def main(port, rounds, count, *words):
    records = make_records(count, "extras" in words)
    stock = logging.handlers.SocketHandler("127.0.0.1", port)
    ours = fastlog_client.SocketHandler("127.0.0.1", port, close_timeout=0.1)
    contenders = [
        ("stock", stock, lambda: None),
        ("ours", ours, lambda: "down" in words or ours.flush(60)),
    ]
    results = dict((name, []) for name, _, _ in contenders)
    for _ in range(rounds):
        for name, handler, settle in contenders:
            results[name].append(measure(handler, records, settle))
    results["dropped"] = sum(ours.stats()["dropped"].values())
    print(json.dumps(results))
    stock.close()
    ours.close()


if __name__ == "__main__":
    logging.raiseExceptions = False
    main(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
