"""Fields: what the newest records have, so that a page can offer it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from fastlog.query import COLUMNS
from fastlog.query.evaluate import decode_extra
from fastlog.query.fields import NUMBERS, TIMES
from fastlog.web.answers import json_answer
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.parameters import DEADLINE, QUERY, ZONE
from fastlog.web.question import Question
from fastlog.web.schemas import COUNT, FLAG, TEXT, list_of, obj
from fastlog.web.site import Site

NEWEST: Final = 1000
"""Records that are looked at."""
MOST: Final = 1000
"""The most fields of an answer."""
LONGEST: Final = 200
"""Characters of the longest name in an answer."""
DEPTH: Final = 3
"""Levels of nested objects whose names are in an answer."""
_PLAIN: Final = re.compile(r"[^\W](?:[\w-]*\w)?")


async def _fields(site: Site, request: Request, values: Values) -> Response:
    def work(question: Question) -> dict[str, Any]:
        counts = _count(question)
        return {
            "fields": [
                {"name": name, "kind": kind_of(name), "records": records}
                for name, records in counts.most_common(MOST)
            ],
            "complete": question.is_complete,
        }

    return json_answer(await site.ask(request, values, work))


def _count(question: Question) -> Counter[str]:
    counts: Counter[str] = Counter()
    found = question.store.search(
        question.query,
        newest_first=True,
        unread=question.unread,
        progress=question.progress,
    )
    for each in islice(found, NEWEST):
        values = (*each.record, each.node)
        counts.update(
            name
            for name, value in zip(COLUMNS, values, strict=True)
            if value is not None and name != "extra"
        )
        counts.update(set(extra_fields(decode_extra(each.record.extra))))
        if len(counts) > 10 * MOST:
            counts = Counter(dict(counts.most_common(MOST)))
    return counts


def extra_fields(value: Any, path: str = "extra", depth: int = 0) -> Iterator[str]:
    """Yield the names of the attributes in a value, as a query has them."""
    if not isinstance(value, dict) or depth == DEPTH:
        return
    for key, inner in islice(value.items(), MOST):
        if len(key) > LONGEST:
            continue
        name = f"{path}.{segment_of(key)}"
        if not isinstance(inner, dict) or depth + 1 == DEPTH:
            yield name
        yield from extra_fields(inner, name, depth + 1)


def segment_of(key: str) -> str:
    """Return the name of an attribute as a part of a path."""
    if _PLAIN.fullmatch(key):
        return key
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def kind_of(name: str) -> str:
    """Return what the values of a field are: `time`, `number`, `text` or `extra`."""
    if name in TIMES:
        return "time"
    if name in NUMBERS:
        return "number"
    return "text" if name in COLUMNS else "extra"


ENDPOINTS = (
    Endpoint(
        "/fields",
        f"The fields of the newest {NEWEST} records that match.",
        _fields,
        (QUERY, ZONE, DEADLINE),
        obj(fields=list_of(obj(name=TEXT, kind=TEXT, records=COUNT)), complete=FLAG),
    ),
)
