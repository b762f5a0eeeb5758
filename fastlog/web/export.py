"""Export: all records that match as a download, and how large it will be."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Callable, Iterator
from itertools import islice
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from fastlog.query import COLUMNS, Node
from fastlog.search import Found, Progress, Unread, count, search
from fastlog.web.answers import encode_record, json_answer
from fastlog.web.counts import SINCE, UNTIL
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.parameters import DEADLINE, QUERY, ZONE, Parameter
from fastlog.web.question import Question, read_query, time_context
from fastlog.web.schemas import COUNT, FLAG, obj
from fastlog.web.site import Site, within
from fastlog.web.tail import ClosingStream

CHUNK: Final = 1 << 16
"""Bytes that are sent at once."""
SAMPLE: Final = 200
"""Records from which the size is estimated."""
_FORMAT: Final = Parameter("format", "text", "The form.", "ndjson", choices=("ndjson", "csv"))
_MEDIA_TYPES: Final = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}

Encode = Callable[[Found], bytes]


async def _export(site: Site, request: Request, values: Values) -> Response:
    context = time_context(values)
    question = Question(site.logs, read_query(values["q"], context), context, Progress(), _quiet())
    span = [question.moment(name, values[name]) for name in ("since", "until")]
    query = within(question.query, *span)
    form = values["format"]
    stream = site.searches.stream(lambda progress: _chunks(site, query, form, progress))
    chunks = await stream.__aenter__()

    async def body() -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await stream.__aexit__(None, None, None)

    headers = {"Content-Disposition": f'attachment; filename="records.{form}"'}
    return ClosingStream(body(), media_type=_MEDIA_TYPES[form], headers=headers)


def _quiet() -> Unread:
    return Unread(lambda line: None)


def _chunks(site: Site, query: Node, form: str, progress: Progress) -> Iterator[bytes]:
    encode = ENCODERS[form]
    buffer = bytearray(_csv_line(COLUMNS) if form == "csv" else b"")
    for found in search(site.logs, query, unread=_quiet(), progress=progress):
        buffer += encode(found)
        if len(buffer) >= CHUNK:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _csv_line(values: Iterator[object] | tuple[object, ...]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode()


ENCODERS: dict[str, Encode] = {
    "ndjson": lambda found: encode_record(found) + b"\n",
    "csv": lambda found: _csv_line((*found.record, found.node)),
}


async def _size(site: Site, request: Request, values: Values) -> Response:
    encode = ENCODERS[values["format"]]

    def work(question: Question) -> dict[str, Any]:
        sample = [
            len(encode(found))
            for found in islice(
                search(
                    question.logs,
                    question.query,
                    newest_first=True,
                    unread=question.unread,
                    progress=question.progress,
                ),
                SAMPLE,
            )
        ]
        [counted] = count(
            question.logs, question.query, unread=question.unread, progress=question.progress
        )
        records = max(counted.total(), len(sample))
        each = sum(sample) / len(sample) if sample else 0.0
        return {
            "records": records,
            "bytes": round(each * records),
            "complete": question.is_complete,
        }

    return json_answer(await site.ask(request, values, work))


ENDPOINTS = (
    Endpoint(
        "/export",
        "All records that match, oldest first, as a download.",
        _export,
        (QUERY, ZONE, SINCE, UNTIL, _FORMAT),
        {"type": "string"},
        media_type="application/x-ndjson",
    ),
    Endpoint(
        "/export/size",
        "How many records an export has, and about how many bytes.",
        _size,
        (QUERY, ZONE, SINCE, UNTIL, _FORMAT, DEADLINE),
        obj(records=COUNT, bytes=COUNT, complete=FLAG),
    ),
)
