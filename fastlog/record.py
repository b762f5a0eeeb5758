"""What a record is, how one is validated, and what becomes of a frame that is none.

A frame ends as exactly one of `Record`, `Rejection` or (when it never arrived) a part of a `Loss`.

Validation is strict about types and generous about content: what is odd is coerced where that is
harmless; else the field is `None`, the original stays in `extra` under the field's own name, and
`extra["!notes"]` says what was wrong.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

import msgspec


class Record(NamedTuple):
    """One log record in its normal form, as every sink gets it.

    The names are those of `logging.LogRecord`. Text holds no NUL and no lone surrogate;
    integers fit 64 bits; floats are finite. `None` means that the client did not send the field
    or that it could not be read (then `extra` holds a note of it).
    """

    created: float
    """Seconds since the epoch, by the client's clock; `received` where the client sent none."""
    levelno: int | None
    levelname: str | None
    name: str | None
    message: str
    pathname: str | None
    filename: str | None
    module: str | None
    lineno: int | None
    funcName: str | None
    process: int | None
    processName: str | None
    thread: int | None
    threadName: str | None
    taskName: str | None
    exc_text: str | None
    stack_info: str | None
    host: str
    """The peer: an IP address, or `unix` for a Unix socket."""
    received: float
    """Seconds since the epoch, by the server's clock; one stamp for all records of a block."""
    extra: str
    """JSON text of an object: every attribute that the application added. `{}` when none."""
    offset: int
    """Journal offset of the block that holds the frame."""
    idx: int
    """Ordinal of the frame in that block, from 0."""


RAW_BYTES = 4096
"""What is kept of a frame that was rejected."""


class Rejection(msgspec.Struct, frozen=True, tag="rejected", tag_field="table"):
    """One frame, or one connection, that was rejected; a row of the ledger's table `rejected`."""

    peer: str
    """`address:port`, or `unix`."""
    reason: str
    length: int
    """Bytes that the frame has, or announced."""
    raw: bytes = b""
    """The first bytes of it, at most `RAW_BYTES`."""
    count: int = 1
    """How many like it this one stands for."""
    received: float = 0.0


class Loss(msgspec.Struct, frozen=True, tag="losses", tag_field="table"):
    """Records that are known to be lost; a row of the ledger's table `losses`."""

    peer: str
    """Who sent them, or "" for many."""
    reason: str
    count: int
    """How many records; -n where these are n spans of which nobody knows how many each had."""
    first: float
    """When the first was lost, seconds since the epoch."""
    last: float
    detail: str = ""


@lru_cache(maxsize=1024)
def host_of(peer: str) -> str:
    """The peer without its port: `127.0.0.1:5` is at `127.0.0.1`, `[::1]:5` at `::1`."""
    if peer.startswith("["):
        return peer[1:].partition("]")[0]
    return peer.partition(":")[0] if peer.count(":") == 1 else peer


Note = Rejection | Loss
"""What the receiver writes into the journal beside the frames."""


FIELDS: Final = frozenset(Record._fields[:17]) - {"message"} | {"msg"}
"""The names under which a client sends the schema's fields. (`message` belongs to JSON clients;
beside a `msg` it is an attribute like others.)"""

NOTES = "!notes"

SILENT: Final = ("msecs", "relativeCreated")
"""Attributes that are dropped: the first is in `created`, the second says nothing to others."""
ARGS: Final = "args"
"""What the message was merged with, where it was not merged yet."""
SILENT_IF_EMPTY: Final = ("args", "exc_info", "asctime")
TWIN: Final = "message"
"""The attribute that is dropped where it says the same as `msg`."""
TRACES: Final = ("exc_text", "stack_info")
"""Text of several lines. Formatters and loggers put other values into these fields too."""
LEVEL: Final = ("levelno", "levelname")
"""Where one of these is missing, it is derived from the other."""
RECURRING: Final = frozenset(
    {
        *("levelname", "name", "pathname", "filename", "module", "funcName"),
        *("process", "processName", "thread", "threadName", "taskName"),
        *("host", "received", "extra", "offset"),
    }
)
"""What has the same few values in most records of a block."""
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})
_NO_TRACE: Final = ("", "\n")
"""What loguru, and formatters that keep the traceback for themselves, leave in `exc_text`."""
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
"""The schema's fields, in order; `message` is what clients send as `msg`."""
MESSAGE: Final = COLUMNS.index("message")
KINDS: Final[tuple[type[Any], ...]] = tuple(
    float if name == "created" else int if name in _INTEGERS else str for name in COLUMNS
)
_SLOTS: Final = tuple(enumerate(zip(KINDS, COLUMNS, strict=True)))
_LEVELNO, _LEVELNAME = COLUMNS.index("levelno"), COLUMNS.index("levelname")
_TRACES: Final = tuple(COLUMNS.index(name) for name in TRACES)


