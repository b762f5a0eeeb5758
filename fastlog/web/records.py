"""Records: pages of those that match, one of them, and those around it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fastlog.errors import ConfigError
from fastlog.query import Node, resolve
from fastlog.query.evaluate import MISSING, decode_extra, find_extra, text_of_value
from fastlog.query.tree import Equals
from fastlog.search import Found
from fastlog.search.around import BY, in_common, next_by
from fastlog.search.cursor import Cursor
from fastlog.web.answers import json_answer, record_object
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.failures import RequestError
from fastlog.web.paging import find_page
from fastlog.web.parameters import DEADLINE, QUERY, TEXT_LIMIT, ZONE, Parameter
from fastlog.web.question import Question
from fastlog.web.schemas import FLAG, NULLABLE_TEXT, NUMBER, RECORD, UNREAD, list_of, obj
from fastlog.web.site import Site


async def _page(site: Site, request: Request, values: Values) -> Response:
    start = None
    if values["cursor"]:
        try:
            start = Cursor.parse(values["cursor"])
        except ConfigError as error:
            raise RequestError(f"cursor: {error}") from None
        if start.order != values["order"]:
            raise RequestError(f"cursor: it is of a page with order={start.order}")

    def work(question: Question) -> dict[str, Any]:
        most = values["max_text"]
        page = find_page(question, values["order"], values["limit"], start, most)
        return {
            "records": [record_object(found, most) for found in page.records],
            "cursor": None if page.cursor is None else str(page.cursor),
            "begin": None if page.begin is None else str(page.begin),
            "complete": question.is_complete,
            "scanned": page.scanned,
            "unread": list(map(str, question.unread.files)),
        }

    return json_answer(await site.ask(request, values, work))


def read_id(text: str) -> tuple[str, int, int]:
    """Return journal, block and number that an id names.

    Raises:
        RequestError: The text is no id.
    """
    node, *numbers = text.split(":")
    if len(numbers) != 2 or not all(
        each.isascii() and each.isdigit() and len(each) < 19 for each in numbers
    ):
        raise RequestError("there is no such record; an id is NODE:OFFSET:IDX", 404)
    return node, int(numbers[0]), int(numbers[1])


def _find(question: Question, place: tuple[str, int, int]) -> Found:
    progress = question.progress
    found = question.store.find(place, question.unread, progress)
    if found is None and progress.stopped is not None:
        raise RequestError("the record was not found in time; try again", 503)
    if found is None:
        raise RequestError("there is no such record; it may have been deleted by retention", 404)
    return found


async def _one(site: Site, request: Request, values: Values) -> Response:
    place = read_id(request.path_params["id"])
    return json_answer(
        await site.ask(request, values, lambda question: record_object(_find(question, place)))
    )


async def _around(site: Site, request: Request, values: Values) -> Response:
    place = read_id(request.path_params["id"])

    def work(question: Question) -> dict[str, Any]:
        found = _find(question, place)
        same = _shared(found, values["by"])

        def near(*, newest_first: bool) -> Iterator[Found]:
            return next_by(
                question.store.search,
                found,
                same,
                newest_first=newest_first,
                unread=question.unread,
                progress=question.progress,
            )

        before = list(islice(near(newest_first=True), values["before"]))
        after = islice(near(newest_first=False), values["after"])
        some = [*reversed(before), found, *after]
        return {
            "records": [record_object(each, values["max_text"]) for each in some],
            "complete": question.is_complete,
        }

    return json_answer(await site.ask(request, values, work))


def _shared(found: Found, by: str) -> Node:
    """Return the query of what records around a record have in common with it."""
    if by in BY:
        return in_common(found, BY[by])
    try:
        field = resolve(by)
    except ConfigError as error:
        raise RequestError(f"by: {error}") from None
    if not field.path:
        raise RequestError(f"by: expected process, logger or extra.NAME, got {by[:80]!r}")
    value = find_extra(decode_extra(found.record.extra), field.path)
    if value is MISSING:
        raise RequestError(f"by: the record has no {field.name}")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = {True: "true", False: "false", None: "null"}.get(value) if _is_word(value) else None
    return Equals(field, text or text_of_value(value), value if is_number else None)


def _is_word(value: object) -> bool:
    return value is None or isinstance(value, bool)


_SOME = obj(records=list_of(RECORD), complete=FLAG)
ENDPOINTS = (
    Endpoint(
        "/records",
        "The records that match, in pages.",
        _page,
        (
            QUERY,
            ZONE,
            Parameter("since", "text", "Only records since this time."),
            Parameter("until", "text", "Only records before this time."),
            Parameter("order", "text", "From which end.", "newest", choices=("newest", "oldest")),
            Parameter("limit", "integer", "The most records of the page.", 100, 1, 1000),
            Parameter("cursor", "text", "The cursor of the page before."),
            TEXT_LIMIT,
            DEADLINE,
        ),
        obj(
            records=list_of(RECORD),
            cursor=NULLABLE_TEXT,
            begin=NULLABLE_TEXT,
            complete=FLAG,
            scanned=NUMBER,
            unread=UNREAD,
        ),
    ),
    Endpoint("/records/{id}", "One record.", _one, answer=RECORD, failures=(404,)),
    Endpoint(
        "/records/{id}/around",
        "The records before and after one, in order of time, with the record itself.",
        _around,
        (
            Parameter(
                "by",
                "text",
                "What they have in common with it: process, logger, or an attribute extra.NAME.",
                "process",
            ),
            Parameter("before", "integer", "The most records before it.", 20, 0, 500),
            Parameter("after", "integer", "The most records after it.", 20, 0, 500),
            TEXT_LIMIT,
            DEADLINE,
        ),
        _SOME,
        failures=(404,),
    ),
)
