"""Signal handlers that log or raise while the handler works: no lock is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from client_handlers import emit, handler_of
from places import CLIENT
from protocol_server import FakeServer


def test_a_signal_handler_that_logs_anywhere_does_not_deadlock(tmp_path: Path):
    with FakeServer() as server, handler_of(server, spool=str(tmp_path)) as handler:
        caught = []

        def on_signal(*_: object) -> None:
            caught.append(1)
            emit(handler, [-1])

        before = signal.signal(signal.SIGALRM, on_signal)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            emit(handler, range(3000))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert caught
        assert handler.flush(30)
        server.wait_exact(3000 + len(caught))
        assert [n for n in server.table.numbers() if n >= 0] == list(range(3000))


_INTERRUPTED = """
import logging, random, signal, sys, threading, time
import fastlog_client

class Interrupt(Exception):
    pass

armed = False  # a second one must not come while the first is caught

def interrupt(_, frame):
    global armed
    # Not in Thread.start(): that then removes the thread from a list of threading, from which the
    # thread, which may run already, tries to remove itself: a KeyError of CPython's own.
    if armed and not is_in(threading.__file__, frame):
        armed = False
        raise Interrupt

def is_in(path, frame):
    while frame is not None and frame.f_code.co_filename != path:
        frame = frame.f_back
    return frame is not None

signal.signal(signal.SIGALRM, interrupt)
handler = fastlog_client.SocketHandler(
    "127.0.0.1", 1, max_bytes=int(sys.argv[1]), on_error=lambda *_: None, close_timeout=0.1
)
record = logging.makeLogRecord({"msg": "x"})
end = time.time() + 3
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
while time.time() < end:
    try:
        armed = True
        for _ in range(random.randrange(300)):
            handler.emit(record)
        armed = False
    except Interrupt:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
last = threading.Thread(target=handler.emit, args=(record,))
last.start()
last.join(10)
handler.emit(record)
print("free" if not last.is_alive() else "stuck")
"""


@pytest.mark.parametrize("room", [1000, 1 << 26])
def test_a_signal_handler_that_raises_anywhere_leaves_no_lock_behind(room: int) -> None:
    """A time limit of a task queue does this, or a Ctrl-C that the program catches."""
    directory = str(CLIENT)
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, str(room)],
        env={**os.environ, "PYTHONPATH": directory},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("free\n", "")
