"""Records as tuples of PostgreSQL's binary COPY, as the PostgreSQL sink stores them.

The plain frames of a block come as tuples from C (`csrc/translate/copy.c`), byte for byte as
`encode` writes them. A tuple is the number of its fields, then each field: its length, or -1 for
NULL, and that many bytes. All integers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Final, get_type_hints

from fastlog.record import Record

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""What precedes the tuples in a COPY."""
TRAILER: Final = b"\xff\xff"
"""What ends a COPY."""
NO_NODE: Final = bytes(16)

_TIMES: Final = {"created": "created_at", "received": "received_at"}
"""The columns that have a `timestamptz` beside them, and its name."""
FIELDS: Final = (
    *(
        name
        for field in Record._fields
        for name in ((field, _TIMES[field]) if field in _TIMES else (field,))
    ),
    "node",
)
"""The fields of a tuple, in order."""

_COUNT: Final = struct.Struct(">H")
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)
_TIME: Final = struct.Struct(">idiq")
_INTEGER: Final = struct.Struct(">iq")
_SMALL: Final = struct.Struct(">ii")
_EPOCH: Final = 946_684_800.0
"""PostgreSQL's: 2000-01-01, in seconds since ours."""
_EPOCH_DATE: Final = date(2000, 1, 1)
_DAY: Final = 86_400_000_000
"""Microseconds."""
_LAST: Final = 9e18
"""Microseconds: PostgreSQL's last year is 294276, in which no server's clock can be."""
_IDX_LENGTH: Final = _SMALL.size
_NODE_LENGTH: Final = _LENGTH.size + len(NO_NODE)
_HINTS: Final = get_type_hints(Record)


def encode(record: Record, node: bytes = NO_NODE) -> bytes:
    """Return the tuple of a record of a journal."""
    fields = [_COUNT.pack(len(FIELDS))]
    value: Any
    for is_own, name, value in zip(_IS_OWN, Record._fields, record, strict=True):
        if value is None:
            fields.append(_NULL)
        elif is_own:
            fields.append(_OWN_FORMS[name](value))
        elif isinstance(value, str):
            data = value.encode()
            fields += (_LENGTH.pack(len(data)), data)
        else:
            fields.append(_INTEGER.pack(8, value))
    fields += (_LENGTH.pack(len(node)), node)
    return b"".join(fields)


def _time(seconds: float) -> bytes:
    return _TIME.pack(8, seconds, 8, microseconds(seconds))


def _number(idx: int) -> bytes:
    return _SMALL.pack(4, idx)


def _json(text: str) -> bytes:
    data = text.encode()
    return _LENGTH.pack(len(data) + 1) + b"\1" + data  # the version of jsonb


_OWN_FORMS: Final[dict[str, Callable[[Any], bytes]]] = {
    **dict.fromkeys(_TIMES, _time),
    "idx": _number,
    "extra": _json,
}
"""What encodes the fields that are neither text nor an integer of 64 bits."""
_IS_OWN: Final = [name in _OWN_FORMS for name in Record._fields]


def microseconds(seconds: float) -> int:
    """Return a time as PostgreSQL counts it, rounded to the nearest."""
    exact = max(-_LAST, min((seconds - _EPOCH) * 1e6, _LAST))
    return int(exact - 0.5 if exact < 0 else exact + 0.5)


def received_day(record: Record) -> date:
    """Return the UTC day of `received_at`, which decides about the partition of a record."""
    return _date(microseconds(record.received) // _DAY)


@lru_cache(16)
def _date(days: int) -> date:
    return _EPOCH_DATE + timedelta(days=days)


def tuples(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tuples in COPY data without header and trailer, each with its `idx`."""
    start = 0
    while start < len(data):
        (count,) = _COUNT.unpack_from(data, start)
        at = start + _COUNT.size
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size + max(0, length)
        _, idx = _SMALL.unpack_from(data, at - _NODE_LENGTH - _IDX_LENGTH)
        yield idx, data[start:at]
        start = at


def without(data: bytes, idx: Collection[int]) -> bytes:
    """Return the tuples without those of some frames."""
    return b"".join([each for number, each in tuples(data) if number not in idx])


def only(data: bytes, idx: Collection[int], count: int) -> bytes:
    """Return the tuples of some frames, of `count` tuples."""
    return b"".join([each for number, each in _split(data, count) if number in idx])


def _split(data: bytes, count: int) -> Iterable[tuple[int, bytes]]:
    """Return what `tuples` does, without reading the length of each field.

    Each tuple ends with the node, and the next begins with the number of fields. Where these bytes
    are found as often as there are tuples, no record has them, too.
    """
    begin, end = data[: _COUNT.size], data[-_NODE_LENGTH:]
    border = end + begin
    overlaps = any(border[:size] == border[-size:] for size in range(1, len(border)))
    parts = data[len(begin) : -len(end)].split(border)
    if overlaps or len(parts) != count:
        return tuples(data)
    last = _SMALL.unpack_from
    return [(last(part, len(part) - _SMALL.size)[1], begin + part + end) for part in parts]


def decode(data: bytes) -> list[Record]:
    """Return the records of tuples."""
    return [_decode(each) for _, each in tuples(data)]


def _decode(data: bytes) -> Record:
    values: list[object] = []
    at = _COUNT.size
    for name in FIELDS:
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        value = data[at : at + max(0, length)]
        at += len(value)
        if name in _HINTS:
            values.append(None if length < 0 else _value(name, value))
    return Record._make(values)


def _value(name: str, data: bytes) -> object:
    if name in _TIMES:
        return struct.unpack(">d", data)[0]
    if name == "extra":
        return data[1:].decode()
    if str in getattr(_HINTS[name], "__args__", (_HINTS[name],)):
        return data.decode()
    return int.from_bytes(data, signed=True)
