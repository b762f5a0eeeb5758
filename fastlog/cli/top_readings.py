"""What `fastlog top` reads, again and again: counts by minute, and the state of the server.

The counts are those that the stores keep by minute, so a reading does not look at each record.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from fastlog.config import Config
from fastlog.config.urls import public_url
from fastlog.query import Node, between, both, column
from fastlog.search import Grouping, Progress, Unread
from fastlog.search.grouping import Group
from fastlog.search.store import RecordStore
from fastlog.status.record_stores import choose_store, is_day_store
from fastlog.status.server_state import ServerState, read_state

if TYPE_CHECKING:
    from fastlog.cli.api import Api

MINUTE: Final = 60
MINUTES: Final = 30
"""Minutes that are shown, the present one included."""
RECENT: Final = 3
"""Minutes of these in which records are taken for new. The others are counted once a minute."""
FIELDS: Final = ("level", "logger", "host")
_SECONDS: Final = 5.0
"""Seconds that counting may take: a filter may need a search of texts."""

Bars = dict[str, Counter[int]]
"""By value: the number of records by the first second of their minute."""


class Reading(NamedTuple):
    """A look at the store and at its server."""

    at: float
    """Seconds since the epoch."""
    bars: dict[str, Bars]
    """For each of `FIELDS`."""
    state: ServerState
    notes: list[str]
    """What is missing."""


class Source(Protocol):
    """What can be read."""

    name: str
    """How a user calls it."""

    def read(self) -> Reading:
        """Return what is there now.

        Raises:
            FastlogError: It cannot be read.
        """

    def interrupt(self) -> None:
        """End the reading of another thread soon, and any further one at once."""


class StoreSource:
    """The files of a data directory, or another store.

    Args:
        query: which records are counted.
        url: the store, if it is not that of the configuration.
    """

    def __init__(self, config: Config, query: Node, url: str | None = None) -> None:
        self.name = str(config.data_dir) if url is None else public_url(url)
        self._config, self._query, self._url = config, query, url
        self._store: RecordStore | None = None
        self._counted: tuple[RecordStore, int] | None = None
        self._bars: dict[str, Bars] = {}
        self._progress = Progress()
        self._is_interrupted = False

    def interrupt(self) -> None:
        """End the reading of another thread soon, and any further one at once."""
        self._is_interrupted = True
        self._progress.interrupt()

    def read(self) -> Reading:
        """Return what is there now.

        Raises:
            FastlogError: It cannot be read.
        """
        now = time.time()
        store, unread = self._choose(), Unread(lambda line: None)
        self._progress = progress = Progress(time.monotonic() + _SECONDS)
        if self._is_interrupted:
            progress.interrupt()
        first = first_minute(now)
        end, recent = first + MINUTES * MINUTE, first + (MINUTES - RECENT) * MINUTE
        if self._counted == (store, first):
            counted = self._count(store, (recent, end), unread, progress)
            bars = {field: _merged(self._bars[field], counted[field], recent) for field in FIELDS}
        else:
            bars = self._count(store, (first, end), unread, progress)
        notes = [f"not counted: {path} {trouble}" for path, trouble in unread.files.items()]
        if progress.stopped is not None:
            notes.append(_too_slow(_SECONDS))
        is_complete = progress.stopped is None
        self._counted, self._bars = (store, first) if is_complete else None, bars
        return Reading(now, bars, read_state(self._config.data_dir, now), notes)

    def _choose(self) -> RecordStore:
        """Return the store. Day files are chosen anew: a server may store elsewhere meanwhile."""
        if self._store is None or is_day_store(self._config, self._url):
            self._store = choose_store(self._config, self._url, keep=1).store
        return self._store

    def _count(
        self, store: RecordStore, span: tuple[int, int], unread: Unread, progress: Progress
    ) -> dict[str, Bars]:
        """Count the records of whole minutes."""
        query = both(between(column("created"), *span), self._query)
        bars: dict[str, Bars] = {}
        # Hosts are counted in another table than levels and loggers.
        for fields in (("level", "logger"), ("host",)):
            groupings = [Grouping((field,), MINUTE, UTC) for field in fields]
            counted = store.count(query, groupings, unread, progress)
            bars |= dict(zip(fields, map(_bars_of, counted), strict=True))
        return bars


def _merged(earlier: Bars, counted: Bars, begin: int) -> Bars:
    """Return earlier counts of the minutes before `begin`, with newer ones of those from it on."""
    bars: Bars = {}
    for source, is_of_source in ((earlier, begin.__gt__), (counted, begin.__le__)):
        for name, minutes in source.items():
            own = {minute: records for minute, records in minutes.items() if is_of_source(minute)}
            if own:
                bars.setdefault(name, Counter()).update(own)
    return bars


class _Bar(msgspec.Struct):
    begin: int
    counts: dict[str, int]


class _Histogram(msgspec.Struct):
    bars: list[_Bar]
    complete: bool


class _Status(ServerState, frozen=True, kw_only=True):
    at: float
    """By the server's clock."""


class ApiSource:
    """The page of a server.

    Args:
        query: which records are counted, in the query language.
        zone: the name of the zone of its times; `None`: that of the server.
    """

    def __init__(self, api: Api, query: str, zone: str | None) -> None:
        self.name = api.url
        self._api, self._parameters = api, {"q": query, "tz": zone}
        self._ahead: float | None = None

    def interrupt(self) -> None:
        """End the reading of another thread soon, and any further one at once."""
        self._api.close()

    def read(self) -> Reading:
        """Return what is there now.

        Raises:
            FastlogError: It cannot be read.
        """
        state = self._api.get("/status", _Status)
        if self._ahead is None:
            self._ahead = state.at - time.time()  # the minutes are those of the server's clock
        now = time.time() + self._ahead
        first = first_minute(now)
        bars: dict[str, Bars] = {}
        notes: list[str] = []
        for field in FIELDS:
            histogram = self._api.get(
                "/histogram",
                _Histogram,
                by=field,
                since=f"@{first}",
                until=f"@{first + MINUTES * MINUTE}",
                bars=MINUTES + 1,
                deadline=_SECONDS,
                **self._parameters,
            )
            own: Bars = {}
            for bar in histogram.bars:
                for name, records in bar.counts.items():
                    own.setdefault(name or "?", Counter())[bar.begin] += records
            bars[field] = own
            if not histogram.complete:
                notes = [_too_slow(_SECONDS)]
        return Reading(now, bars, state, notes)


def first_minute(now: float) -> int:
    """Return the first second of the oldest minute that is shown."""
    return (int(now) // MINUTE - MINUTES + 1) * MINUTE


def _bars_of(counted: Counter[Group]) -> Bars:
    bars: Bars = {}
    for (value, begin), records in counted.items():
        if isinstance(begin, int):
            name = "?" if value is None else str(value)
            bars.setdefault(name, Counter())[begin] += records
    return bars


def _too_slow(seconds: float) -> str:
    return f"the counts are incomplete: counting took over {seconds:.0f} s, or a file is damaged"
