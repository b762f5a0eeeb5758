"""The query language: filters as data, and the texts that they are parsed from.

    filters = Filters(level=parse_level("WARNING"), logger=("app.db",))

Nothing here reads a store; `fastlog.search` does.
"""

from __future__ import annotations

from fastlog.query.combine import between, both, equals
from fastlog.query.conditions import check_regex, check_text, parse_condition, parse_level
from fastlog.query.filters import COLUMNS, Condition, Filters
from fastlog.query.moments import parse_moment

__all__ = [
    "COLUMNS",
    "Condition",
    "Filters",
    "between",
    "both",
    "check_regex",
    "check_text",
    "equals",
    "parse_condition",
    "parse_level",
    "parse_moment",
]
