"""The handlers in the place of the standard one: what programs and subclasses use of it."""

from __future__ import annotations

import json
import logging
import logging.handlers
import pickle
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fastlog_client as client
import pytest
from client_handlers import Hook, emit, handler_of, raised, record
from conditions import wait_for
from interpreters import VERSIONS, environment, interpreters
from listeners import Listener
from places import CLIENT, SUPPORT
from protocol_server import FakeServer
from servers import Server

from fastlog.drill.ports import ReservedPort

RUNNER = SUPPORT / "clients" / "run_test_logging.py"
SOCKET_TESTS = ("SocketHandlerTest.test_output", "SocketHandlerTest.test_noserver")


def run_test_logging(version: str, tmp_path: Path, *arguments: str) -> int:
    """Run CPython's test_logging. Returns how many tests ran."""
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    run = subprocess.run(
        [interpreters()[version], RUNNER, CLIENT, *arguments],
        cwd=tmp_path,  # it makes files
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    if "No module named" in run.stderr and "test_logging" in run.stderr:
        pytest.skip(f"Python {version} came without its tests")
    assert run.returncode == 0, run.stderr
    return int(run.stdout.split()[-1])


@pytest.mark.parametrize("version", VERSIONS)
def test_reconnecting_handler_passes_the_socket_tests_of_cpython(version: str, tmp_path: Path):
    ran = run_test_logging(version, tmp_path, "ReconnectingSocketHandler", "only", *SOCKET_TESTS)
    assert ran == (1 if version == "2.7" else 4)  # over TCP and a Unix socket


@pytest.mark.parametrize("version", ["3.6", "3.13"])
def test_handler_passes_the_test_without_a_server_of_cpython(version: str, tmp_path: Path):
    """`test_output` has a receiver of its own, which speaks only the standard protocol."""
    assert run_test_logging(version, tmp_path, "SocketHandler", "only", SOCKET_TESTS[1]) == 2


@pytest.mark.soak
@pytest.mark.parametrize("handler", ["SocketHandler", "ReconnectingSocketHandler"])
@pytest.mark.parametrize("version", VERSIONS)
def test_all_of_test_logging_of_cpython_passes(version: str, handler: str, tmp_path: Path):
    left_out = [SOCKET_TESTS[0]] if handler == "SocketHandler" else []
    assert run_test_logging(version, tmp_path, handler, "except", *left_out, "no such test") >= 47


# ---- makePickle ----


class Numbered(client.SocketHandler):
    """A handler that adds an attribute to each record, as subclasses of the standard handler do."""

    def makePickle(self, record: logging.LogRecord) -> bytes:  # noqa: N802 - logging's name
        record.tenant = "blue"
        return super().makePickle(record)


class AsJson(client.SocketHandler):
    def makePickle(self, record: logging.LogRecord) -> bytes:  # noqa: N802 - logging's name
        data = json.dumps({"message": record.getMessage(), "shape": "json"}).encode()
        return struct.pack(">L", len(data)) + data


class Broken(client.SocketHandler):
    answer: Any = b""

    def makePickle(self, record: logging.LogRecord) -> Any:  # noqa: N802 - logging's name
        if self.answer is ...:
            raise RuntimeError("it cannot")
        return self.answer


def test_a_frame_of_make_pickle_is_that_of_the_standard_handler():
    made = record(1, "%s", ("x",), user=["a"])
    made.exc_info = raised()
    frames = [
        handler.makePickle(made)
        for handler in (
            client.SocketHandler("127.0.0.1", 1),
            logging.handlers.SocketHandler("127.0.0.1", 1),
        )
    ]
    values = [pickle.loads(frame[4:]) for frame in frames]
    assert values[0] == values[1]
    assert [struct.unpack(">L", frame[:4])[0] for frame in frames] == [
        len(frame) - 4 for frame in frames
    ]


@pytest.mark.parametrize("mode", ["memory", "spool"])
def test_what_make_pickle_of_a_subclass_returns_is_stored(mode: str, tmp_path: Path):
    spool = str(tmp_path / "spool") if mode == "spool" else None
    with Server(tmp_path) as server:
        for kind in (Numbered, AsJson):
            handler = kind("127.0.0.1", server.port, spool=spool)
            emit(handler, range(3))
            assert handler.flush(60)
            handler.close()
        server.wait_stored(6)
        extras = [json.loads(row["extra"]) for row in server.records()]
    assert [each.get("tenant") for each in extras] == ["blue"] * 3 + [None] * 3
    assert [each.get("shape") for each in extras] == [None] * 3 + ["json"] * 3
    assert server.rejected() == []


@pytest.mark.parametrize(
    "answer", [..., None, "text", b"", b"\0\0\0\0", b"\0\0\0\5four", b"{}\n", b"\0\0\0\1ab"]
)
def test_a_record_whose_make_pickle_fails_is_sent_and_reported(answer: Any):
    with FakeServer() as server:
        hook = Hook()
        handler = Broken(*server.address, on_error=hook)
        handler.answer = answer
        emit(handler, [1, 2])
        assert handler.flush()
        assert server.table.numbers() == [1, 2]
        assert hook.count_with("a record of app was sent without makePickle(), which failed") == 2
        handler.close()


@pytest.mark.parametrize("name", ["makeSocket", "createSocket", "send"])
def test_a_subclass_with_a_method_that_is_never_called_is_rejected(name: str):
    kind = type("Encrypting", (client.SocketHandler,), {name: lambda *_: None})
    with pytest.raises(TypeError, match=f"Encrypting.{name}.. would never be called"):
        kind("127.0.0.1", 1)


# ---- attributes ----


def test_the_address_is_that_of_the_standard_handler():
    for arguments in (("127.0.0.1", 9), ("/run/socket", None)):
        ours = client.SocketHandler(*arguments)
        standard = logging.handlers.SocketHandler(*arguments)
        assert (ours.address, ours.host, ours.port) == arguments_of(standard)
        assert ours.closeOnError is standard.closeOnError is False


def arguments_of(handler: Any) -> tuple[Any, ...]:
    return handler.address, handler.host, handler.port


def test_retry_time_is_none_unless_records_wait_for_a_connection():
    with FakeServer() as server, handler_of(server) as handler:
        assert handler.retryTime is None
        emit(handler, [1])
        assert handler.flush()
        assert handler.retryTime is None
        server.stop()
        emit(handler, [2])
        wait_for(lambda: handler.retryTime, "the end of the connection is noticed")
        before = time.time()
        assert before < handler.retryTime < before + 2
        server.restart()
        assert handler.flush()
        assert handler.retryTime is None


def test_retry_attributes_are_the_delays_between_attempts():
    hook = Hook()
    with ReservedPort() as port:
        handler = client.SocketHandler("127.0.0.1", port.number, on_error=hook, close_timeout=0.1)
        assert (handler.retryStart, handler.retryFactor, handler.retryMax) == (0.01, 2.0, 1.0)
        handler.retryStart, handler.retryFactor, handler.retryMax = 50, 3, 60
        emit(handler, [1])
        wait_for(lambda: (handler.retryTime or 0) > time.time() + 20, "half of the delay or more")
        assert handler.retryTime < time.time() + 50
        link = handler._outbox.sender.connection
        handler.retryTime = None  # now
        wait_for(lambda: link._delay == 60, "another attempt has failed")
        handler.retryMax = 0  # not less than what keeps a processor idle
        assert handler._options.back_off.after(None) == 0.01
        handler.retryMax = float("inf")
        assert handler._options.back_off.after(1e9) == 3600
        handler._outbox.finish()


# ---- tracebacks that are not text ----


class Lines(logging.Formatter):
    """A formatter that returns lines, as python-json-logger does with `exc_info_as_array`."""

    def formatException(self, ei: Any) -> Any:  # noqa: N802 - logging's name
        return super().formatException(ei).splitlines(keepends=True)


def test_a_traceback_that_a_formatter_returns_as_lines_is_sent_as_text():
    made = record(1)
    made.exc_info = raised()
    expected = logging.Formatter().formatException(made.exc_info)
    listener = Listener()
    with FakeServer() as server, handler_of(server) as handler:
        reconnecting = client.ReconnectingSocketHandler("127.0.0.1", int(listener.address[1]))
        for each in (handler, reconnecting):
            each.setFormatter(Lines())
            each.handle(made)
        made.__dict__["lock"] = sys.stderr  # then it has to be rescued
        handler.handle(made)
        assert handler.flush()
        assert [sent["exc_text"] for _, _, sent in server.table.records] == [expected] * 2
        wait_for(lambda: listener.records)
        reconnecting.close()
    assert listener.records[0]["exc_text"] == expected
    listener.close()


def test_lines_that_another_handler_has_left_in_the_record_are_sent_as_text():
    made = record(1)
    made.exc_info = raised()
    made.exc_text = ["Traceback:\n", "no"]  # type: ignore[assignment]
    with FakeServer() as server, handler_of(server) as handler:
        handler.handle(made)
        assert handler.flush()
        assert server.table.records[0][2]["exc_text"] == "Traceback:\nno"


LINES = """
import logging, pickle, sys
import fastlog_client
class Lines(logging.Formatter):
    def formatException(self, ei):
        return [u"first\\n", u"second"]
try:
    1 / 0
except ZeroDivisionError:
    made = logging.LogRecord("app", 20, "app.py", 7, "x", (), sys.exc_info())
handler = fastlog_client.SocketHandler("127.0.0.1", 9020)
handler.setFormatter(Lines())
print(repr(str(pickle.loads(handler.makePickle(made)[4:])["exc_text"])))
"""


@pytest.mark.parametrize("version", interpreters())
def test_lines_of_a_traceback_may_be_unicode_in_each_python(version: str):
    done = subprocess.run(
        [interpreters()[version], "-c", LINES],
        env=environment(PYTHONPATH=str(CLIENT)),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("'first\\nsecond'\n", "")
