"""Counts: how many records match, by groups of values."""

from __future__ import annotations

from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fastlog.errors import ConfigError
from fastlog.query import resolve
from fastlog.search import OTHERS, Grouping
from fastlog.search.grouping import Group
from fastlog.web.abbreviation import shorten
from fastlog.web.answers import json_answer
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.failures import RequestError
from fastlog.web.parameters import DEADLINE, QUERY, ZONE, Parameter
from fastlog.web.question import Question
from fastlog.web.schemas import COUNT, FLAG, list_of, obj
from fastlog.web.site import Site

MOST_FIELDS = 4
SINCE = Parameter("since", "text", "Only records since this time.")
UNTIL = Parameter("until", "text", "Only records before this time.")


def read_fields(name: str, text: str, most: int = MOST_FIELDS) -> tuple[str, ...]:
    """Return the names of fields that a parameter lists.

    Raises:
        RequestError: One is no field, or there are too many.
    """
    fields = tuple(each.strip() for each in _split(text))
    if len(fields) > most:
        raise RequestError(f"{name}: expected at most {most} fields")
    for field in fields:
        if field not in ("level", "logger"):
            try:
                resolved = resolve(field)
            except ConfigError as error:
                raise RequestError(f"{name}: {error}") from None
            if len(resolved.columns) != 1:
                raise RequestError(f"{name}: {field!r} is no single field")
    return fields


def _split(text: str) -> list[str]:
    """Split at commas outside quotes: `extra."a,b"` is one name."""
    parts, is_quoted = [""], False
    for at, character in enumerate(text):
        if character == '"' and text[at - 1 : at] != "\\":
            is_quoted = not is_quoted
        if character == "," and not is_quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts if text.strip() else []


async def _counts(site: Site, request: Request, values: Values) -> Response:
    fields = read_fields("by", values["by"])

    def work(question: Question) -> dict[str, Any]:
        [counted] = question.store.count(
            question.query,
            [Grouping(fields, zone=question.context.zone)],
            question.unread,
            question.progress,
        )
        return {**_ranked(counted, values["top"]), "complete": question.is_complete}

    return json_answer(await site.ask(request, values, work))


def _ranked(counted: Counter[Group], top: int) -> dict[str, Any]:
    """Return the largest groups, and what is left out."""
    groups = [(key, n) for key, n in counted.items() if not key or key[0] is not OTHERS]
    groups.sort(key=lambda group: (-group[1], str(group[0])))
    shown = groups[:top]
    total = counted.total()
    return {
        "groups": [
            {"values": list(map(shorten, key)), "records": records} for key, records in shown
        ],
        "other_groups": len(groups) - len(shown),
        "other_records": total - sum(records for _, records in shown),
        "total": total,
    }


ENDPOINTS = (
    Endpoint(
        "/counts",
        "How many records match, for each group of values of some fields.",
        _counts,
        (
            QUERY,
            ZONE,
            SINCE,
            UNTIL,
            Parameter(
                "by", "text", "Fields with commas between them; none: one group for all.", ""
            ),
            Parameter("top", "integer", "The most groups; the largest come first.", 20, 1, 10_000),
            DEADLINE,
        ),
        obj(
            groups=list_of(
                obj(
                    values=list_of({"type": ["string", "integer", "number", "null"]}),
                    records=COUNT,
                )
            ),
            other_groups=COUNT,
            other_records=COUNT,
            total=COUNT,
            complete=FLAG,
        ),
    ),
)
