"""The handler in a program: its options, its formatter and filters, and what it reports."""

from __future__ import annotations

import logging
import logging.config
import sys
import threading
from pathlib import Path
from typing import Any

import fastlog_client as client
import pytest
from client_handlers import emit, end, handler_of, raised, record
from conditions import wait_for
from fastlog_client import reports
from protocol_server import FakeServer

from fastlog.drill.ports import ReservedPort


def test_it_can_be_configured_by_a_dict(tmp_path: Path):
    path = str(tmp_path / "socket")
    with FakeServer(path) as server:
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {
                    "fastlog": {
                        "class": "fastlog_client.SocketHandler",
                        "level": "INFO",
                        "host": path,
                        "max_bytes": 1_000_000,
                        "when_full": "spool",
                        "spool": str(tmp_path / "spool"),
                    }
                },
                "loggers": {"configured": {"handlers": ["fastlog"], "propagate": False}},
            }
        )
        logger = logging.getLogger("configured")
        logger.warning("hello %s", "you", extra={"number": 7})
        (handler,) = logger.handlers
        assert handler.flush(5)  # type: ignore[call-arg]
        assert server.table.numbers() == [7]
        logger.removeHandler(handler)
        handler.close()
        wait_for(lambda: list((tmp_path / "spool").iterdir()) == [])


@pytest.mark.parametrize(
    "options",
    [
        {"when_full": "panic"},
        {"when_full": "spool"},
        {"key": "no-secret"},
        {"key": ":x"},
        {"host": "/run/socket", "port": 9020},
        {"host": ""},
        {"port": "many"},
    ],
)
def test_an_argument_that_makes_no_sense_is_rejected(options: dict[str, Any]):
    with pytest.raises(ValueError):
        client.SocketHandler(**{"host": "localhost", **options})


def test_a_spool_that_cannot_be_made_is_rejected_at_once(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        client.SocketHandler("127.0.0.1", 9020, spool=str(tmp_path / "file" / "spool"))


def test_a_spool_whose_disk_fails_later_keeps_the_records_in_memory(tmp_path: Path):
    with FakeServer() as server, handler_of(server, spool=str(tmp_path / "spool")) as handler:
        (tmp_path / "spool").rmdir()
        emit(handler, [1])
        assert handler.flush()
        server.wait_exact(1)
        assert handler._reporter.hook.count_with("kept in memory") == 1


def test_filters_decide_and_may_replace_the_record():
    class Redact(logging.Filter):
        def filter(self, made: Any) -> Any:
            if made.number == 1:
                return False
            return logging.makeLogRecord({**made.__dict__, "msg": "redacted"})

    with FakeServer() as server, handler_of(server) as handler:
        handler.addFilter(Redact())
        emit(handler, [1, 2])
        assert handler.flush()
        assert [a["number"] for _, _, a in server.table.records] == [2]
        if sys.version_info >= (3, 12):
            assert server.table.records[0][2]["msg"] == "redacted"


def test_the_formatter_makes_the_traceback_and_one_that_fails_becomes_text():
    class Mine(logging.Formatter):
        def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
            if self.datefmt:
                raise RuntimeError("cannot")
            return "mine"

    with FakeServer() as server, handler_of(server) as handler:
        for fails in (None, "fails"):
            handler.setFormatter(Mine(datefmt=fails))
            made = record(1)
            made.exc_info = raised()
            handler.handle(made)
        assert handler.flush()
        texts = [attributes["exc_text"] for _, _, attributes in server.table.records]
        assert texts[0] == "mine"
        assert "ZeroDivisionError" in texts[1]


def test_records_of_many_threads_arrive_in_the_order_of_each():
    with FakeServer() as server, handler_of(server) as handler:
        threads = [
            threading.Thread(target=emit, args=(handler, range(500)), kwargs={"thread": thread})
            for thread in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert handler.flush()
        server.wait_exact(4000)
        for thread in range(8):
            numbers = [a["number"] for _, _, a in server.table.records if a["thread"] == thread]
            assert numbers == list(range(500))


def test_flush_returns_whether_everything_has_arrived():
    with FakeServer(acks=False) as server, handler_of(server) as handler:
        emit(handler, [1])
        assert not handler.flush(0.1)
        server.terms.acks = True
        wait_for(server.live)
        server.reset()
        assert handler.flush(10)


def test_records_that_the_hook_logs_do_not_recurse():
    logger = logging.Logger("app")

    def hook(text: str, error: BaseException | None) -> None:
        logger.error("%s", text, extra={"number": 0, "lock": threading.Lock()})

    with FakeServer() as server, handler_of(server, on_error=hook) as handler:
        logger.addHandler(handler)
        server.stop()
        emit(handler, [1])
        wait_for(lambda: handler.stats()["emitted"] == 2)
        server.restart()
        assert handler.flush()
        assert server.table.numbers() == [1, 0]


def test_a_hook_that_fails_has_no_effect():
    def hook(text: str, error: BaseException | None) -> None:
        raise RuntimeError("a broken hook")

    with FakeServer() as server, handler_of(server, on_error=hook) as handler:
        emit(handler, [1], lock=threading.Lock())
        assert handler.flush()


def test_by_default_one_line_a_minute_goes_to_stderr(capsys: pytest.CaptureFixture[str]):
    with ReservedPort() as port:
        handler = client.SocketHandler("127.0.0.1", port.number, close_timeout=0)
        emit(handler, [1, 2], lock=threading.Lock())
        end(handler)
        lines = capsys.readouterr().err.splitlines()
        assert sum("lock" in line for line in lines) == 1
        assert all(line.startswith("fastlog_client: 127.0.0.1:") for line in lines)


def test_reports_of_two_threads_at_the_same_time_are_both_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    reporter = reports.Reporter("log:9020", None)

    def interrupted() -> float:
        monkeypatch.undo()
        other = threading.Thread(target=reporter.report, args=("spool", "the spool moves", None))
        other.start()
        other.join(30)
        return reports.monotonic()

    monkeypatch.setattr(reports, "monotonic", interrupted)
    reporter.report("server", "cannot connect", None)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "fastlog_client: log:9020: the spool moves",
        "fastlog_client: log:9020: cannot connect",
    ]


def test_nothing_goes_to_stderr_without_raise_exceptions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with ReservedPort() as port:
        handler = client.SocketHandler("127.0.0.1", port.number, close_timeout=0)
        emit(handler, [1], lock=threading.Lock())
        end(handler)
        assert capsys.readouterr().err == ""


def test_a_report_that_waits_while_the_hook_logs_is_made_afterwards():
    texts = []

    def hook(text: str, error: BaseException | None) -> None:
        texts.append(text)
        if len(texts) == 1:
            handler._outbox.store.reports.append(("the spool moves", None))
            handler._outbox.room = -1  # the next record is put
            emit(handler, [2])

    with FakeServer() as server, handler_of(server, on_error=hook) as handler:
        emit(handler, [1])
        handler._reporter.report("server", "cannot connect", None)
        assert handler.flush()
        wait_for(lambda: len(texts) == 2)
        assert texts[1].endswith("the spool moves")
