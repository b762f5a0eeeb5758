"""The end of a program, which alone is the end of a handler: everything is sent."""

from __future__ import annotations

import subprocess

import pytest
from interpreters import environment, interpreters
from places import CLIENT
from protocol_server import FakeServer

_BEGIN = """
import atexit, logging, logging.config, sys
def log(first, last):
    for number in range(first, last + 1):
        logger.warning("x", extra={"number": number})
atexit.register(lambda: log(301, 303))  # runs after the hooks of logging and of the client
import logging.handlers
sys.path.insert(0, sys.argv[1])
import fastlog_client
logger = logging.getLogger("ends")
logger.propagate = False
port, seconds = int(sys.argv[2]), float(sys.argv[3])
handler = fastlog_client.SocketHandler("127.0.0.1", port, close_timeout=seconds)
logger.addHandler(handler)
log(1, 100)
"""
_TAKE_OUT = """
logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
log(101, 200)
"""
_NO_THREADS = """
import threading
def reject(*args, **options):
    raise RuntimeError("can't start new thread")
for name in ("_start_new_thread", "_start_joinable_thread"):
    if hasattr(threading, name):
        setattr(threading, name, reject)
"""

versions = pytest.mark.parametrize("version", ("2.7", "3.6", "3.8", "3.11", "3.12", "3.13"))


def run(version: str, code: str, server: FakeServer, close_timeout: float = 20) -> list[str]:
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    done = subprocess.run(
        [interpreters()[version], "-c", code, CLIENT, str(server.port), str(close_timeout)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


@versions
@pytest.mark.parametrize("code", [_BEGIN, _BEGIN + _TAKE_OUT], ids=["attached", "taken out"])
def test_a_program_sends_everything_at_its_end_and_later_records_too(version: str, code: str):
    with FakeServer() as server:
        assert run(version, code, server) == []
        expected = [*range(1, 201 if code != _BEGIN else 101), 301, 302, 303]
        assert server.table.numbers() == expected
        assert len(server.table.byes) == len({hello.client for hello in server.table.hellos})


@versions
def test_records_not_sent_at_the_end_are_reported_within_the_timeout(version: str):
    with FakeServer() as server:
        server.stop()
        lines = run(version, _BEGIN + _TAKE_OUT, server, 0.5)
        assert "200 records were left at exit: they are lost" in "".join(lines)
        assert len(lines) == 2


@versions
def test_gaps_are_declared_to_a_silent_server_at_the_end(version: str):
    with FakeServer(window=0) as server:
        lines = run(version, _BEGIN, server, 4.0)
        assert "records were left at exit: they are lost" in "".join(lines)
        first, last, reason = server.table.gaps[0][1][:3]
        assert (first, reason) == (1, 6)
        # A program that stood still for longer declares those of the exit handlers with the others.
        assert last in (100, 103)


@versions
def test_where_no_thread_can_be_started_the_application_sends(version: str):
    with FakeServer() as server:
        code = _NO_THREADS + _BEGIN + "assert handler.flush()\nlog(101, 200)\n"
        assert run(version, code, server) == []
        assert server.table.numbers() == [*range(1, 201), 301, 302, 303]


@pytest.mark.parametrize("end", ["", "handler.flush()", "handler.close()"])
@pytest.mark.parametrize(
    ("version", "module"), [("3.12", "_xxsubinterpreters"), ("3.13", "_interpreters")]
)
def test_an_isolated_subinterpreter_sends_all(version: str, module: str, end: str):
    """An isolated subinterpreter may not start daemon threads."""
    with FakeServer() as server:
        code = (
            f"import {module} as interpreters, sys\n"
            f"code = 'import sys; sys.argv = %r' % sys.argv + {_BEGIN + end!r}\n"
            "made = interpreters.create()\n"
            "failed = interpreters.run_string(made, code)\n"
            "assert not failed, failed\n"
            # 3.12.1 aborts in the end of any subinterpreter that has imported hashlib or uuid,
            # when its exit handlers have run. The text of libc depends on the layout of memory.
            "interpreters.destroy(made)\n"
        )
        try:
            run(version, code, server)
        except AssertionError as error:
            texts = ("free(): invalid pointer", "double free or corruption")
            if version != "3.12" or not any(text in str(error) for text in texts):
                raise
        assert server.table.numbers() == [*range(1, 101), 301, 302, 303]


_CANNOT_BE_MADE = """
import logging, sys
sys.path.insert(0, sys.argv[1])
import fastlog_client
kept = []
for arguments, options in (
    (("127.0.0.1", 1), {"when_full": "never"}),
    (("127.0.0.1", 1), {"key": "no colon"}),
    (("", None), {}),
    (("127.0.0.1", "port"), {}),
    (("127.0.0.1", 1), {"spool": "/dev/null/spool"}),
):
    try:
        fastlog_client.SocketHandler(*arguments, **options)
    except Exception:
        kept.append(sys.exc_info()[2])  # and with it the handler
assert len(kept) == 5
"""


@versions
def test_a_handler_that_cannot_be_made_is_not_closed_at_the_end(version: str):
    with FakeServer() as server:
        assert run(version, _CANNOT_BE_MADE, server) == []
