"""The logging sink: the handlers of a dictConfig get the records as they were sent."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import NODE, make_context, make_decoded, make_record, messages_of, numbered

from fastlog.errors import ConfigError, SinkConflictError
from fastlog.record import Record
from fastlog.sinks import dictconfig
from fastlog.sinks.dictconfig import LoggingSink, rebuild


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Configure logging as in a worker, and restore it after the test."""
    root, own = logging.getLogger(), logging.getLogger("fastlog")
    before, level = root.handlers[:], root.level
    known = set(root.manager.loggerDict)
    own.propagate = False
    yield
    own.propagate = True
    root.handlers[:], root.level = before, level
    for name in set(root.manager.loggerDict) - known:
        del root.manager.loggerDict[name]


def configure(tmp_path: Path, *, layout: str = "%(message)s", more: str = "") -> LoggingSink:
    (tmp_path / "logging.toml").write_text(
        f"""
        [formatters.plain]
        format = '{layout}'
        [handlers.file]
        class = "logging.FileHandler"
        filename = "{tmp_path}/out.log"
        formatter = "plain"
        [root]
        handlers = ["file"]
        {more}
        """
    )
    return LoggingSink(make_context(tmp_path, f"logging://{tmp_path}/logging.toml"))


def written(tmp_path: Path) -> list[str]:
    return (tmp_path / "out.log").read_text().splitlines()


def apply_records(sink: LoggingSink, *records: Record) -> None:
    sink.apply([make_decoded(["x"])._replace(records=list(records))])


def test_records_reach_the_handlers_and_the_cursor_is_kept(tmp_path: Path) -> None:
    chain = numbered(3)
    sink = configure(tmp_path)
    assert sink.open(NODE) == 0
    sink.apply(chain[:2])
    assert sink.sync() == chain[1].block.end
    with pytest.raises(SinkConflictError):
        sink.apply(chain[:1])
    sink.close()

    again = configure(tmp_path)
    again.open(NODE)
    again.apply(chain[2:])
    again.close()
    assert written(tmp_path) == messages_of(chain)


def test_every_field_and_extra_is_an_attribute_again() -> None:
    record = make_record("100% done", exc_text="Traceback: boom", extra='{"user":{"id":7}}')
    rebuilt = rebuild(record)

    for name in set(Record._fields) - {"extra", "offset", "idx"}:
        assert getattr(rebuilt, name) == getattr(record, name)
    assert rebuilt.getMessage() == "100% done"
    assert rebuilt.user == {"id": 7}
    assert rebuilt.msecs == pytest.approx(500)
    assert logging.Formatter("%(levelname)s").format(rebuilt) == "INFO\nTraceback: boom"


def test_an_extra_cannot_replace_an_attribute_that_handlers_rely_on() -> None:
    extra = '{"getMessage":1,"msg":"no","args":[1],"levelno":"x","message":2,"__class__":3}'
    rebuilt = rebuild(make_record("yes", extra=extra))

    assert rebuilt.getMessage() == "yes"
    assert (rebuilt.extra_getMessage, rebuilt.extra_levelno, rebuilt.levelno) == (1, "x", 20)
    assert type(rebuilt) is logging.LogRecord


def test_a_record_without_level_or_logger_is_handled(tmp_path: Path) -> None:
    sink = configure(tmp_path, layout="%(name)s %(levelname)s %(message)s")
    sink.open(NODE)
    apply_records(sink, make_record("m", levelno=None, levelname=None, name=None))
    sink.close()
    assert written(tmp_path) == ["root NOTSET m"]


def test_the_levels_of_handlers_apply_and_those_of_loggers_do_not(tmp_path: Path) -> None:
    sink = configure(tmp_path, more='level = "CRITICAL"')
    sink.open(NODE)
    sink._handlers[0].setLevel(logging.INFO)
    apply_records(sink, make_record("debug", levelno=10), make_record("info", levelno=20))
    sink.close()
    assert written(tmp_path) == ["info"]


