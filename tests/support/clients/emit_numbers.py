# -*- coding: utf-8 -*-
"""A program that logs numbered records through our handler, and ends in some way. Python 2.7, 3.6+.

    emit_numbers.py CLIENT_DIRECTORY WAY HOST PORT COUNT [SPOOL]

Each record has `sender`, the process or thread that logged it, and `number`, from 0 to COUNT - 1. The
ways are the functions below.
"""

from __future__ import print_function

import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])
import fastlog_client
import fastlog_client.orphans

fastlog_client.orphans._SEARCH_SECONDS = 0.2  # usually five

logger = logging.getLogger("numbers")
logger.setLevel(logging.INFO)


def emit(name, count, start=0):
    for number in range(start, count):
        logger.info("number %d", number, extra={"sender": name, "number": number})


def print_line(text):
    print(text)
    sys.stdout.flush()


def ends(count):
    """End as programs do; logging.shutdown() is registered with atexit."""
    emit("main", count)


def ends_soon(count):
    """End with half a second to send what is left."""
    logger.handlers[0].close_timeout = 0.5
    emit("main", count)


def ends_by_os_exit(count):
    """End without exit handlers."""
    emit("main", count)
    os._exit(0)


def waits(count):
    """Log, print a line, and wait to be killed."""
    emit("main", count)
    print_line("emitted")
    time.sleep(60)


def never_ends(count):
    """Print each number for which emit() has returned."""
    for number in range(1000000):
        emit("main", number + 1, number)
        print_line(str(number))


def threads(count):
    running = [threading.Thread(target=emit, args=("thread %d" % i, count)) for i in range(8)]
    for thread in running:
        thread.start()
    emit("main", count)
    for thread in running:
        thread.join()


def _wait_for_children(pids):
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0


def forks(count):
    """Eight children, half of which end by os._exit() when all has been sent; the parent continues."""
    emit("main", count // 2)
    pids = []
    for child in range(8):
        pid = os.fork()
        if not pid:
            emit("child %d" % child, count)
            if child % 2:
                assert logger.handlers[0].flush(20)
                os._exit(0)
            sys.exit(0)
        pids.append(pid)
    emit("main", count, count // 2)
    _wait_for_children(pids)
    assert logger.handlers[0].flush(20)
    stats = logger.handlers[0].stats()
    assert stats["emitted"] == stats["acked"] == count, stats
    assert stats["reconnects"] == 0, stats


def forks_and_os_exits(count):
    """Children that end by os._exit(); with a spool, none of their records is lost."""
    emit("main", count // 2)
    pids = []
    for child in range(8):
        pid = os.fork()
        if not pid:
            emit("child %d" % child, count)
            os._exit(0)
        pids.append(pid)
    emit("main", count, count // 2)
    _wait_for_children(pids)
    print_line("emitted")
    while not logger.handlers[0].flush(0.1) or os.listdir(sys.argv[6]) != [_own_spool()]:
        time.sleep(0.01)


def loses_its_spool(count):
    """Remove the spool three times while the program logs."""
    for part in range(4):
        emit("main", (part + 1) * count // 4, part * count // 4)
        if part < 3:
            shutil.rmtree(sys.argv[6], ignore_errors=True)  # the client makes it anew meanwhile
    print_line("emitted")
    assert logger.handlers[0].flush(30)
    stats = logger.handlers[0].stats()
    assert stats["emitted"] == stats["acked"] == count, stats
    assert sum(stats["dropped"].values()) == 0, stats


def _own_spool():
    return os.path.basename(logger.handlers[0]._outbox.store.folder)


def forks_while_threads_log(count):
    """A fork copies whatever state a lock is in."""
    stop = threading.Event()

    def run(name):
        number = 0
        while not stop.is_set():
            emit(name, number + 1, number)
            number += 1
            time.sleep(0.0005)  # else they fill the memory while the children have the processor

    running = [threading.Thread(target=run, args=("thread %d" % i,)) for i in range(3)]
    for thread in running:
        thread.start()
    for child in range(20):
        pid = os.fork()
        if not pid:
            signal.alarm(20)  # a deadlock must not last
            emit("child %d" % child, count)
            assert logger.handlers[0].flush(15)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    stop.set()
    for thread in running:
        thread.join()


def has_workers(count):
    """Processes of multiprocessing end without atexit."""
    if hasattr(multiprocessing, "set_start_method"):
        multiprocessing.set_start_method("fork")
    emit("main", count)
    workers = [
        multiprocessing.Process(target=emit, args=("child %d" % i, count)) for i in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def logs_at_exit(count):
    """Log the first record when the interpreter is ending and starts no thread any more."""
    import atexit

    atexit.register(emit, "main", count)


def main(way, host, port, count, spool=None):
    options = {"spool": spool} if spool else {}
    logger.addHandler(fastlog_client.SocketHandler(host, int(port), close_timeout=20, **options))
    globals()[way](int(count))


if __name__ == "__main__":
    main(*sys.argv[2:])
