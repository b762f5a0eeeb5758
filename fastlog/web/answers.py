"""Answers as JSON, and records as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from fastlog.search import Found
from fastlog.transfer.record_lines import added_values, column_values
from fastlog.web.abbreviation import abbreviate

_encoder = msgspec.json.Encoder()


def json_answer(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer with a JSON body."""
    return Response(
        _encoder.encode(body), status, dict(headers or {}), media_type="application/json"
    )


def record_object(found: Found, max_text: int = 0) -> dict[str, Any]:
    """Return a record as an object for JSON: the columns, its time as text, and its id.

    Args:
        max_text: Characters of the longest text, for an abbreviated record; 0 for a whole one.
    """
    values = column_values(found)
    if max_text:
        abbreviate(values, found.record.extra, max_text)
    return values | added_values(found)