def test_a_logger_of_the_configuration_gets_its_records(tmp_path: Path) -> None:
    more = f"""
        [handlers.special]
        class = "logging.FileHandler"
        filename = "{tmp_path}/special.log"
        [loggers.app]
        handlers = ["special"]
        propagate = false
    """
    sink = configure(tmp_path, more=more)
    sink.open(NODE)
    apply_records(sink, make_record("a", name="app.db"), make_record("b", name="other"))
    sink.close()
    assert (tmp_path / "special.log").read_text() == "a\n"
    assert written(tmp_path) == ["b"]


@pytest.mark.parametrize("raising", ["emit", "handle"])
def test_a_handler_that_raises_affects_no_other_and_is_logged_once(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    raising: str,
) -> None:
    def fail(record: logging.LogRecord) -> None:
        raise ValueError("bad handler")

    original = logging.FileHandler.emit

    def emit(self: logging.FileHandler, record: logging.LogRecord) -> None:
        try:
            fail(record) if record.getMessage() == "bad" else original(self, record)
        except ValueError:
            if raising == "handle":
                raise
            self.handleError(record)

    monkeypatch.setattr(logging.FileHandler, "emit", emit)
    sink = configure(tmp_path)
    sink.open(NODE)
    dictconfig.log.addHandler(caplog.handler)
    try:
        apply_records(sink, *[make_record("bad")] * 5, make_record("good"))
    finally:
        dictconfig.log.removeHandler(caplog.handler)

    assert written(tmp_path) == ["good"]
    reports = {record.getMessage() for record in caplog.records}
    assert len(reports) == 1
    assert "bad handler" in reports.pop()
    assert sink._failures == 4, "counted for the next log line"
    sink.close()


def test_clients_cannot_fill_the_memory_with_logger_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dictconfig, "MAX_LOGGERS", 20)
    sink = configure(tmp_path)
    sink.open(NODE)
    before = len(logging.getLogger().manager.loggerDict)
    names = [f"n{k}" for k in range(500)] + ["a." * 100_000, "b" * 100_000, "...", "n1.n2"]
    apply_records(sink, *(make_record(name[:9], name=name) for name in names))
    sink.close()

    assert len(logging.getLogger().manager.loggerDict) - before < 40
    assert len(written(tmp_path)) == len(names)


def test_a_record_of_a_logger_named_fastlog_is_handled_like_others(tmp_path: Path) -> None:
    sink = configure(tmp_path, layout="%(name)s %(message)s")
    sink.open(NODE)
    apply_records(sink, make_record("m", name="fastlog.x"))
    sink.close()
    assert written(tmp_path) == ["fastlog.x m"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "cannot read"),
        ("[handlers", "logging.toml"),
        ('[handlers.x]\nclass = "no.such.Handler"', "no"),
    ],
)
def test_a_wrong_configuration_is_explained(tmp_path: Path, text: str | None, what: str) -> None:
    if text is not None:
        (tmp_path / "logging.toml").write_text(text)
    sink = LoggingSink(make_context(tmp_path, f"logging://{tmp_path}/logging.toml"))
    with pytest.raises(ConfigError, match=what):
        sink.open(NODE)


@pytest.mark.parametrize("url", ["logging:", "logging://host/x", "logging:///x?y=1"])
def test_a_wrong_url_is_explained(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="logging:"):
        LoggingSink(make_context(tmp_path, url))


def test_a_handler_is_failing_from_a_failure_until_it_works_again(tmp_path: Path) -> None:
    sink = configure(
        tmp_path,
        more=f'''
        [handlers.broken]
        class = "logging.FileHandler"
        filename = "{tmp_path}/broken.log"
        level = "ERROR"
        [loggers.app]
        handlers = ["broken"]
        ''',
    )
    sink.open(NODE)
    broken = logging.getLogger("app").handlers[0]
    broken.setFormatter(logging.Formatter("%(nothing)s"))
    first, second, third = numbered(3)
    error, info = (make_record("m", name="app", levelno=level) for level in (40, 20))
    sink.apply([first._replace(records=[error] * 3)])
    assert sink.failing() == {"broken": 3}
    sink.apply([second._replace(records=[info])])  # below the level of the handler
    assert sink.failing() == {"broken": 3}
    broken.setFormatter(None)
    sink.apply([third._replace(records=[error])])
    assert sink.failing() == {}
    sink.close()
    assert len(written(tmp_path)) == 5, "the other handler got every record"