class Checked(NamedTuple):
    """The schema's fields of a record, and what they did not take."""

    columns: list[Any]
    """As in `Record`, in the order of `COLUMNS`."""
    odd: dict[str, Any]
    """Originals that are no values of their fields, for `extra`, by the names of the client."""
    notes: list[str]
    """A sentence about each that was lost to its field."""


def checked(values: list[Any], received: float, message: str = "msg") -> Checked:
    """Make columns of the values that a client sent for the schema's fields.

    Args:
        values: in normal form, in the order of `COLUMNS`; None where the client sent none. The list
            becomes that of the columns.
        received: as in `Record`.
        message: the name of the attribute that the message comes from.
    """
    odd: dict[str, Any] = {}
    notes: list[str] = []
    for at, (kind, name) in _SLOTS:
        value = values[at]
        if type(value) is kind:
            if (kind is int and not -1 << 63 <= value < 1 << 63) or (
                kind is float and not TIMES[0] <= value < TIMES[1]
            ):
                values[at] = _repaired(name, value, odd, notes)
        elif value is not None:
            if at == MESSAGE:
                odd[message] = value
                values[at] = json_text(value)
            else:
                values[at] = _repaired(name, value, odd, notes)
    if values[0] is None:
        values[0] = received
    if values[MESSAGE] is None:
        values[MESSAGE] = ""
    for at in _TRACES:
        if values[at] in _NO_TRACE:
            values[at] = None
    if values[_LEVELNO] is None and values[_LEVELNAME] is not None:
        values[_LEVELNO] = _level(values[_LEVELNAME])
    elif values[_LEVELNAME] is None and values[_LEVELNO] is not None:
        values[_LEVELNAME] = _NAMES.get(values[_LEVELNO])
    return Checked(values, odd, notes)


def _level(name: str) -> int | None:
    """The number of a level: of one without a name, `logging` writes `Level 25`."""
    level = _NUMBERS.get(name.upper())
    if level is None and (match := _LEVEL.fullmatch(name)):
        level = int(match[1])
    return level


def _repaired(name: str, value: Any, odd: dict[str, Any], notes: list[str]) -> Any:
    """The value of a field that did not come as the field wants it."""
    if name == "created":
        return _coerced(_time, "a time", name, value, odd, notes)
    if name in TRACES:
        return _coerced(_trace, "text", name, value, odd, notes) if value else None
    if name in _INTEGERS:
        return _coerced(_integer, "an integer", name, value, odd, notes)
    return _coerced(_text, "text", name, value, odd, notes)


def _coerced(
    coerce: Callable[[Any], T | None],
    wanted: str,
    name: str,
    value: Any,
    odd: dict[str, Any],
    notes: list[str],
) -> T | None:
    if _means_none(value):
        return None
    result = coerce(value)
    if result is None:
        odd[name] = value
        notes.append(f"{name}: {_shown(value)} is not {wanted}")
    return result


def _means_none(value: Any) -> bool:
    """Whether a logger says with this that the field has no value: picologging sends
    `stack_info=False`."""
    return value is False or value in _EMPTY


def _text(value: Any) -> str | None:
    return str(value) if type(value) is int and value.bit_length() <= 64 else None


def _trace(value: Any) -> str | None:
    """The text of a traceback or a stack. A list of lines, as `traceback.format_exception` and
    python-json-logger give it, is joined; of any other structure it is the JSON text."""
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
    attributes: dict[str, Any], message: str, odd: dict[str, Any], notes: list[str]
) -> bytes:
    """Make the JSON of `extra`: of the attributes that are no fields, in normal form.

    Args:
        attributes: they are used up.
        message: the record's.
        odd, notes: as `checked` gave them.
    """
    for name in SILENT:
        attributes.pop(name, None)
    for name in SILENT_IF_EMPTY:
        if name in attributes and attributes[name] in _EMPTY:
            del attributes[name]
    if TWIN in attributes and attributes[TWIN] in (None, message):
        del attributes[TWIN]
    if odd:
        attributes |= odd
    if notes:
        free = NOTES
        while free in attributes:
            free = f"!{free}"
        attributes[free] = notes
    return _encoded(attributes)


def _shown(value: Any) -> str:
    """A value as a note shows it: short."""
    shown = repr(value) if type(value) is str else json_text(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def json_text(value: Any) -> str:
    """Return the JSON of a normal form."""
    return str(_encoded(value), "utf-8")


def _encoded(value: Any) -> bytes:
    try:
        return _encode(value)
    except (OverflowError, ValueError):  # an integer beyond 64 bits
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
