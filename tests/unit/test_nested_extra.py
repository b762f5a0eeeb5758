"""The attribute `extra`: the members of a dict in it become attributes of the record."""

from __future__ import annotations

import collections
import json
import pickle
import time
from typing import Any

import pytest
from engines import difference
from hypothesis import given, settings
from hypothesis import strategies as st
from translations import check, is_plain, record_of

from fastlog.decode.validation import MEMBERS, RESERVED

LOGURU = {
    "name": "app", "msg": "hello", "args": None, "levelname": "SUCCESS", "levelno": 25,
    "pathname": "/srv/app.py", "filename": "app.py", "module": "app", "exc_info": None,
    "exc_text": "\n", "stack_info": None, "lineno": 7, "funcName": "run", "created": 1.5,
    "msecs": 5.0, "relativeCreated": 7.0, "thread": 1, "threadName": "T", "processName": "P",
    "process": 2, "taskName": None,
}  # fmt: skip
"""What loguru gives to a handler of `logging`, without its `extra`."""


def extra_of(attributes: dict[Any, Any], protocol: int = 4) -> Any:
    """Return the stored `extra`, after checking that both engines give it."""
    frame = pickle.dumps(attributes, protocol)
    check(frame)
    return json.loads(record_of(frame).extra)


@pytest.mark.parametrize("protocol", [1, 2, 4])
def test_a_record_of_loguru_is_plain_and_has_the_bound_values(protocol: int) -> None:
    for nested in ({}, {"user": 5}, {"user": 5, "ip": "10.0.0.1", "deep": {"a": [1, {"b": 2}]}}):
        sent = {**LOGURU, "extra": nested}
        assert is_plain(pickle.dumps(sent, protocol))
        assert extra_of(sent, protocol) == nested


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"extra": {"user": 5}}, {"user": 5}),
        ({"a": 1, "extra": {"b": 2, "c": 3}, "d": 4}, {"a": 1, "b": 2, "c": 3, "d": 4}),
        ({"extra": {}}, {}),
        ({"extra": {"": 1}}, {"": 1}),
        ({"extra": {"ü": 1, "host": "x", "idx": 2}}, {"ü": 1, "host": "x", "idx": 2}),
        # A member stays where it is if its name is taken, or is none.
        ({"a": 1, "extra": {"a": 2, "b": 3}}, {"a": 1, "b": 3, "extra": {"a": 2}}),
        ({"extra": {"a": 2, "b": 3}, "a": 1}, {"b": 3, "extra": {"a": 2}, "a": 1}),
        ({"extra": {"name": "x", "b": 3}}, {"b": 3, "extra": {"name": "x"}}),
        ({"extra": {"message": "x", "msg": "y"}}, {"extra": {"message": "x", "msg": "y"}}),
        ({"extra": {"args": [1], "msecs": 2}}, {"extra": {"args": [1], "msecs": 2}}),
        ({"extra": {"extra": {"a": 1}, "b": 2}}, {"b": 2, "extra": {"extra": {"a": 1}}}),
        ({"extra": {1: 2, "b": 3}}, {"b": 3, "extra": {"1": 2}}),
        ({"extra": {b"a": 1, "b": 3}}, {"a": 1, "b": 3}),
        ({b"extra": {b"a": 1}}, {"a": 1}),
        ({b"a": 0, "extra": {"a": 1}}, {"a": 0, "extra": {"a": 1}}),
        ({"a\0": 0, "extra": {"a\\x00": 1}}, {"a\\x00": 0, "extra": {"a\\x00": 1}}),
        ({"extra": {"x" * 300: 1, "b": 2}}, {"b": 2, "extra": {"x" * 300: 1}}),
        # Another value is not taken apart.
        ({"extra": None}, {"extra": None}),
        ({"extra": "text"}, {"extra": "text"}),
        ({"extra": [{"a": 1}]}, {"extra": [{"a": 1}]}),
    ],
)
def test_the_members_become_attributes(
    attributes: dict[Any, Any], expected: dict[str, Any]
) -> None:
    has_bytes = 'b"' in repr(attributes) or "b'" in repr(attributes)
    for protocol in (4,) if has_bytes else (1, 2, 4):  # older ones have no bytes
        assert extra_of({"msg": "m", **attributes}, protocol) == expected
    if not has_bytes:
        frame = json.dumps({"msg": "m", **attributes}).encode()
        check(frame)
        assert json.loads(record_of(frame).extra) == expected


