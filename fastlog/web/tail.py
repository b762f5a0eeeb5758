"""Tail: new records as server-sent events, and what was missed since the last event."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from fastlog.search import Found, Progress, Unread
from fastlog.transfer.record_lines import encode_record, encode_values
from fastlog.web.answers import record_object
from fastlog.web.broadcast import MOST, QUEUED, READ_AT_ONCE, Batch, Place, Tail, make_batches
from fastlog.web.closing_stream import ClosingStream
from fastlog.web.counts import read_fields
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.parameters import QUERY, TEXT_LIMIT, ZONE, Parameter
from fastlog.web.records import read_id
from fastlog.web.site import Site

PING: Final = 15.0
"""Seconds of silence after which a ping is sent."""
SPACING: Final = 0.1
"""Seconds between two events of one client."""
CATCH_UP: Final = MOST * QUEUED
"""Records that a client gets of what it has missed; of more, the newest."""


async def _tail(site: Site, request: Request, values: Values) -> Response:
    query = site.question(values).query
    columns = read_fields("columns", values["columns"], most=30)
    encode = _encoder(columns, values["max_text"])
    after = request.headers.get("last-event-id") or values["after"]
    place = read_id(after) if after else None
    tail = Tail(query, encode)
    begin = place or await asyncio.to_thread(site.store.last_arrival, Unread(lambda line: None))
    site.broadcast.add(tail)  # before the search, so that nothing arrives in between
    async with AsyncExitStack() as held:
        held.callback(site.broadcast.remove, tail)
        await asyncio.to_thread(site.broadcast.wait)
        first: list[Found] = []
        dropped = 0
        if place is not None:
            first, dropped = await _missed(site, request, tail, place)
        return ClosingStream(
            _events(tail, begin, first, dropped), held.pop_all(), media_type="text/event-stream"
        )


async def _missed(
    site: Site, request: Request, tail: Tail, place: Place
) -> tuple[list[Found], int]:
    """Return the newest records that a client has missed, and how many more there were."""

    def work(progress: Progress) -> tuple[list[Found], int]:
        newest: deque[Found] = deque(maxlen=CATCH_UP)
        total = 0
        unread = Unread(lambda line: None)
        for batch in site.store.missed(
            tail.query, place, unread, at_most=READ_AT_ONCE, skipped=skips.append
        ):
            newest.extend(batch)
            total += len(batch)
            if progress.must_stop():
                break
        return list(newest), total - len(newest) + sum(skips)

    skips: list[int] = []
    return await site.searches.run(request, 10.0, work)


async def _events(
    tail: Tail, begin: Place | None, first: list[Found], dropped: int
) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n"
    if begin is not None:  # for a client whose connection is lost before the first event
        yield b"id: " + _id(begin) + b"\n"
    yield b"\n"
    known = {(each.node, each.record.offset, each.record.idx) for each in first}
    for batch in make_batches(first, tail.encode, dropped):
        yield _event(batch)
        await asyncio.sleep(SPACING)
    while not tail.is_closed:
        began = time.monotonic()
        arrived = await tail.get(PING)
        if arrived is None:
            if time.monotonic() > began + PING - 1:
                yield b"event: ping\ndata: {}\n\n"
            continue
        batch = arrived
        if known:
            batch, is_past = _without(batch, known)
            known = set() if is_past else known
        if batch.records or batch.dropped:
            yield _event(batch)
            await asyncio.sleep(max(0.0, began + SPACING - time.monotonic()))


def _without(batch: Batch, known: set[Place]) -> tuple[Batch, bool]:
    """Return a batch without known records, and whether its last record is new."""
    new = [at for at, place in enumerate(batch.places) if place not in known]
    some = Batch(
        tuple(batch.places[at] for at in new),
        tuple(batch.records[at] for at in new),
        batch.dropped,
    )
    return some, bool(new) and new[-1] == len(batch.places) - 1


def _event(batch: Batch) -> bytes:
    parts = []
    if batch.dropped:
        parts.append(b'event: dropped\ndata: {"dropped":%d}\n\n' % batch.dropped)
    if batch.records:
        place = _id(batch.places[-1])
        body = b",".join(batch.records)  # JSON has no line feeds
        parts.append(b"id: " + place + b"\nevent: records\ndata: [" + body + b"]\n\n")
    return b"".join(parts)


def _id(place: Place) -> bytes:
    return "{}:{}:{}".format(*place).encode()


@lru_cache(maxsize=64)
def _encoder(fields: tuple[str, ...], max_text: int) -> Callable[[Found], bytes]:
    """Return what makes the JSON of a record, with all columns or some.

    It is the same function for the same columns, so that tails share their batches.
    """
    if not fields and not max_text:
        return encode_record
    wanted = {"id", "time", "created", "abbreviated"}
    for field in fields:
        wanted |= {"levelname", "levelno"} if field == "level" else set()
        wanted.add({"logger": "name"}.get(field, field.partition(".")[0]))

    def encode(found: Found) -> bytes:
        values = record_object(found, max_text)
        if fields:
            values = {name: values[name] for name in values if name in wanted}
        return encode_values(values)

    return encode


ENDPOINTS = (
    Endpoint(
        "/tail",
        "New records as they arrive: server-sent events `records` (a list of records), `dropped`"
        " (how many were left out because they came too fast), and `ping`. An event's id is that"
        " of its last record; with the header Last-Event-ID, a tail continues behind it.",
        _tail,
        (
            QUERY,
            ZONE,
            Parameter("columns", "text", "Columns to send, with commas; none: all.", ""),
            TEXT_LIMIT,
            Parameter("after", "text", "The id of a record after which to begin (default: now)."),
        ),
        {"type": "string"},
        media_types=("text/event-stream",),
    ),
)
