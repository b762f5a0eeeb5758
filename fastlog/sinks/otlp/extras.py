"""Values of JSON as OpenTelemetry's values."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from fastlog.sinks.otlp.messages import common

MAX_DEPTH: Final = 16
"""Containers in one another; what is deeper is the text of its JSON. Receivers read messages of 100
levels at most, and a container takes three."""
_LARGEST = (1 << 63) - 1

KeyValue = common.KeyValue
AnyValue = common.AnyValue


def decode(extra: str) -> dict[str, Any]:
    """Return the extras of a record, out of their JSON text."""
    if extra == "{}":
        return {}
    try:
        found = msgspec.json.decode(extra)
    except msgspec.DecodeError:  # a number that no double can have
        found = json.loads(extra)
    return found if isinstance(found, dict) else {}


def any_value(value: object, depth: int = 0) -> Any:
    """Return an `AnyValue`. An integer of more than 64 bits becomes its digits, None is empty."""
    if isinstance(value, str):
        return AnyValue(string_value=clean(value))
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        if -_LARGEST - 1 <= value <= _LARGEST:
            return AnyValue(int_value=value)
        return AnyValue(string_value=str(value))
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if value is None:
        return AnyValue()
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, dict) and depth < MAX_DEPTH:
        pairs = [key_value(str(key), each, depth + 1) for key, each in value.items()]
        return AnyValue(kvlist_value=common.KeyValueList(values=pairs))
    if isinstance(value, list | tuple) and depth < MAX_DEPTH:
        values = [any_value(each, depth + 1) for each in value]
        return AnyValue(array_value=common.ArrayValue(values=values))
    return AnyValue(string_value=clean(json.dumps(value, ensure_ascii=False, default=str)))


def key_value(key: str, value: object, depth: int = 0) -> Any:
    """Return a `KeyValue`."""
    return KeyValue(key=clean(key), value=any_value(value, depth))


def clean(text: str) -> str:
    """Return the text with lone surrogates escaped, which UTF-8 cannot have."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text
