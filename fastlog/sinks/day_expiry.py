"""Expiry: deletes the records of old day files that a rule of `[[expire]]` names.

Each call works for a fraction of a second, so that the sink goes on storing. How far a rule has
come is in the table `meta` of the file, in the transaction of what was deleted, so that it goes on
there whatever stops it.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from typing import Final, NamedTuple

from fastlog.config import ExpireConfig, format_duration
from fastlog.errors import SinkUnavailableError
from fastlog.query import Node, TimeContext, parse
from fastlog.sinks.day_cursor import read_file_version
from fastlog.sinks.day_directory import DayDirectory, DayFileName
from fastlog.sinks.day_erasure import Erasure, connect
from fastlog.sinks.day_file import DayFile
from fastlog.sinks.day_matches import Matches, Piece, pieces
from fastlog.sinks.day_schema import SPLIT, VERSION

log = logging.getLogger(__name__)

BUDGET: Final = 0.1
"""Seconds of one call, and those of one transaction beyond."""
INTERVAL: Final = 60.0
"""Seconds between two looks for files that have become old enough, while there is nothing to do."""


class _Rule(NamedTuple):
    query: Node
    settings: ExpireConfig
    key: str
    """The key in `meta` of the last id that the rule was applied to."""


class DayExpiry:
    """Applies `[[expire]]` to the day files of one sink.

    Args:
        sink: The sink's name, for the log.
        directory: The day files.
        rules: What expires.
        clock: Seconds that never go back.

    Raises:
        ConfigError: A filter is no query.
    """

    def __init__(
        self,
        sink: str,
        directory: DayDirectory,
        rules: Sequence[ExpireConfig],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink, self._directory, self._clock = sink, directory, clock
        self._rules = [
            _Rule(parse(rule.filter, TimeContext(0.0)), rule, _key(rule.filter)) for rule in rules
        ]
        self._done: set[tuple[DayFileName, str]] = set()
        self._deleted: Counter[tuple[DayFileName, str]] = Counter()
        self._failed: set[DayFileName] = set()
        """The files whose failure the log has."""
        self._in_use: Collection[DayFileName] = ()
        self._look_at = float("-inf")

    def step(self, now: float | None, in_use: Collection[DayFileName] | None) -> None:
        """Delete some of what has expired, if anything has.

        Args:
            now: The wall clock, in seconds since the epoch; None while it is not trusted.
            in_use: The files that are written to, in which nothing expires; None: not known.
        """
        if not self._rules or now is None or in_use is None or self._clock() < self._look_at:
            return
        if in_use != self._in_use:  # any file may have been written to meanwhile
            self._in_use = in_use
            self._done.clear()
        for name, rule in self._due(now):
            try:
                self._apply(name, rule)
            except (sqlite3.Error, SinkUnavailableError) as error:
                self._done.add((name, rule.key))  # until the cursor moves on
                if name not in self._failed and self._directory.file(name).exists():
                    self._failed.add(name)
                    log.warning("sink %s: expiry: %s: %s", self._sink, name, error)
            return
        self._look_at = self._clock() + INTERVAL

    def _due(self, now: float) -> Iterator[tuple[DayFileName, _Rule]]:
        for name in self._directory.names():
            for rule in self._rules:
                is_old = name.end + rule.settings.age < now
                if is_old and name not in self._in_use and (name, rule.key) not in self._done:
                    yield name, rule

    def _apply(self, name: DayFileName, rule: _Rule) -> None:
        """Apply a rule to some of a file."""
        path, place = self._directory.file(name), (name, rule.key)
        version = read_file_version(path) or 0
        if SPLIT <= version < VERSION:  # these migrations take a moment only
            DayFile(path).close()
        elif version != VERSION:
            self._done.add(place)
            log.info(
                "sink %s: expiry: %s is of an older version: fastlog migrate", self._sink, name
            )
            return
        end = time.monotonic() + BUDGET
        with closing(connect(path)) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (rule.key,)).fetchone()
            after = row[0] if row else 0
            left = [piece for piece in pieces(connection, after) if piece.last_id > after]
            matches, erasure = Matches(connection, rule.query), Erasure(connection, secure=False)
            is_over = False
            while left and not is_over:
                piece = left.pop(0)
                ids = matches.find(Piece(max(piece.first_id, after + 1), piece.last_id))
                after, is_over = piece.last_id, time.monotonic() >= end
                if ids or not left or is_over:
                    self._deleted[place] += erasure.erase(ids, {rule.key: after})
        if not left:
            self._done.add(place)
            if number := self._deleted.pop(place, 0):
                log.info(
                    "sink %s: expiry: deleted %d records of %s that match %r: older than %s",
                    *(self._sink, number, path, rule.settings.filter),
                    format_duration(rule.settings.age),
                )


def _key(text: str) -> str:
    return f"expired {hashlib.sha256(text.encode()).hexdigest()[:16]}"
