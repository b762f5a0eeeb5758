"""A record becomes a log record of OpenTelemetry, compared field by field with what is decoded."""

from __future__ import annotations

import json
import logging
import math
import socket
from typing import Any

import pytest
from builders import MONDAY, NODE, make_record
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from otlp_receivers import Received, records_of

from fastlog.record import Record
from fastlog.sinks.otlp import extras
from fastlog.sinks.otlp.mapping import Mapping, qualified
from fastlog.sinks.otlp.memo import Memo
from fastlog.sinks.otlp.requests import SizeOfRequest, make_request
from fastlog.sinks.otlp.severity import severity_number

TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\nValueError: no'
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def sent(*records: Record, max_traceback: int = 1000, **attributes: str) -> list[Received]:
    """Return what a receiver gets of these records."""
    mapping = Mapping(NODE, attributes, max_traceback)
    request = make_request([mapping.encode(record) for record in records])
    return list(records_of(ExportLogsServiceRequest.FromString(request)))


def one(message: str = "hello", **fields: Any) -> Received:
    extra = fields.pop("extra", {})
    (found,) = sent(make_record(message, extra=json.dumps(extra), **fields))
    return found


def test_every_field_of_a_record() -> None:
    record = make_record(
        "hello\nwörld",
        created=MONDAY + 0.123456,
        levelno=30,
        levelname="WARNING",
        taskName="Task-1",
        certificate="payments",
        exc_text=TRACEBACK,
        stack_info="Stack (most recent call last):\n  …",
        host="192.0.2.7",
        extra='{"user":7}',
        offset=660,
        idx=3,
    )
    mapping = Mapping(NODE, {"service.name": "shop"}, 1000)
    request = ExportLogsServiceRequest.FromString(make_request([mapping.encode(record)]))
    (found,) = records_of(request)
    message = found.record

    assert found.resource == {"service.name": "shop", "host.ip": ["192.0.2.7"]}
    assert found.scope == "app.db"
    assert message.time_unix_nano == MONDAY * 10**9 + 123_456_000
    assert message.observed_time_unix_nano == (MONDAY + 1) * 10**9
    assert (message.severity_number, message.severity_text) == (13, "WARNING")
    assert (message.trace_id, message.span_id, message.flags) == (b"", b"", 0)
    assert (message.dropped_attributes_count, message.event_name) == (0, "")
    assert found.body == "hello\nwörld"
    assert found.attributes == {
        "code.function.name": "app.db.run",
        "code.file.path": "/srv/app/db.py",
        "code.line.number": 7,
        "code.stacktrace": "Stack (most recent call last):\n  …",
        "exception.type": "ValueError",
        "exception.message": "no",
        "exception.stacktrace": TRACEBACK,
        "log.record.uid": f"{NODE}/660/3",
        "process.pid": 11,
        "python.process.name": "MainProcess",
        "python.task.name": "Task-1",
        "fastlog.certificate": "payments",
        "thread.id": 12,
        "thread.name": "MainThread",
        "user": 7,
    }


def test_a_record_without_anything() -> None:
    nothing = {name: None for name in Record._fields if name not in ("extra", "offset", "idx")}
    nothing |= {"created": -5.0, "received": 1e30, "host": "unix"}
    del nothing["message"]
    found = one("", **nothing)

    assert found.scope == ""
    assert found.body == ""
    assert found.attributes == {"log.record.uid": f"{NODE}/0/0"}
    assert found.record.time_unix_nano == 0, "unknown: it was before 1970"
    assert found.record.observed_time_unix_nano == 2**64 - 1
    assert (found.record.severity_number, found.record.severity_text) == (0, "")
    assert found.resource == {"service.name": "unknown_service", "host.name": socket.gethostname()}


@pytest.mark.parametrize(
    ("level", "number"),
    [
        (None, 0), (logging.NOTSET, 0), (-3, 1), (1, 1), (5, 3), (9, 4), (logging.DEBUG, 5),
        (15, 7), (logging.INFO, 9), (25, 11), (logging.WARNING, 13), (35, 15),
        (logging.ERROR, 17), (45, 19), (logging.CRITICAL, 21), (55, 23), (2**62, 24),
    ],
)  # fmt: skip
def test_levels(level: int | None, number: int) -> None:
    assert severity_number(level) == number


