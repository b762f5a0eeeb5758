"""The newest records of a web server, and those that arrive, over its API."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Final
from urllib.parse import quote

import msgspec

from fastlog.cli.api import Api, decoded
from fastlog.cli.api_errors import ApiError, NothingThereError
from fastlog.cli.api_events import Event, Events
from fastlog.query import COLUMNS
from fastlog.record import Record
from fastlog.search import Found

_PAGE: Final = 1000
"""Records of the largest page."""
_DEADLINE: Final = 10
"""Seconds of a request for a page; a search that takes longer continues with the next."""
_INTERVAL: Final = 0.05
"""Seconds between two looks for an event."""
_LONGEST_PAUSE: Final = 30.0
"""Seconds between two attempts to connect."""
_PAUSE: Final = 0.25
"""Seconds before the first attempt to connect again. Each further pause is twice as long."""

_SPACING: Final = 1.0
"""Seconds between two lines about records that were left out."""

_ID: Final = re.compile(r"[\w-]*:\d{1,19}:\d{1,19}", re.ASCII)

_RawRecord = dict[str, msgspec.Raw]


class _Page(msgspec.Struct):
    records: list[_RawRecord]
    cursor: str | None
    unread: list[str]


class _Dropped(msgspec.Struct):
    dropped: int


class RemoteTail:
    """A tail of the records that match a query.

    Args:
        query: in the query language.
        zone: the name of the zone of its times; `None`: that of the server.
        report: gets a line about what was lost or left out.
    """

    def __init__(
        self, api: Api, query: str, zone: str | None, report: Callable[[str], object]
    ) -> None:
        self._api, self._report = api, report
        self._parameters = {"q": query, "tz": zone}
        self._last_id: str | None = None
        self._known: set[str] = set()
        self._wait = _PAUSE
        self._left_out = 0
        self._reported_at = -math.inf
        self.unread: list[str] = []
        """Files that the server could not read."""

    def newest(self, count: int) -> list[Found]:
        """Return the newest records, oldest first."""
        found: list[Found] = []
        cursor: str | None = None
        while len(found) < count:
            page = self._api.get(
                "/records",
                _Page,
                limit=min(_PAGE, count - len(found)),
                cursor=cursor,
                deadline=_DEADLINE,
                **self._parameters,
            )
            found += map(_found, page.records)
            self.unread = page.unread
            cursor = page.cursor
            if cursor is None:
                break
        self._known = set(map(id_of, found))
        return found[::-1]

    def follow(
        self, begin: Callable[[], object], pause: Callable[[float], object]
    ) -> Generator[list[Found]]:
        """Yield what arrives, in batches, without end; each record once.

        Args:
            begin: called when nothing that arrives from then on is missed.
            pause: called with some seconds whenever there is nothing new.

        Raises:
            UnusableApiError: The server refuses the tail.
            ApiError: It cannot be reached at the start.
        """
        with ExitStack() as open_streams:
            events = open_streams.enter_context(self._open())
            begin()
            while True:
                try:
                    yield from self._batches(events, pause)
                except ApiError as error:
                    open_streams.close()
                    self._report_left_out(0.0)
                    self._report(f"connection lost: {error}; trying again")
                events = open_streams.enter_context(self._reopen(pause))

    def _open(self) -> Events:
        return self._api.events("/tail", self._last_id, **self._parameters)

    def _reopen(self, pause: Callable[[float], object]) -> Events:
        """Connect again, as often as it takes."""
        while True:
            pause(self._wait)
            self._wait = min(_LONGEST_PAUSE, 2 * self._wait)
            try:
                is_there = self._last_id is not None and self._has(self._last_id)
                if not is_there:
                    self._last_id = None
                events = self._open()
            except ApiError:
                continue
            missing = "" if is_there else "; records that arrived meanwhile may be missing"
            self._report(f"connected again{missing}")
            return events

    def _has(self, record: str) -> bool:
        """Return whether the server still has a record."""
        try:
            self._api.get(f"/records/{quote(record)}", _RawRecord)
        except NothingThereError:
            return False
        return True

    def _batches(self, events: Events, pause: Callable[[float], object]) -> Iterator[list[Found]]:
        while True:
            self._report_left_out(_SPACING)
            event = events.next()
            if event is None:
                pause(_INTERVAL)
                continue
            if some := self._read(event):
                yield some
            if event.id is not None and _ID.fullmatch(event.id):
                self._last_id = event.id
            if event.kind:  # not only an id: the connection works
                self._wait = _PAUSE

    def _read(self, event: Event) -> list[Found]:
        """Return the new records of an event."""
        if event.kind == "dropped":
            self._left_out += decoded(event.data, _Dropped).dropped
        if event.kind != "records":
            return []
        found = [_found(each) for each in decoded(event.data, list[_RawRecord])]
        new = [each for each in found if id_of(each) not in self._known]
        self._known.difference_update(map(id_of, found))
        return new

    def _report_left_out(self, spacing: float) -> None:
        """Report what the server has left out, unless the last such line is too recent."""
        now = time.monotonic()
        if self._left_out and now >= self._reported_at + spacing:
            number, self._left_out, self._reported_at = self._left_out, 0, now
            self._report(f"left out {number:,} records, which came faster than they can be sent")


def id_of(found: Found) -> str:
    """Return the id of a record in the API."""
    return f"{found.node}:{found.record.offset}:{found.record.idx}"


def _found(values: _RawRecord) -> Found:
    """Return a record of the API as one of a store.

    Raises:
        ApiError: It is none.
    """
    try:
        texts = [bytes(values[name]) for name in COLUMNS]
        *fields, node = (
            text.decode() if name == "extra" else msgspec.json.decode(text)
            for name, text in zip(COLUMNS, texts, strict=True)
        )
        return Found(msgspec.convert(fields, Record), msgspec.convert(node, str))
    except (KeyError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise ApiError(f"the server has sent what is no record: {error}") from None
