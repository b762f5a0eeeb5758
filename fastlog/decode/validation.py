"""Validation: from values in normal form to the columns and the `extra` of a record.

Validation is strict about types and generous about content. A value of the wrong type is coerced if
that loses nothing. Otherwise the column is `None`, the value stays in `extra` under the field's own
name, and `extra["!notes"]` says what was wrong.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from fastlog.record import Record

FIELDS: Final = frozenset(Record._fields[:17]) - {"message"} | {"msg"}
"""The names under which a client sends the fields of the schema. (JSON clients send the message as
`message`; beside a `msg`, that is an extra attribute.)"""

NOTES = "!notes"
"""The key in `extra` of the notes about invalid values."""

DROPPED: Final = ("msecs", "relativeCreated")
"""Attributes that are dropped: the first is in `created`, the second counts from the start of the
client's process and means nothing outside of it."""
ARGS: Final = "args"
"""The arguments of the message, if the client has not merged them."""
DROPPED_IF_EMPTY: Final = ("args", "exc_info", "asctime")
TWIN: Final = "message"
"""The attribute that is dropped if it equals `msg`."""
NESTED: Final = "extra"
"""The attribute whose members become attributes if it is a dict: loguru's, and `extra={"extra":
{…}}`."""
TRACES: Final = ("exc_text", "stack_info")
"""Text of several lines. Formatters and loggers put other values into these fields too."""
LEVEL: Final = ("levelno", "levelname")
"""If one of these is missing, it is derived from the other."""
EMPTY: Final[tuple[object, ...]] = (None, "", [], {})
"""Values in normal form that hold nothing."""
NO_TRACE: Final = ("", "\n")
"""Values of `exc_text` that mean no traceback: from loguru, and from formatters that store the
traceback elsewhere."""
_NUMBERS: Final = {
    "NOTSET": logging.NOTSET,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
    "FATAL": logging.CRITICAL,
}
_NAMES: Final = {number: name for name, number in _NUMBERS.items() if name not in ("WARN", "FATAL")}
TIMES: Final = (-62_135_596_800.0, 253_402_300_800.0)
"""The years 1 to 9999, as datetime has them; the second bound is excluded."""
_DIGITS = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{0,20})?", re.ASCII)

_LEVEL = re.compile(r"Level (-?[0-9]{1,9})", re.ASCII)
_INTEGERS: Final = ("levelno", "lineno", "process", "thread")
_encode = msgspec.json.Encoder().encode

T = TypeVar("T")

COLUMNS: Final = Record._fields[:17]
"""The fields of the schema, in order; clients send `message` as `msg`."""
MEMBERS: Final = 256
"""Members of `NESTED`, and attributes beside it, up to which it is taken apart; and characters of
the name of a member. A name may be repeated for two bytes, so comparing more would be costly."""
RESERVED: Final = frozenset((*COLUMNS, *FIELDS, *DROPPED, *DROPPED_IF_EMPTY, TWIN, NESTED))
"""The names of attributes that have a meaning, which a member of `NESTED` does not take over."""
MESSAGE: Final = COLUMNS.index("message")
KINDS: Final[tuple[type[Any], ...]] = tuple(
    float if name == "created" else int if name in _INTEGERS else str for name in COLUMNS
)
"""The type of each column."""
_TYPED_COLUMNS: Final = tuple(enumerate(zip(KINDS, COLUMNS, strict=True)))
_LEVELNO, _LEVELNAME = COLUMNS.index("levelno"), COLUMNS.index("levelname")
_TRACES: Final = tuple(COLUMNS.index(name) for name in TRACES)


class Validated(NamedTuple):
    """The columns of a record, and the values that did not fit them."""

    columns: list[Any]
    """As in `Record`, in the order of `COLUMNS`."""
    invalid: dict[str, Any]
    """The values that are invalid for their columns, for `extra`, by the names of the client."""
    notes: list[str]
    """A sentence about each value that its column could not take."""


