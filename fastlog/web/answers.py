"""Answers as JSON, and records as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response

from fastlog.query import COLUMNS
from fastlog.search import Found
from fastlog.web.abbreviation import abbreviate

_encoder = msgspec.json.Encoder()


def json_answer(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer with a JSON body."""
    return Response(
        _encoder.encode(body), status, dict(headers or {}), media_type="application/json"
    )


def id_of(found: Found) -> str:
    """Return the id of a record: journal, block, and number in the block."""
    return f"{found.node}:{found.record.offset}:{found.record.idx}"


def record_object(found: Found, max_text: int = 0) -> dict[str, Any]:
    """Return a record as an object for JSON: the columns, its time as text, and its id.

    Args:
        max_text: Characters of the longest text, for an abbreviated record; 0 for a whole one.
    """
    values: dict[str, Any] = dict(zip(COLUMNS, (*found.record, found.node), strict=True))
    values["extra"] = msgspec.Raw(found.record.extra.encode())
    if max_text:
        abbreviate(values, found.record.extra, max_text)
    values["time"] = utc_text(found.record.created)
    values["id"] = id_of(found)
    return values


def encode_record(found: Found) -> bytes:
    """Return a record as a line of JSON, without its end."""
    return one_line(_encoder.encode(record_object(found)))


def one_line(text: bytes) -> bytes:
    """Return JSON without line ends between its parts, which `extra` is stored with or without.

    A line end would end an event of a tail. Inside texts, JSON has none.
    """
    return text.replace(b"\n", b" ").replace(b"\r", b" ")


def utc_text(seconds: float) -> str | None:
    """Return a time in the form of ISO 8601 with microseconds; None outside the calendar."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError):
        return None
