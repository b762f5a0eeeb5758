"""Validation is strict about types, generous about content, and drops nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlog.decode.record_builder import build_record
from fastlog.decode.validation import FIELDS
from fastlog.record import Record

RECEIVED = 1_700_000_000.0


LONG = 1 << 24
"""Bytes of a frame so long that only the absolute bounds apply."""


def inert(value: Any) -> Any:
    match value:
        case dict():
            return {"pairs": [part for pair in value.items() for part in map(inert, pair)]}
        case list():
            return [inert(each) for each in value]
    return value


def record_of(**attributes: Any) -> Record:
    return build_record(inert(attributes), LONG, host="h", received=RECEIVED, offset=7, idx=3)


def extra_of(**attributes: Any) -> Any:
    return json.loads(record_of(**attributes).extra)


def test_a_complete_record_has_every_field_and_an_empty_extra() -> None:
    sent = {
        "created": 1.5,
        "levelno": 30,
        "levelname": "WARNING",
        "name": "app",
        "msg": "hello",
        "pathname": "/a.py",
        "filename": "a.py",
        "module": "a",
        "lineno": 12,
        "funcName": "f",
        "process": 1,
        "processName": "Main",
        "thread": 2**47,
        "threadName": "T",
        "taskName": "Task-1",
        "exc_text": "Traceback",
        "stack_info": "Stack",
        "msecs": 500.0,
        "relativeCreated": 3.0,
        "args": None,
        "exc_info": None,
    }
    expected = (
        *(1.5, 30, "WARNING", "app", "hello", "/a.py", "a.py", "a", 12, "f", 1, "Main", 2**47),
        *("T", "Task-1", "Traceback", "Stack", "h", None, RECEIVED, "{}", 7, 3),
    )
    assert Record(*expected) == record_of(**sent)
    assert set(sent) - {"msecs", "relativeCreated", "args", "exc_info"} == FIELDS


def test_an_empty_record_has_no_fields_and_the_time_of_receipt() -> None:
    actual = record_of()
    assert (actual.created, actual.message, actual.extra) == (RECEIVED, "", "{}")
    assert {None} == set(actual[1:4] + actual[5:17])


COERCED = [
    ("levelno", "40", 40),
    ("levelno", 40.0, 40),
    ("levelno", "+40", 40),
    ("process", 1234.0, 1234),
    ("lineno", "-1", -1),
    ("thread", "9223372036854775807", 2**63 - 1),
    ("thread", -(2**63), -(2**63)),
    ("created", 5, 5.0),
    ("created", "5.25", 5.25),
    ("name", 5, "5"),
    ("name", 0, "0"),
    ("exc_text", ["Traceback:", "  line 1", "Error: no"], "Traceback:\n  line 1\nError: no"),
    ("stack_info", ["Stack:\n", "  line 1\n    f()\n"], "Stack:\n  line 1\n    f()"),
    ("exc_text", ["one", None], '["one",null]'),
    ("exc_text", [{"exc_type": "E"}], '[{"exc_type":"E"}]'),
    ("stack_info", {"frames": [1]}, '{"frames":[1]}'),
    ("exc_text", 5, "5"),
    ("exc_text", "\n\n", "\n\n"),
    ("name", "", ""),
    ("taskName", "\n", "\n"),
]


@pytest.mark.parametrize(("field", "sent", "expected"), COERCED)
def test_a_value_of_a_wrong_type_is_coerced_without_a_note_if_nothing_is_lost(
    field: str, sent: Any, expected: Any
) -> None:
    actual = record_of(**{field: sent})
    assert expected == getattr(actual, field)
    assert type(expected) is type(getattr(actual, field))
    assert actual.extra == "{}"


MEAN_NONE = [
    *((name, value) for name in sorted(FIELDS - {"msg"}) for value in (False, [], {})),
    *(("stack_info", value) for value in (0, 0.0, "", "\n")),
    *(("exc_text", value) for value in (0, 0.0, "", "\n")),
    *((name, "") for name in ("lineno", "levelno", "process", "thread", "created")),
]


@pytest.mark.parametrize(("field", "sent"), MEAN_NONE)
def test_a_value_that_loggers_send_for_none_is_none_without_a_note(field: str, sent: Any) -> None:
    actual = record_of(**{field: sent})
    assert getattr(actual, field) == (RECEIVED if field == "created" else None)
    assert actual.extra == "{}"


ODD = [
    ("lineno", "abc", "lineno: 'abc' is not an integer"),
    ("lineno", "1_000", "lineno: '1_000' is not an integer"),
    ("lineno", "٣", "lineno: '٣' is not an integer"),
    ("lineno", 1.5, "lineno: 1.5 is not an integer"),
    ("lineno", 1e300, "lineno: 1e300 is not an integer"),
    ("lineno", True, "lineno: true is not an integer"),
    ("process", [1], "process: [1] is not an integer"),
    ("thread", 2**63, f"thread: {2**63} is not an integer"),
    ("thread", -(2**63) - 1, f"thread: {-(2**63) - 1} is not an integer"),
    ("thread", 10**4000, "thread: 1" + "0" * 79 + "… is not an integer"),
    ("levelno", {"a": 1}, 'levelno: {"a":1} is not an integer'),
    ("name", ["a"], 'name: ["a"] is not text'),
    ("name", 10**30, f"name: {10**30} is not text"),
    ("levelname", True, "levelname: true is not text"),
    ("stack_info", True, "stack_info: true is not text"),
    ("exc_text", 1.5, "exc_text: 1.5 is not text"),
    ("taskName", {"a": 1}, 'taskName: {"a":1} is not text'),
]


@pytest.mark.parametrize(("field", "sent", "note"), ODD, ids=[f"{f}-{v!r:.20}" for f, v, _ in ODD])
def test_an_invalid_value_is_noted_and_kept_in_extra(field: str, sent: Any, note: str) -> None:
    actual = record_of(**{field: sent}, user="bob")
    assert getattr(actual, field) is None
    assert {"user": "bob", field: sent, "!notes": [note]} == json.loads(actual.extra)


@pytest.mark.parametrize("sent", ["NaN", 1e300, -1e300, "soon", [1], True, 10**400, 1.7e12])
def test_an_invalid_time_is_replaced_by_the_time_of_receipt(sent: Any) -> None:
    actual = record_of(created=sent)
    assert actual.created == RECEIVED
    kept = json.loads(actual.extra)
    assert sent == kept["created"]
    assert kept["!notes"][0].startswith("created: ")


def test_notes_are_in_order_and_do_not_replace_an_attribute_of_the_same_name() -> None:
    kept = extra_of(lineno=[1], name=[1], **{"!notes": "mine"})
    assert kept["!notes"] == "mine"
    assert kept["!!notes"] == ["name: [1] is not text", "lineno: [1] is not an integer"]


LEVELS = [
    ({"levelname": "ERROR"}, (40, "ERROR")),
    ({"levelname": "warn"}, (30, "warn")),
    ({"levelname": "NOISE"}, (None, "NOISE")),
    ({"levelno": 50}, (50, "CRITICAL")),
    ({"levelno": 30}, (30, "WARNING")),
    ({"levelno": 0}, (0, "NOTSET")),
    ({"levelno": 15}, (15, None)),
    ({"levelno": 15, "levelname": "ERROR"}, (15, "ERROR")),
    ({}, (None, None)),
]


@pytest.mark.parametrize(("sent", "expected"), LEVELS)
def test_a_missing_number_or_name_of_a_level_is_derived(
    sent: dict[str, Any], expected: tuple[int | None, str | None]
) -> None:
    actual = record_of(**sent)
    assert expected == (actual.levelno, actual.levelname)


MESSAGES = [
    ({"msg": "m"}, "m", {}),
    ({"msg": "m", "message": "m"}, "m", {}),
    ({"msg": "m", "message": "other"}, "m", {"message": "other"}),
    ({"message": "m"}, "m", {}),
    ({"msg": None, "message": "m"}, "m", {}),
    ({"msg": "", "message": ""}, "", {}),
    ({"msg": None}, "", {}),
    ({"msg": 5}, "5", {"msg": 5}),
    ({"msg": {"event": "x"}}, '{"event":"x"}', {"msg": {"event": "x"}}),
    ({"message": [1]}, "[1]", {"message": [1]}),
    ({"msg": 10**30}, "1" + "0" * 30, {"msg": 10**30}),
]


@pytest.mark.parametrize(("sent", "message", "kept"), MESSAGES)
def test_the_message_is_the_text_of_msg_and_a_msg_that_is_no_text_is_kept(
    sent: dict[str, Any], message: str, kept: dict[str, Any]
) -> None:
    actual = record_of(**sent)
    assert message == actual.message
    assert kept == json.loads(actual.extra)


def test_only_attributes_without_information_are_dropped() -> None:
    assert extra_of(args=None, exc_info=None, msecs=1, relativeCreated=2) == {}
    assert extra_of(args=[], exc_info="", asctime=None) == {}
    assert extra_of(asctime="12:00") == {"asctime": "12:00"}
    assert extra_of(args=[1], exc_info=True) == {"args": [1], "exc_info": True}
    assert extra_of(args={}, msg="m", message="m") == {}
    assert extra_of(host="theirs", extra={"a": 1}) == {"host": "theirs", "a": 1}


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*sorted(FIELDS), "message", "args", "user"]), JSON_LIKE))
def test_any_attributes_give_a_record_of_the_right_types_that_keeps_invalid_values(
    sent: dict[str, Any],
) -> None:
    actual = record_of(**sent)
    assert isinstance(actual.created, float)
    assert isinstance(actual.message, str)
    for value in (actual.levelno, actual.lineno, actual.process, actual.thread):
        assert value is None or (type(value) is int and -(2**63) <= value < 2**63)
    kept = json.loads(actual.extra, parse_constant=lambda name: pytest.fail(name))
    fields = actual._asdict()
    for name in FIELDS - {"msg", "created"}:
        value = sent.get(name)
        lines = name in {"exc_text", "stack_info"} and isinstance(value, list)
        if lines and all(isinstance(line, str) for line in value):
            value = "".join(value).strip("\n")
        means_none = value is False or value in (None, "", "\n", [], {}, 0)
        if fields[name] is None and not means_none:
            assert sent[name] == kept[name]
            assert any(note.startswith(f"{name}: ") for note in kept["!notes"])
    if "user" in sent:
        assert sent["user"] == kept["user"]