def validate(values: list[Any], received: float, message: str = "msg") -> Validated:
    """Return the columns of the values that a client sent for the fields of the schema.

    Args:
        values: In normal form, in the order of `COLUMNS`; None where the client sent none. The list
            is changed, and becomes that of the columns.
        received: As in `Record`.
        message: The name of the attribute that the message comes from.
    """
    invalid: dict[str, Any] = {}
    notes: list[str] = []
    for at, (kind, name) in _TYPED_COLUMNS:
        value = values[at]
        if type(value) is kind:
            if (kind is int and not -1 << 63 <= value < 1 << 63) or (
                kind is float and not TIMES[0] <= value < TIMES[1]
            ):
                values[at] = _coerced_field(name, value, invalid, notes)
        elif value is not None:
            if at == MESSAGE:
                invalid[message] = value
                values[at] = json_text(value)
            else:
                values[at] = _coerced_field(name, value, invalid, notes)
    if values[0] is None:
        values[0] = received
    if values[MESSAGE] is None:
        values[MESSAGE] = ""
    for at in _TRACES:
        if values[at] in NO_TRACE:
            values[at] = None
    if values[_LEVELNO] is None and values[_LEVELNAME] is not None:
        values[_LEVELNO] = _level(values[_LEVELNAME])
    elif values[_LEVELNAME] is None and values[_LEVELNO] is not None:
        values[_LEVELNAME] = _NAMES.get(values[_LEVELNO])
    return Validated(values, invalid, notes)


def _level(name: str) -> int | None:
    """Return the number of a level by its name: 25 for `Level 25`, as `logging` names it."""
    level = _NUMBERS.get(name.upper())
    if level is None and (match := _LEVEL.fullmatch(name)):
        level = int(match[1])
    return level


def _coerced_field(name: str, value: Any, invalid: dict[str, Any], notes: list[str]) -> Any:
    """Return the column of a value that does not have the type or the range of the column."""
    if name == "created":
        return _coerced(_time, "a time", name, value, invalid, notes)
    if name in TRACES:
        return _coerced(_trace, "text", name, value, invalid, notes) if value else None
    if name in _INTEGERS:
        return _coerced(_integer, "an integer", name, value, invalid, notes)
    return _coerced(_text, "text", name, value, invalid, notes)


def _coerced(
    coerce: Callable[[Any], T | None],
    expected: str,
    name: str,
    value: Any,
    invalid: dict[str, Any],
    notes: list[str],
) -> T | None:
    if _means_none(value):
        return None
    result = coerce(value)
    if result is None:
        invalid[name] = value
        notes.append(f"{name}: {_shown(value)} is not {expected}")
    return result


def _means_none(value: Any) -> bool:
    """Return whether a logger sends this for a field without a value: picologging sends
    `stack_info=False`."""
    return value is False or value in EMPTY


def _text(value: Any) -> str | None:
    return str(value) if type(value) is int and value.bit_length() <= 64 else None


def _trace(value: Any) -> str | None:
    """Return the text of a traceback or a stack.

    A list of lines, as `traceback.format_exception` and python-json-logger give it, is joined. Of
    any other structure, the JSON text is returned.
    """
    if type(value) is list and all(type(line) is str for line in value):
        return "\n".join(line.removesuffix("\n") for line in value)
    return json_text(value) if type(value) in (list, dict) else _text(value)


def _integer(value: Any) -> int | None:
    if (type(value) is str and _DIGITS.fullmatch(value)) or (
        type(value) is float and value.is_integer()
    ):
        value = int(value)
    return value if type(value) is int and -1 << 63 <= value < 1 << 63 else None


def _time(value: Any) -> float | None:
    if type(value) not in (int, float, str):
        return None
    if type(value) is str and not _DECIMAL.fullmatch(value):
        return None
    try:
        seconds = float(value)
    except OverflowError:  # an integer that no float holds
        return None
    return seconds if TIMES[0] <= seconds < TIMES[1] else None


def extra_of(
    attributes: dict[str, Any], message: str, invalid: dict[str, Any], notes: list[str]
) -> bytes:
    """Return the JSON of `extra`.

    Args:
        attributes: The attributes that are no fields of the schema, in normal form. The dict is
            changed.
        message: The message of the record.
        invalid, notes: As in `Validated`.
    """
    for name in DROPPED:
        attributes.pop(name, None)
    for name in DROPPED_IF_EMPTY:
        if name in attributes and attributes[name] in EMPTY:
            del attributes[name]
    if TWIN in attributes and attributes[TWIN] in (None, message):
        del attributes[TWIN]
    if invalid:
        attributes |= invalid
    if notes:
        key = NOTES
        while key in attributes:
            key = f"!{key}"
        attributes[key] = notes
    return _encoded(attributes)


def _shown(value: Any) -> str:
    """Return the text of a value for a note, shortened."""
    shown = repr(value) if type(value) is str else json_text(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def json_text(value: Any) -> str:
    """Return the JSON text of a value in normal form."""
    return str(_encoded(value), "utf-8")


def _encoded(value: Any) -> bytes:
    try:
        return _encode(value)
    except (OverflowError, ValueError):  # an integer beyond 64 bits
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
