"""Search over the day files of the `sqlite:` sink: filters → SQL → records in order.

    filters = Filters(level=30, logger=("app.db",))
    for found in search(config.data_dir / "logs", filters): ...

Everything here reads only, beside a server that writes, and streams: what is found is never held
in memory as a whole.
"""

from __future__ import annotations

from fastlog.query.days import Unread
from fastlog.query.filters import COLUMNS, Filters, check_regex, parse_condition, parse_level
from fastlog.query.health import Health, examine
from fastlog.query.live import follow, newest
from fastlog.query.moments import parse_moment
from fastlog.query.stream import Found, search
from fastlog.query.totals import Totals, count

__all__ = [
    "COLUMNS",
    "Filters",
    "Found",
    "Health",
    "Totals",
    "Unread",
    "check_regex",
    "count",
    "examine",
    "follow",
    "newest",
    "parse_condition",
    "parse_level",
    "parse_moment",
    "search",
]
