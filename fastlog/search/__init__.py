"""Search over the day files of the `sqlite:` sink: a query → records in order, or their number.

    query = parse("level>=warning logger:app.db", TimeContext(time.time()))
    for found in search(config.data_dir / "logs", query): ...

Everything here only reads, beside a server that writes. It streams: the result is never held in
memory as a whole. Damage is reported for the file that has it, and the other files are read.
"""

from __future__ import annotations

from fastlog.search.day_reader import Unread
from fastlog.search.grouping import Grouping
from fastlog.search.health import Health, examine
from fastlog.search.live import follow, last_arrival, missed, newest, read_new
from fastlog.search.lookup import find_record
from fastlog.search.progress import Progress
from fastlog.search.stream import Found, search
from fastlog.search.totals import OTHERS, Totals, count, count_totals

__all__ = [
    "OTHERS",
    "Found",
    "Grouping",
    "Health",
    "Progress",
    "Totals",
    "Unread",
    "count",
    "count_totals",
    "examine",
    "find_record",
    "follow",
    "last_arrival",
    "missed",
    "newest",
    "read_new",
    "search",
]
