"""Histogram: how many records match in each interval of time, by the values of a field."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from fastlog.search import OTHERS, Grouping
from fastlog.search.grouping import begin_of_bar
from fastlog.search.spans import Span, span_of
from fastlog.web.abbreviation import shorten
from fastlog.web.answers import json_answer
from fastlog.web.counts import SINCE, UNTIL, read_fields
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.failures import RequestError
from fastlog.web.parameters import DEADLINE, QUERY, ZONE, Parameter
from fastlog.web.question import Question
from fastlog.web.schemas import COUNT, FLAG, NUMBER, list_of, obj
from fastlog.web.site import Site

_DAY: Final = 86_400
INTERVALS: Final = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600, _DAY, 2 * _DAY, 7 * _DAY, 28 * _DAY),
    *(364 * _DAY, 3640 * _DAY, 36400 * _DAY),
)
"""Seconds of the intervals that are chosen from."""
SHOWN: Final = 11
"""Values that are counted each by itself; all others are counted together."""


def choose_interval(span: Span, bars: int) -> int:
    """Return the shortest interval that needs no more than this number of bars for a span."""
    for interval in INTERVALS:
        if math.ceil((span.until - span.since) / interval) <= max(1, bars - 1):
            return interval
    return INTERVALS[-1]


async def _histogram(site: Site, request: Request, values: Values) -> Response:
    fields = read_fields("by", values["by"])
    if len(fields) > 1:
        raise RequestError("by: expected one field")

    def work(question: Question) -> dict[str, Any]:
        return _bars(question, fields, values["bars"])

    return json_answer(await site.ask(request, values, work))


def _bars(question: Question, fields: tuple[str, ...], bars: int) -> dict[str, Any]:
    span = _shown_span(question)
    interval, zone = choose_interval(span, bars), question.context.zone
    counted: Counter[tuple[object, ...]] = Counter()
    if span.since < span.until:
        [counted] = question.store.count(
            question.query,
            [Grouping(fields, interval, zone)],
            question.unread,
            question.progress,
        )
    names = _names(counted, fields)
    rows: dict[int, Counter[str]] = {}
    others = 0
    for (*key, begin), records in counted.items():
        if isinstance(begin, int):
            rows.setdefault(begin, Counter())[names[tuple(key)]] += records
        else:
            others += records
    first = begin_of_bar(math.floor(span.since), interval, zone)
    first = math.floor(span.since) if first is None else first
    return {
        "interval": interval,
        "first": min([first, *rows]),
        "end": max([math.ceil(span.until), *(begin + interval for begin in rows)]),
        "bars": [{"begin": begin, "counts": rows[begin]} for begin in sorted(rows)],
        "others": others,
        "complete": question.is_complete,
    }


def _shown_span(question: Question) -> Span:
    """Return the span that the query states; where it is open, the end of the store."""
    wanted = span_of(question.query)
    if all(map(math.isfinite, wanted)):
        return wanted
    stored = question.store.bounds(question.query, question.unread, question.progress)
    if stored is None:
        now = question.context.now
        return Span(
            wanted.since if math.isfinite(wanted.since) else min(now, wanted.until) - 1,
            wanted.until if math.isfinite(wanted.until) else max(now, wanted.since + 1),
        )
    return wanted.overlap(stored)


def _names(counted: Counter[tuple[object, ...]], fields: tuple[str, ...]) -> dict[Any, str]:
    """Return the name of each group in the bars: a value, or that of all rare values."""
    if not fields:
        return {(): "records"}
    totals: Counter[tuple[object, ...]] = Counter()
    for (*key, _), records in counted.items():
        totals[tuple(key)] += records
    frequent = totals.most_common(SHOWN)
    names = dict.fromkeys(totals, OTHERS)
    names |= {key: "" if key[0] is None else str(shorten(key[0])) for key, _ in frequent}
    return names


ENDPOINTS = (
    Endpoint(
        "/histogram",
        "How many records match in each interval of time. Empty bars are left out.",
        _histogram,
        (
            QUERY,
            ZONE,
            SINCE,
            UNTIL,
            Parameter("bars", "integer", "The most bars.", 60, 1, 1000),
            Parameter("by", "text", "A field whose values are counted each by itself.", "level"),
            DEADLINE,
        ),
        obj(
            interval=COUNT,
            first=NUMBER,
            end=NUMBER,
            bars=list_of(
                obj(begin=NUMBER, counts={"type": "object", "additionalProperties": COUNT})
            ),
            others=COUNT,
            complete=FLAG,
        ),
    ),
)