def test_the_order_of_levels_stays() -> None:
    numbers = [severity_number(level) for level in range(1, 100)]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("given", "trace", "span", "flags", "left"),
    [
        (
            {"otelTraceID": TRACE, "otelSpanID": SPAN, "otelTraceSampled": True},
            TRACE, SPAN, 1, {},
        ),
        ({"otelTraceID": "0", "otelSpanID": "0", "otelTraceSampled": False}, "", "", 0, {}),
        ({"otelTraceID": "0" * 32, "otelSpanID": "0" * 16}, "", "", 0, {}),
        (
            {"dd.trace_id": "13231427374958093245", "dd.span_id": "72"},
            f"{13231427374958093245:032x}", f"{72:016x}", 0, {},
        ),
        ({"dd.trace_id": 72, "dd.span_id": 73}, f"{72:032x}", f"{73:016x}", 0, {}),
        ({"dd.trace_id": TRACE, "dd.span_id": str(2**64 - 1)}, TRACE, "f" * 16, 0, {}),
        # 32 digits that are all decimal are hexadecimal: no number of 64 bits is so long.
        ({"dd.trace_id": "1" * 32, "dd.span_id": "1"}, "1" * 32, f"{1:016x}", 0, {}),
        ({"dd.trace_id": "0", "dd.span_id": "0"}, "", "", 0, {}),
        (
            {"trace_id": "0x" + TRACE.upper(), "span_id": SPAN, "trace_flags": "01"},
            TRACE, SPAN, 1, {},
        ),
        ({"trace_id": TRACE, "span_id": SPAN, "trace_flags": 3}, TRACE, SPAN, 3, {}),
        # What is no id stays an extra.
        (
            {"trace_id": "abc", "span_id": 5, "dd.trace_id": str(2**64), "otelTraceID": [1]},
            "", "", 0,
            {"trace_id": "abc", "span_id": 5, "dd.trace_id": str(2**64), "otelTraceID": [1]},
        ),
        ({"trace_flags": 1}, "", "", 0, {"trace_flags": 1}),
        ({"otelTraceID": TRACE, "dd.trace_id": "7"}, TRACE, "", 0, {"dd.trace_id": "7"}),
    ],
)  # fmt: skip
def test_traces(
    given: dict[str, Any], trace: str, span: str, flags: int, left: dict[str, Any]
) -> None:
    found = one(extra=given)
    assert (found.record.trace_id.hex(), found.record.span_id.hex()) == (trace, span)
    assert found.record.flags == flags
    assert {name: found.attributes[name] for name in given if name in found.attributes} == left


def test_a_service_is_that_of_the_record_or_of_the_configuration() -> None:
    configured = {"service.name": "configured", "service.version": "1", "k8s.cluster.name": "eu"}
    datadog = {"dd.service": "cart", "dd.env": "prod", "dd.version": "2", "otelServiceName": ""}
    found = sent(
        make_record("a", extra=json.dumps({"otelServiceName": "shop"})),
        make_record("b", extra=json.dumps(datadog)),
        make_record("c", extra=json.dumps({"service.namespace": "web", "service.name": 5})),
        make_record("d", host="::1"),
        make_record("e", host="2001:db8::1"),
        **configured,
    )
    here = {"host.name": socket.gethostname()}
    resources = {each.message: each.resource for each in found}
    assert resources["a"] == {**configured, **here, "service.name": "shop"}
    assert resources["b"] == {
        **configured, **here, "service.name": "cart", "service.version": "2",
        "deployment.environment.name": "prod",
    }  # fmt: skip
    assert resources["c"] == {**configured, **here, "service.namespace": "web"}
    assert resources["d"] == {**configured, **here}
    assert resources["e"] == {**configured, "host.ip": ["2001:db8::1"]}
    assert found[-1].attributes["user"] == 7
    left = [each.attributes for each in found if each.message in "abc"]
    assert left[0].keys() - left[1].keys() == set()
    assert next(each for each in found if each.message == "c").attributes["service.name"] == 5


def test_values_of_extras() -> None:
    given = {
        "text": "ü\0", "int": 2**63 - 1, "negative": -(2**63), "large": 2**63, "float": 0.1,
        "true": True, "none": None, "list": [1, "a", None, [2.5, {}]], "dict": {"a": {"b": []}},
    }  # fmt: skip
    found = one(extra=given)
    expected = {**given, "large": str(2**63)}
    assert {name: found.attributes[name] for name in given} == expected


def test_values_that_no_record_has() -> None:
    values = [math.nan, math.inf, b"\0\xff", "\ud800", ("a", 1), {1: 2}, -(2**64)]
    found = [extras.any_value(value) for value in values]
    assert math.isnan(found[0].double_value)
    assert found[1].double_value == math.inf
    assert found[2].bytes_value == b"\0\xff"
    assert found[3].string_value == "\\ud800"
    assert [each.WhichOneof("value") for each in found[4:6]] == ["array_value", "kvlist_value"]
    assert found[6].string_value == str(-(2**64))
    assert extras.decode('{"a":1e400}') == {"a": math.inf}
    assert extras.decode("[1]") == {}