def test_the_members_of_json_become_attributes() -> None:
    frame = b'{"msg": "m", "a": 1, "extra": {"b": {"c": 2}, "d": []}, "e": 3}'
    check(frame)
    assert record_of(frame).extra == '{"a":1,"b":{"c":2},"d":[],"e":3}'
    frame = b'{"msg": "m", "a": 1, "extra": {"a": 2, "lineno": 3, "d": []}}'
    check(frame)
    assert record_of(frame).extra == '{"a":1,"d":[],"extra":{"a":2,"lineno":3}}'


def test_a_dict_that_is_shared_or_contains_itself_is_taken_apart_once() -> None:
    nested: dict[str, Any] = {"a": 1}
    assert extra_of({"msg": "m", "extra": nested, "again": nested}) == {"a": 1, "again": {"a": 1}}
    nested["self"] = nested
    assert extra_of({"msg": "m", "extra": nested})["a"] == 1


def test_many_members_stay_where_they_are() -> None:
    names = [f"n{i}" for i in range(MEMBERS)]
    assert extra_of({"msg": "m", "extra": dict.fromkeys(names)}) == dict.fromkeys(names)
    more = dict.fromkeys([*names, "one more"])
    assert extra_of({"msg": "m", "extra": more}) == {"extra": more}
    assert extra_of({"msg": "m", **more, "extra": {"a": 1}}) == {**more, "extra": {"a": 1}}


def test_the_arguments_and_the_message_are_those_of_the_record() -> None:
    frame = pickle.dumps({"msg": "%s", "args": ("x",), "extra": {"args": ("y",), "a": 1}})
    check(frame)
    record = record_of(frame)
    assert (record.message, json.loads(record.extra)) == ("x", {"a": 1, "extra": {"args": ["y"]}})
    frame = pickle.dumps({"message": "m", "extra": {"msg": "other"}})
    check(frame)
    assert record_of(frame).message == "m"


def test_long_names_that_are_repeated_cost_no_time() -> None:
    """Each of them takes two bytes of the frame."""
    long = "ü" * 200_000
    members = b"".join(b"h\x07K\x01" for _ in range(100_000))
    name = long.encode()
    frame = (
        b"\x80\x02}(X\3\0\0\0msgX\1\0\0\0mX" + len(name).to_bytes(4, "little") + name + b"q\x07K\1"
        b"X\5\0\0\0extra}(" + members + b"uu."
    )
    began = time.process_time()
    check(frame)
    assert time.process_time() - began < 20


NAMES = st.sampled_from(
    [*sorted(RESERVED), "a", "b", "c", "ü", "", "!notes", "!cut", "host", "\0", "\udc80", b"a",
     b"\xff", b"name", b"extra", 1, True, None]
)  # fmt: skip
SCALARS = st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["m", "", "%s", b"x"]))
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=2),
    st.dictionaries(NAMES, SCALARS | st.dictionaries(NAMES, SCALARS, max_size=2), max_size=4),
)


@settings(deadline=None, max_examples=400)
@given(st.dictionaries(NAMES, VALUES, max_size=5), VALUES, st.sampled_from([1, 2, 4]))
def test_both_engines_give_the_same_for_any_names(
    attributes: dict[Any, Any], nested: Any, protocol: int
) -> None:
    frame = pickle.dumps({"msg": "m", **attributes, "extra": nested}, protocol)
    assert difference([frame]) == ""


def test_a_dict_of_another_class_stays_in_extra() -> None:
    ordered = collections.OrderedDict(a=1)
    assert extra_of({"msg": "m", "extra": ordered}) == {"extra": {"a": 1}}
