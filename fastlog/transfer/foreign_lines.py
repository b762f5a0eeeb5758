"""Lines of other programs: JSON objects whose names are not those of a record."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from fastlog.decode import read_record
from fastlog.errors import RejectedError
from fastlog.record import Record

HOST: Final = "import"
"""The `host` of these records."""
_TIMES: Final = ("time", "timestamp", "@timestamp", "ts")
"""Names that stand for `created`, where that is missing: a time of ISO 8601, or seconds."""
_NAMES: Final = {"logger": "name", "level": "levelname"}


def read_foreign(text: bytes, now: float, offset: int) -> Record:
    """Read a record in the normal form of records. What has no column is in `extra`.

    Args:
        text: The line.
        now: When it is imported. That is when it was received, unless the record is older.
        offset: Where the line begins in its file.

    Raises:
        RejectedError: It is no JSON object.
    """
    if not text.startswith(b"{"):
        raise RejectedError("is not a JSON object")
    record = read_record(_renamed(text), host=HOST, received=now, offset=offset, idx=0)
    return record._replace(received=min(max(record.created, 0.0), now))


def _renamed(text: bytes) -> bytes:
    """Return a line with usual names of other programs as those of a record."""
    if not any(f'"{name}"'.encode() in text for name in (*_TIMES, *_NAMES)):
        return text
    try:
        values: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        return text  # the reader of records gives the reason
    for name in _TIMES if "created" not in values else ():
        if (seconds := _seconds(values.get(name))) is not None:
            values["created"] = seconds
            del values[name]
            break
    for name, column in _NAMES.items():
        if isinstance(values.get(name), str) and column not in values:
            value = values.pop(name)
            values[column] = value.upper() if column == "levelname" else value
    return json.dumps(values).encode()


def _seconds(value: object) -> float | None:
    """Return a time as seconds since the epoch; None if it is none. Without a zone, it is UTC."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
