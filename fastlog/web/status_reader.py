"""Reads the state of the server: sinks, losses, receiver and journal."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any, Final

from fastlog.config import Config
from fastlog.query import EVERYTHING
from fastlog.search import Unread
from fastlog.status.statistics import collect, to_tree
from fastlog.version import __version__
from fastlog.web.abbreviation import shorten

FRESH: Final = 1.0
"""Seconds for which one look at the files serves all who ask."""


class StatusReader:
    """Reads the files of the data directory, once for all who ask at the same time."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = asyncio.Lock()
        self._read_at = -math.inf
        self._tree: dict[str, Any] = {}

    async def read(self) -> dict[str, Any]:
        """Return the state of the server as an object for JSON."""
        async with self._lock:
            if time.monotonic() > self._read_at + FRESH:
                self._tree = await asyncio.to_thread(self._collect)
                self._read_at = time.monotonic()
            return self._tree

    def _collect(self) -> dict[str, Any]:
        found = collect(self._config, EVERYTHING, Unread(lambda line: None), time.time())
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