def test_containers_that_are_deeper_than_receivers_read_become_text() -> None:
    deep: Any = "end"
    for _ in range(32):
        deep = {"k": [deep]}
    found = one(extra={"deep": deep})  # it can be decoded again: no more than 100 levels
    value = found.attributes["deep"]
    for _ in range(extras.MAX_DEPTH // 2):
        value = value["k"][0]
    assert json.loads(value)["k"][0]["k"]


def test_names_of_attributes_are_unique() -> None:
    given = {
        "log.record.uid": "mine", "thread.name": "mine", "": "empty", "extra.": "taken",
        "exception.type": "kept: this record has no exception",
    }  # fmt: skip
    found = one(extra=given).attributes  # the receiver of the tests checks that they are unique
    assert found["extra.log.record.uid"] == found["extra.thread.name"] == "mine"
    assert found["thread.name"] == "MainThread"
    assert found["extra.extra."] == "empty"
    assert found["extra."] == "taken"
    assert found["exception.type"] == "kept: this record has no exception"


def test_a_long_traceback_goes_behind_the_message() -> None:
    text = TRACEBACK + "ä" * 1000
    (found,) = sent(make_record("hello", exc_text=text), max_traceback=1000)
    assert found.body == f"hello\n{text}"
    assert "exception.stacktrace" not in found.attributes
    assert found.attributes["exception.type"] == "ValueError"
    assert found.attributes["exception.message"].startswith("noää")
    assert len(found.attributes["exception.message"].encode()) <= 1000


@pytest.mark.parametrize(
    ("name", "module", "logger", "path", "expected"),
    [
        ("run", "db", "app.db", "/app/db.py", "app.db.run"),
        ("run", "db", "db", "db.py", "db.run"),
        ("run", "__init__", "app.sub", "/srv/app/sub/__init__.py", "app.sub.run"),
        ("run", "__init__", "app.sub", "C:\\app\\sub\\__init__.py", "app.sub.run"),
        ("run", "__init__", "app", None, "run"),
        ("run", "db", "requests", "/app/db.py", "run"),
        ("run", None, "app.db", None, "run"),
        ("run", "db", None, None, "run"),
    ],
)
def test_names_of_functions(
    name: str, module: str | None, logger: str | None, path: str | None, expected: str
) -> None:
    assert qualified(name, module, logger, path) == expected


def test_what_recurs_is_remembered_in_bounded_memory() -> None:
    made: list[str] = []

    def make(text: str, number: int) -> bytes:
        made.append(text)
        return text.encode()

    memo = Memo(make, limit=10_000)
    assert memo("a", 1) == memo("a", 1) == b"a"
    assert made == ["a"]
    assert memo("x" * 100_000, 1) == b"x" * 100_000
    assert len(memo) == 0
    for n in range(1000):
        assert memo("b", n) == b"b"
        assert len(memo) < 25


def test_records_are_grouped_and_keep_their_order_in_a_logger() -> None:
    records = [
        make_record(str(n), name=("a", "b")[n % 2], host=("10.0.0.1", "10.0.0.2")[n // 5])
        for n in range(10)
    ]
    found = sent(*records)
    groups: dict[tuple[str, str], list[str]] = {}
    for each in found:
        groups.setdefault((each.resource["host.ip"][0], each.scope), []).append(each.message)
    assert list(groups.values()) == [["0", "2", "4"], ["1", "3"], ["5", "7", "9"], ["6", "8"]]
    mapping = Mapping(NODE, {}, 1000)
    request = ExportLogsServiceRequest.FromString(
        make_request([mapping.encode(record) for record in records])
    )
    assert len(request.resource_logs) == 2
    assert [len(group.scope_logs) for group in request.resource_logs] == [2, 2]


@pytest.mark.parametrize("length", [0, 1, 100, 127, 128, 16_000, 17_000, 300_000])
def test_the_size_of_a_request_is_not_underestimated(length: int) -> None:
    mapping, size, items = Mapping(NODE, {}, 1000), SizeOfRequest(), []
    for n in range(7):
        items.append(
            mapping.encode(make_record("x" * length, name="ü" * n, host=f"10.0.0.{n % 2}"))
        )
        size.add(items[-1])
    request = make_request(items)
    assert len(request) <= size.bytes <= len(request) + 100 * len(items)
    assert len(ExportLogsServiceRequest.FromString(request).SerializeToString()) == len(request)
