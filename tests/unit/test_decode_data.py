"""Plain data in pickles and in JSON is decoded to the normal form."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from decoding import decode, record_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlog.record import Rejection


def reason_of(frame: bytes) -> str:
    (located,) = decode(frame).notices
    assert isinstance(located.notice, Rejection)
    return located.notice.reason


def normal(value: Any) -> Any:
    """Return the normal form of plain data, by a second implementation."""
    match value:
        case bytes() | bytearray():
            return bytes(value).decode("utf-8", "backslashreplace").replace("\0", "\\x00")
        case str():
            return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
        case float() if not math.isfinite(value):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        case list() | tuple() | set() | frozenset():
            return [normal(each) for each in value]
        case dict():
            return {normal(key): normal(each) for key, each in value.items()}
    return value


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner, inner)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0\\")), inner)
        | st.frozensets(st.integers(), max_size=1)
        | st.sets(st.text(max_size=5), max_size=1)
    ),
    max_leaves=25,
)
PICKLERS: list[Callable[..., bytes]] = [pickle.dumps, pickle._dumps]  # type: ignore[attr-defined]


@settings(deadline=None)
@given(value=VALUES, protocol=st.integers(0, 5), dumps=st.sampled_from(PICKLERS))
def test_plain_data_is_decoded_as_pickle_reads_it(
    value: Any, protocol: int, dumps: Callable[..., bytes]
) -> None:
    frame = dumps({"msg": "m", "x": value}, protocol)
    expected = {"x": normal(pickle.loads(frame)["x"])}
    assert repr(expected) == repr(json.loads(record_of(frame).extra))


def test_a_json_object_is_a_record_by_the_same_names() -> None:
    sent = {"message": "m", "levelname": "ERROR", "created": 5, "lineno": "7", "user": {"id": [1]}}
    actual = record_of(json.dumps(sent).encode())
    fields = (actual.message, actual.levelno, actual.created, actual.lineno)
    assert fields == ("m", 40, 5.0, 7)
    assert actual.extra == '{"user":{"id":[1]}}'


def test_json_that_python_reads_beyond_the_standard_is_stored_in_the_normal_form() -> None:
    frame = b'{"a":NaN,"b":-Infinity,"c":1e999,"d":"\\ud800\\u0000","e":1,"e":2,"f":%d}' % (10**20)
    expected = {"a": "NaN", "b": "-Infinity", "c": "Infinity", "d": "\\ud800\\x00", "e": 2}
    assert expected | {"f": 10**20} == json.loads(record_of(frame).extra)


def test_json_integers_over_the_bound_are_cut_to_text() -> None:
    extra = json.loads(record_of(b'{"a":' + b"7" * 4096 + b',"b":-' + b"7" * 4097 + b"}").extra)
    assert int("7" * 4096) == extra["a"]
    assert extra["b"] == "-" + "7" * 31 + "… [cut: an integer of 4097 digits]"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"{", "malformed JSON: Expecting property name enclosed in double quotes"),
        (b"{} {}", "malformed JSON: Extra data"),
        (b'{"a":"\xff"}', "malformed JSON: text is not UTF-8"),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "malformed JSON: nested too deep"),
        (b"[]", "malformed pickle: unknown opcode"),
    ],
)
def test_json_that_is_no_object_is_rejected(frame: bytes, reason: str) -> None:
    assert reason == reason_of(frame)


def test_json_deeper_than_the_normal_form_is_cut_not_rejected() -> None:
    brackets = b'"[{' * 500
    frame = b'{"a":' + b"[" * 150 + b"]" * 150 + b',"b":' + brackets[:3] + b'[]"}'
    assert '{"!cut":"depth"}' in record_of(frame).extra
    assert "[{" * 400 in record_of(b'{"a":"' + b"[{" * 400 + b'"}').extra
