"""Reads the state of the server: sinks, losses, receiver and journal."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any, Final

from fastlog.config import Config
from fastlog.query import EVERYTHING
from fastlog.search import Progress, Unread
from fastlog.search.store import RecordStore
from fastlog.status.statistics import collect, to_tree
from fastlog.version import __version__
from fastlog.web.abbreviation import shorten

FRESH: Final = 1.0
"""Seconds for which one reading is used for all requests."""
PART: Final = 0.1
"""The part of the time that reading may take. If a reading takes long, it is used longer."""
SECONDS: Final = 2.0
"""Seconds that counting may take."""


class StatusReader:
    """Reads the files of the data directory, once for all who ask at the same time."""

    def __init__(self, config: Config, store: RecordStore) -> None:
        self._config, self._store = config, store
        self._lock = asyncio.Lock()
        self._until = -math.inf
        self._tree: dict[str, Any] = {}

    async def read(self) -> dict[str, Any]:
        """Return the state of the server as an object for JSON."""
        async with self._lock:
            began = time.monotonic()
            if began > self._until:
                self._tree = await asyncio.to_thread(self._collect)
                ended = time.monotonic()
                self._until = ended + max(FRESH, (ended - began) / PART)
            return self._tree

    def _collect(self) -> dict[str, Any]:
        progress = Progress(time.monotonic() + SECONDS)
        unread = Unread(lambda line: None)
        found = collect(self._config, EVERYTHING, unread, time.time(), self._store, progress)
        tree = to_tree(found)
        tree["loggers"] = _shortened(tree["loggers"])
        return {"version": __version__, **tree}


def _shortened(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts by names of bounded length: the page asks for them all the time."""
    short: dict[str, int] = {}
    for name, records in counts.items():
        shown = str(shorten(name))
        short[shown] = short.get(shown, 0) + records
    return short
