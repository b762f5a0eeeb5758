"""Problems: tracebacks grouped by exception and frames, and messages grouped by pattern."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from fastlog.search import Found
from fastlog.web.answers import json_answer, record_object
from fastlog.web.counts import SINCE, UNTIL
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.parameters import DEADLINE, QUERY, TEXT_LIMIT, ZONE, Parameter
from fastlog.web.patterns import Pattern, pattern_of, title_of
from fastlog.web.question import Question
from fastlog.web.schemas import COUNT, FLAG, NUMBER, RECORD, TEXT, list_of, obj
from fastlog.web.site import Site

POINTS: Final = 24
"""Intervals of a sparkline."""
GROUPS: Final = 5000
"""The most groups; records of further ones are left out."""


class _Group:
    def __init__(self, pattern: Pattern, newest: Found) -> None:
        self.pattern, self.newest = pattern, newest
        self.times = array("d")

    def to_object(self, since: float, until: float, max_text: int) -> dict[str, Any]:
        """Return the group as the API shows it."""
        points = [0] * POINTS
        width = max(until - since, 1e-6) / POINTS
        for time in self.times:
            points[min(POINTS - 1, max(0, int((time - since) / width)))] += 1
        return {
            "kind": self.pattern.kind,
            "title": title_of(self.newest.record),
            "pattern": self.pattern.text,
            "query": self.pattern.query,
            "records": len(self.times),
            "first": min(self.times),
            "last": max(self.times),
            "sparkline": points,
            "example": record_object(self.newest, max_text),
        }


async def _problems(site: Site, request: Request, values: Values) -> Response:
    def work(question: Question) -> dict[str, Any]:
        groups, others = _grouped(question)
        ordered = sorted(groups, key=lambda group: (-len(group.times), group.pattern.text))
        times = [time for group in groups for time in (min(group.times), max(group.times))]
        since, until = (min(times), max(times)) if times else (0.0, 0.0)
        shown = ordered[: values["limit"]]
        return {
            "problems": [group.to_object(since, until, values["max_text"]) for group in shown],
            "other_problems": len(ordered) - len(shown),
            "other_records": others + sum(len(group.times) for group in ordered[len(shown) :]),
            "first": since,
            "last": until,
            "complete": question.is_complete,
        }

    return json_answer(await site.ask(request, values, work))


def _grouped(question: Question) -> tuple[list[_Group], int]:
    groups: dict[Pattern, _Group] = {}
    others = 0
    for found in _found(question):
        pattern = pattern_of(found.record)
        group = groups.get(pattern)
        if group is None:
            if len(groups) >= GROUPS:
                others += 1
                continue
            group = groups[pattern] = _Group(pattern, found)
        group.times.append(found.record.created)
    return list(groups.values()), others


def _found(question: Question) -> Iterator[Found]:
    """Yield what matches, the newest first, as long as there is time."""
    for found in question.store.search(
        question.query,
        newest_first=True,
        unread=question.unread,
        progress=question.progress,
    ):
        yield found
        if question.progress.must_stop():
            return


ENDPOINTS = (
    Endpoint(
        "/problems",
        "Groups of records: tracebacks of the same exception and frames, and messages that differ"
        " only in numbers, ids and quoted texts. The largest groups come first. `query` finds the"
        " records of a group.",
        _problems,
        (
            QUERY,
            ZONE,
            SINCE,
            UNTIL,
            Parameter("limit", "integer", "The most groups.", 50, 1, 500),
            TEXT_LIMIT,
            DEADLINE,
        ),
        obj(
            problems=list_of(
                obj(
                    kind={"type": "string", "enum": ["traceback", "message"]},
                    title=TEXT,
                    pattern=TEXT,
                    query=TEXT,
                    records=COUNT,
                    first=NUMBER,
                    last=NUMBER,
                    sparkline=list_of(COUNT),
                    example=RECORD,
                )
            ),
            other_problems=COUNT,
            other_records=COUNT,
            first=NUMBER,
            last=NUMBER,
            complete=FLAG,
        ),
    ),
)
