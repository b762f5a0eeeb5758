"""Broadcast: one thread reads what arrives in the store, for all tails together.

Each tail has a bounded queue of batches. What finds no room in it is counted as dropped: the
newest records matter, and nobody can read more. A record is encoded once, whoever reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from fastlog.errors import FastlogError
from fastlog.query import EVERYTHING, Node, any_of, compile_query
from fastlog.search import Found, Unread
from fastlog.search.store import RecordStore
from fastlog.web.failures import RequestError

log = logging.getLogger(__name__)

MOST: Final = 200
"""Records of one batch."""
MAX_BYTES: Final = 2 << 20
"""Bytes of one batch, unless a single record has more."""
QUEUED: Final = 10
"""Batches that wait for a client."""
READ_AT_ONCE: Final = 20_000
"""New records of a file that are looked at; older ones are skipped, so that tails keep up."""
START: Final = 10.0
"""Seconds that a tail waits at most for the first look at the store."""
RETRY: Final = 2.0
"""Seconds before the store is read again after an error."""

Encode = Callable[[Found], bytes]
Place = tuple[str, int, int]


class Batch(NamedTuple):
    """Some new records, in order of arrival."""

    places: tuple[Place, ...]
    """Journal, block and number of each."""
    records: tuple[bytes, ...]
    """Each as JSON."""
    dropped: int
    """Records that match, came before these, and are left out."""


class Tail:
    """One reader of new records.

    Args:
        query: The records that it wants.
        encode: Makes the JSON of a record.
    """

    def __init__(self, query: Node, encode: Encode) -> None:
        self.query, self.encode = query, encode
        self._loop = asyncio.get_running_loop()
        self._batches: deque[Batch] = deque()
        self._dropped = 0
        self._lock = threading.Lock()
        self._arrived = asyncio.Event()
        self.is_closed = False

    def put(self, batch: Batch) -> None:
        """Add a batch; from another thread. The oldest one is dropped if there is no room."""
        with self._lock:
            self._batches.append(batch)
            if len(self._batches) > QUEUED:
                left = self._batches.popleft()
                self._dropped += left.dropped + len(left.records)
        self._wake()

    def close(self) -> None:
        """End the tail; from any thread."""
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def get(self, seconds: float) -> Batch | None:
        """Return the next batch; None if there is none within some seconds, or none any more."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), seconds)
        with self._lock:
            if not self._batches:
                self._arrived.clear()
                return None
            batch = self._batches.popleft()
            dropped, self._dropped = self._dropped, 0
            if not self._batches and not self.is_closed:
                self._arrived.clear()
        return batch._replace(dropped=batch.dropped + dropped)


class Broadcast:
    """Follows the store while there is a tail.

    Args:
        limit: The most tails at a time.
    """

    def __init__(self, store: RecordStore, limit: int) -> None:
        self._store, self._limit = store, limit
        self._tails: list[Tail] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = threading.Event()
        self._grouped: _Groups | None = None
        self._position: Any = None
        self._is_following = threading.Event()
        self._is_lost = False

    def add(self, tail: Tail) -> None:
        """Send new records to a tail, from now on.

        Raises:
            RequestError: There are too many tails.
        """
        with self._lock:
            if len(self._tails) >= self._limit:
                raise RequestError(
                    f"{self._limit} tails are open; close one, or raise web.tails",
                    503,
                    headers={"Retry-After": "5"},
                )
            self._tails.append(tail)
            self._grouped = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tails", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Wait until the store is followed: a tail gets all that arrives from then on."""
        self._is_following.wait(START)

    def remove(self, tail: Tail) -> None:
        """Send a tail nothing more."""
        with self._lock:
            if tail in self._tails:
                self._tails.remove(tail)
            self._grouped = None

    def close(self) -> None:
        """End all tails."""
        self._is_closed.set()
        for tail in list(self._tails):
            tail.close()

    # ---- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closed.is_set():
            try:
                self._follow()
                return
            except (FastlogError, OSError) as error:
                if not self._is_lost:  # the line says once what lasts
                    log.error("tails: %s; trying again", error)
                self._is_lost = True
            except Exception:
                log.exception("tails: an internal error of fastlog; trying again")
            self._is_closed.wait(RETRY)

    def _follow(self) -> None:
        """Read what arrives until no tail is left."""
        unread = Unread(lambda line: log.warning("tails: %s", line))
        if self._position is None:  # else an error has interrupted it
            _, self._position = self._store.newest(EVERYTHING, 0, unread)
        with self._store.arrivals() as arrivals:
            if self._is_lost:
                log.info("tails: the store is read again")
            self._is_lost = False
            self._is_following.set()
            while (groups := self._groups()) is not None:
                query = any_of(dict.fromkeys(tails[0].query for _, tails in groups))
                skips: list[int] = []
                some: list[Found] = []
                try:
                    for batch in arrivals.read(
                        query, self._position, unread,
                        at_most=READ_AT_ONCE, skipped=skips.append,
                    ):  # fmt: skip
                        some += batch
                finally:  # an error does not take back what was read before it
                    self._send(groups, some, sum(skips))
                arrivals.wait(self._is_closed.wait)

    def _groups(self) -> _Groups | None:
        """Return the tails; None, and no thread from now on, if there are none."""
        with self._lock:
            if not self._tails or self._is_closed.is_set():
                self._thread = self._position = None
                self._is_following.clear()
                return None
            if self._grouped is None:
                self._grouped = _grouped(self._tails)
            return self._grouped

    @staticmethod
    def _send(groups: _Groups, some: Sequence[Found], skipped: int) -> None:
        if not (some or skipped):
            return
        for is_wanted, tails in groups:
            wanted = [each for each in some if is_wanted((*each.record, each.node))]
            for batch in make_batches(wanted, tails[0].encode, skipped):
                for tail in tails:
                    tail.put(batch)


_Groups = Sequence[tuple[Callable[[tuple[object, ...]], bool], list[Tail]]]
"""Tails that want the same, and which records these are."""


def _grouped(tails: list[Tail]) -> _Groups:
    groups: dict[tuple[Node, Encode], list[Tail]] = {}
    for tail in tails:
        groups.setdefault((tail.query, tail.encode), []).append(tail)
    return [(compile_query(query), some) for (query, _), some in groups.items()]


def make_batches(found: Sequence[Found], encode: Encode, dropped: int) -> Iterator[Batch]:
    """Yield the newest records as batches, as many as a tail can hold.

    Args:
        dropped: Records that were left out before; those that do not fit are added.
    """
    most = MOST * QUEUED
    dropped += max(0, len(found) - most)
    places: list[Place] = []
    records: list[bytes] = []
    size = 0
    for each in found[-most:]:
        text = encode(each)
        if records and (len(records) == MOST or size + len(text) > MAX_BYTES):
            yield Batch(tuple(places), tuple(records), dropped)
            places, records, size, dropped = [], [], 0, 0
        places.append((each.node, each.record.offset, each.record.idx))
        records.append(text)
        size += len(text)
    if records or dropped:
        yield Batch(tuple(places), tuple(records), dropped)
