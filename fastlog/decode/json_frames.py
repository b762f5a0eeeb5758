"""Frames that are JSON objects.

Two readers give the same record for a frame:

- `quick_record` reads ordinary frames: msgspec parses the frame and checks the columns. Its values
  are in the normal form already, so nothing is rendered. It returns None for every other frame.
- `read_json` reads any frame into a tree for the renderer. It is the reference: it is exact about
  numbers, and gives the same result at any call depth.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any, Final, get_type_hints

import msgspec

from fastlog.decode.bounds import DEPTH, NODES, WEIGHT, WEIGHT_TIMES
from fastlog.decode.inert_tree import Node, integer_of_digits, is_dict, pairs_node
from fastlog.decode.validation import (
    COLUMNS,
    DROPPED,
    DROPPED_IF_EMPTY,
    EMPTY,
    MEMBERS,
    NESTED,
    NO_TRACE,
    RESERVED,
    TIMES,
    validate,
)
from fastlog.errors import RejectedError
from fastlog.record import Record

NESTING = 200
"""Arrays and objects inside each other. (The normal form cuts far earlier; this bound is for the
parser, which recurses and would fail at a depth that depends on the depth of its caller.)"""
NUMBER_LENGTH: Final = 1024
"""Characters of the longest number that is read as a float: the time grows with their square."""
QUICK_LENGTH: Final = WEIGHT // WEIGHT_TIMES
"""Bytes of the longest frame that `quick_record` reads. Up to here the budget of a record is eight
times its frame. No JSON takes that: `1e15` and a comma become 19 bytes, and nothing grows more."""
NUMBER_SPACING: Final = 16
"""A frame with a comma in fewer bytes than this, on average, may hold mostly numbers. Then `float`
reads them, which takes 0.3 µs for any number: msgspec takes 8 µs for one like `9e306`."""

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[\[{]|[\]}]")
_LONG_NUMBER: Final = re.compile(rb"[0-9.]{%d}" % (NUMBER_LENGTH + 1))
_STRIDE: Final = NUMBER_LENGTH // 2
_DIGITS: Final = re.compile(rb"[0-9.]{2}")
"""A long number matches this in the bytes that the stride selects."""
_LEVELNO, _LEVELNAME = COLUMNS.index("levelno"), COLUMNS.index("levelname")
_LEVEL_LENGTH = 64
"""Characters of the longest name of a level that is cached."""


def read_json(data: bytes) -> Node:
    """Read one JSON object into an inert tree; of equal keys, the last counts.

    Raises:
        RejectedError: The bytes are not JSON, or nested too deep.
    """
    if data.count(b"[") + data.count(b"{") > NESTING:
        _check_nesting(data)
    try:
        value = _DECODER.decode(str(data, "utf-8"))
    except UnicodeDecodeError:
        raise RejectedError("malformed JSON: text is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise RejectedError(f"malformed JSON: {error.msg}") from None
    if not is_dict(value):
        raise RejectedError(f"not a record: {type(value).__name__}")
    return value


def _check_nesting(data: bytes) -> None:
    depth = 0
    for bracket in _BRACKETS.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > NESTING:
            raise RejectedError("malformed JSON: nested too deep")


def _node(pairs: list[tuple[str, Any]]) -> Node:
    """Return the node of a JSON object."""
    return pairs_node(list(chain.from_iterable(dict(pairs).items())))


def _float(text: str) -> float | str:
    return float(text) if len(text) <= NUMBER_LENGTH else text


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_node, parse_int=integer_of_digits, parse_float=_float
)


_SENT: Final = Record._fields[: Record._fields.index("host")]
"""The columns that attributes of the client fill."""


def _column_types() -> Iterable[tuple[str, Any, None]]:
    """Return name, type and default of each column that an attribute fills, in order."""
    time = Annotated[float, msgspec.Meta(ge=TIMES[0], lt=TIMES[1])] | None
    integer = Annotated[int, msgspec.Meta(ge=-1 << 63, le=(1 << 63) - 1)] | None
    types: dict[Any, Any] = {float: time, int | None: integer}
    hints = get_type_hints(Record)
    return [(name, types.get(hints[name], str | None), None) for name in _SENT]


_Columns: Any = msgspec.defstruct("_Columns", _column_types(), gc=False)
"""The first columns of a record. Converting to it checks that each value fits its column
unchanged."""
_Rest: Any = msgspec.defstruct(
    "_Rest", [(name, Any) for name in Record._fields[len(_SENT) :]], gc=False
)
"""The other columns, with `extra` as a dict."""
_NOT_EXTRA: Final = frozenset(("msg", *_SENT, *DROPPED))
_CONTAINERS: Final = frozenset((dict, list))
_FAILURES: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
"""What msgspec raises for bytes that are not JSON, and for values that it cannot take."""


def quick_record(
    frame: bytes,
    *,
    host: str,
    certificate: str | None = None,
    received: float,
    offset: int,
    idx: int,
) -> Record | None:
    """Read the record in an ordinary JSON frame.

    Args:
        frame: Begins with `{`.
        host, certificate, received, offset, idx: As in `Record`.

    Returns:
        The record, equal to what the renderer and the validation make of `read_json`. None if
        reading alone does not give it: the frame is malformed, or near a bound; a value is not in
        the normal form, or does not fit its column unchanged; arguments must be merged.
    """
    try:
        if (parts := _read(frame, received)) is None:
            return None
        columns, extra = parts
        text = str(_encode(extra), "utf-8") if extra else "{}"
    except _FAILURES:
        return None
    return _new(Record, (*_values(columns), host, certificate, received, text, offset, idx))


def quick_line(
    frame: bytes,
    *,
    host: str,
    certificate: str | None = None,
    received: float,
    offset: int,
    idx: int,
) -> bytes | None:
    """Read the record in an ordinary JSON frame, and return it as `json_lines.encode` does."""
    try:
        if (parts := _read(frame, received)) is None:
            return None
        columns, extra = parts
        head, tail = (
            _encode(columns),
            _encode(_Rest(host, certificate, received, extra, offset, idx)),
        )
    except _FAILURES:
        return None
    return b"%b,%b" % (head[:-1], tail[1:])


_encode: Final = msgspec.json.Encoder().encode
_values: Final = msgspec.structs.astuple
_new: Final = tuple.__new__  # Record() would count the values once more


def _read(frame: bytes, received: float) -> tuple[Any, dict[str, Any]] | None:
    """Read the first columns and the extra attributes of a record.

    Raises:
        One of `_FAILURES`: The frame is malformed, or a value does not fit.
    """
    length = len(frame)
    if (length > NUMBER_LENGTH and _is_near_bound(frame)) or (
        b"\\" in frame and b"\\u0000" in frame  # most frames have no backslash
    ):
        return None
    numerous = frame.count(b",") * NUMBER_SPACING > length
    sent: dict[str, Any] = _decode_numbers(frame) if numerous else _decode(frame)
    columns = _convert(sent, _Columns)
    message = sent.get("msg")
    if message is not None:
        if type(message) is not str or columns.message not in (None, message):
            return None
        columns.message = message
    elif columns.message is None:
        columns.message = ""
    extra = {name: sent[name] for name in sent if name not in _NOT_EXTRA}
    for name in DROPPED_IF_EMPTY:
        if name in extra and extra[name] in EMPTY:
            del extra[name]
    if type(extra.get(NESTED)) is dict:
        lifted = _lifted(extra)
        if lifted is None:
            return None
        extra = lifted
    if "args" in extra or not _complete(columns, received):
        return None
    is_flat = _CONTAINERS.isdisjoint(map(type, extra.values()))
    return (columns, extra) if is_flat or not _is_deep(extra, frame) else None


def _lifted(extra: dict[str, Any]) -> dict[str, Any] | None:
    """Return the attributes with the members of `NESTED` in its place; None if one must stay."""
    members = extra[NESTED]
    if max(len(extra), len(members), *map(len, members)) > MEMBERS:
        return None
    if not (RESERVED.isdisjoint(members) and extra.keys().isdisjoint(members)):
        return None
    names = list(extra)
    at = names.index(NESTED)
    before, after = names[:at], names[at + 1 :]
    return {
        **{name: extra[name] for name in before},
        **members,
        **{name: extra[name] for name in after},
    }


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("not finite")
    return value


_decode: Final = msgspec.json.Decoder().decode
_decode_numbers: Final = msgspec.json.Decoder(float_hook=_finite).decode
_convert: Final = msgspec.convert


def _is_near_bound(frame: bytes) -> bool:
    """Return whether a bound on size, values or digits could cut something of this frame."""
    if len(frame) > QUICK_LENGTH:
        return True
    if len(frame) > NODES:
        # A comma or the bracket of its container precedes each value.
        values = frame.count(b",") + frame.count(b"[") + frame.count(b"{")
        if values >= NODES:
            return True
    return bool(_DIGITS.search(frame[::_STRIDE]) and _LONG_NUMBER.search(frame))


def _complete(columns: Any, received: float) -> bool:
    """Fill and clear columns as `validate` does; return whether they need nothing else."""
    if columns.created is None:
        columns.created = received
    if columns.exc_text in NO_TRACE:
        columns.exc_text = None
    if columns.stack_info in NO_TRACE:
        columns.stack_info = None
    if columns.levelno is None or columns.levelname is None:
        if len(columns.levelname or "") > _LEVEL_LENGTH:
            return False
        columns.levelno, columns.levelname = _level(columns.levelno, columns.levelname)
    return True


@lru_cache(maxsize=256)
def _level(levelno: int | None, levelname: str | None) -> tuple[int | None, str | None]:
    """Return number and name of a level, of which one is missing."""
    values = [{"levelno": levelno, "levelname": levelname}.get(name) for name in COLUMNS]
    columns = validate(values, 0.0).columns
    return columns[_LEVELNO], columns[_LEVELNAME]


def _is_deep(extra: dict[str, Any], frame: bytes) -> bool:
    """Return whether the normal form cuts containers of this frame for their depth."""
    if frame.count(b"[") + frame.count(b"{") <= DEPTH:
        return False
    level: list[Any] = [extra]
    for _ in range(DEPTH + 1):
        level = [
            value
            for node in level
            for value in (node.values() if type(node) is dict else node)
            if type(value) is dict or type(value) is list
        ]
        if not level:
            return False
    return True
