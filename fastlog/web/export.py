"""Export: all records that match as a download, and how large it will be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import islice
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from fastlog.errors import FastlogError
from fastlog.search import Grouping, Progress, Unread
from fastlog.transfer.record_lines import LINE_FORMS
from fastlog.web.answers import json_answer
from fastlog.web.closing_stream import ClosingStream
from fastlog.web.counts import SINCE, UNTIL
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.parameters import DEADLINE, QUERY, ZONE, Parameter
from fastlog.web.question import Question
from fastlog.web.schemas import COUNT, FLAG, obj
from fastlog.web.site import Site

CHUNK: Final = 1 << 16
"""Bytes that are sent at once."""
SAMPLE: Final = 200
"""Records from which the size is estimated."""
_FORMAT: Final = Parameter("format", "text", "The form.", "ndjson", choices=("ndjson", "csv"))
_MEDIA_TYPES: Final = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


async def _export(site: Site, request: Request, values: Values) -> Response:
    question = site.question(values)
    unread = Unread(lambda line: None)
    await asyncio.to_thread(site.store.bounds, question.query, unread)
    form = values["format"]
    async with AsyncExitStack() as held:
        chunks = await held.enter_async_context(
            site.exports.stream(request, lambda progress: _chunks(question, form, progress, unread))
        )
        headers = {
            "Content-Disposition": f'attachment; filename="records.{form}"',
            "X-Fastlog-Complete": "false" if unread.files else "true",
        }
        return ClosingStream(chunks, held.pop_all(), _MEDIA_TYPES[form], headers)


def _chunks(question: Question, form: str, progress: Progress, unread: Unread) -> Iterator[bytes]:
    """Yield the body.

    Raises:
        FastlogError: A file turned out to be damaged; the header does not say so.
    """
    lines, known = LINE_FORMS[form], len(unread.files)
    buffer = bytearray(lines.header)
    for found in question.store.search(question.query, unread=unread, progress=progress):
        buffer += lines.encode([found])
        if len(buffer) >= CHUNK:
            yield bytes(buffer)
            buffer.clear()
    if len(unread.files) > known:
        raise FastlogError(f"cannot be read to the end: {', '.join(map(str, unread.files))}")
    if buffer:
        yield bytes(buffer)


async def _size(site: Site, request: Request, values: Values) -> Response:
    encode = LINE_FORMS[values["format"]].encode

    def work(question: Question) -> dict[str, Any]:
        sample = [
            len(encode([found]))
            for found in islice(
                question.store.search(
                    question.query,
                    newest_first=True,
                    unread=question.unread,
                    progress=question.progress,
                ),
                SAMPLE,
            )
        ]
        [counted] = question.store.count(
            question.query, [Grouping()], question.unread, question.progress
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
        media_types=("application/x-ndjson", "text/csv"),
    ),
    Endpoint(
        "/export/size",
        "How many records an export has, and about how many bytes.",
        _size,
        (QUERY, ZONE, SINCE, UNTIL, _FORMAT, DEADLINE),
        obj(records=COUNT, bytes=COUNT, complete=FLAG),
    ),
)
