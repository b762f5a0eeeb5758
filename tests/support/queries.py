"""Queries of tests."""

from __future__ import annotations

from typing import Any

from day_files import START

from fastlog.query import Node, TimeContext, compile_query, parse
from fastlog.record import Record


def parsed(text: str, **context: Any) -> Node:
    """Parse a query. Durations are before the time of the first record of `day_files`."""
    return parse(text, TimeContext(**{"now": START, **context}))


def matches(text: str, record: Record, node: str = "ab") -> bool:
    """Return whether a record matches by itself."""
    return compile_query(parsed(text))((*record, node))
