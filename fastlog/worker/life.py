"""A worker's signs of life: a page of shared memory, which its worker updates and others read.

A worker gives a sign before each batch and each block that it decodes, ten times a second at most.
It gives none while a method of its sink runs, since that may wait for a network or a disk as long
as it wants. The page then names the method, and the time of the call; each call changes it. While
the method waits for a block to be decoded, the page names none. Nothing is synced: the page only
describes a process that runs.

Signs go into two slots by turns. A worker that is stopped while it writes one leaves the other
whole, and a check word shows which one that is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import xor
from pathlib import Path
from typing import NamedTuple

from fastlog.files import make_directory
from fastlog.journal.page import ALL_BITS, SharedPage

log = logging.getLogger(__name__)

SUFFIX = ".life"
CALLS = ("", "open", "apply", "sync", "tick", "offending", "missing", "close")
"""The methods of a sink that may wait, by their number in the page; 0: none runs."""
SIGN_INTERVAL = 0.1
"""Seconds after a sign in which `give` gives no other one."""
CHECK_INTERVAL = 1.0
"""Seconds between checks that the page is in place, and between attempts to make it."""
_UPDATE, _PID, _STARTED, _AT, _CALL, _CHECK = range(6)
_SLOT_WORDS = _CHECK + 1
_PAGE = struct.Struct(f"={2 * _SLOT_WORDS}Q")
_READS = 100
"""Attempts to read a page whose slots are both being updated."""


class Life(NamedTuple):
    """What a page says of a worker. Times are the wall clock's, in seconds since the epoch."""

    at: float
    """The last sign of life."""
    in_call_since: float | None = None
    """Since when the worker waits inside its sink's own call; None: it does not."""
    call: str = ""
    """The method of the sink that it waits in, such as `apply`; "" for none."""
    pid: int = 0
    """The worker's process."""
    update: int = 0
    """Changes with every sign of life."""


class LifePage(SharedPage):
    """The page of the sink `name`, for its one worker.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, data_dir: Path, name: str) -> None:
        path = _path(data_dir, name)
        make_directory(path.parent)
        super().__init__(path, _PAGE.size // 8, writable=True)
        slot = _newest_slot(self.words.tolist())
        self._update = slot[_UPDATE] if slot is not None else 0

    def publish(self, pid: int, started: int, at: float, call: int) -> None:
        """Replace the older of the two signs."""
        self._update += 1
        words = [self._update, pid, started, max(0, int(at * 1e6)) & ALL_BITS, call]
        words.append(reduce(xor, words) ^ ALL_BITS)
        for place, word in enumerate(words, self._update % 2 * _SLOT_WORDS):
            self.words[place] = word


class SignsOfLife:
    """Publishes the signs of life of this process, the worker of the sink `name`."""

    def __init__(
        self,
        data_dir: Path,
        name: str,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data_dir, self._name = data_dir, name
        self._clock, self._monotonic = clock, monotonic
        self._identity = os.getpid(), started_at(os.getpid())
        self._page: LifePage | None = None
        self._call = ""
        """The method of the sink that runs; "" for none."""
        self._check_at = self._given_at = float("-inf")

    def give(self) -> None:
        """Give a sign of life, unless there was one just now. Call it as often as you want."""
        if self._monotonic() >= self._given_at + SIGN_INTERVAL:
            self._publish()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Publish that the worker itself works, also inside a method of its sink."""
        if not self._call:
            self.give()
            yield
            return
        with self.during(""):
            yield

    @contextmanager
    def during(self, call: str) -> Iterator[None]:
        """Publish that the sink's method `call` runs, for as long as the `with` block does."""
        before, self._call = self._call, call
        self._publish()
        try:
            yield
        finally:
            self._call = before
            self._publish()

    def close(self) -> None:
        """Close the page; its content stays."""
        if self._page is not None:
            self._page.close()
            self._page = None
            self._check_at = float("inf")

    def _publish(self) -> None:
        self._given_at = self._monotonic()
        self._check_page()
        if self._page is not None:
            self._page.publish(*self._identity, self._clock(), CALLS.index(self._call))

    def _check_page(self) -> None:
        """Make the page if it is missing, also after another program has removed it."""
        now = self._monotonic()
        if now < self._check_at:
            return
        self._check_at = now + CHECK_INTERVAL
        try:
            if self._page is not None:
                if self._page.is_in_place():
                    return
                self._page.close()
                self._page = None
            self._page = LifePage(self._data_dir, self._name)
        except OSError as error:  # as on a full disk; other parts log that
            log.debug("sink %s: cannot make its life page: %s", self._name, error.strerror)


def read_lives(data_dir: Path) -> dict[str, Life]:
    """Return what the workers have published last, by the name of the sink.

    A worker that has ended has left its page: `at` then is the time of its last sign.
    """
    found: dict[str, Life] = {}
    with contextlib.suppress(OSError):  # no descriptor is free
        for path in sorted((data_dir / "positions").glob(f"*{SUFFIX}")):
            name = path.name.removesuffix(SUFFIX)
            if (life := read_life(data_dir, name)) is not None:
                found[name] = life
    return found


def read_life(data_dir: Path, name: str) -> Life | None:
    """Return what the worker of one sink has published last; None if there is nothing.

    The file is read, not mapped: nothing that another program does to it can harm the reader.
    """
    for _ in range(_READS):
        try:
            with _path(data_dir, name).open("rb", buffering=0) as file:
                content = file.read(_PAGE.size)
        except OSError:
            return None
        if len(content) < _PAGE.size:
            return None
        words = _newest_slot(list(_PAGE.unpack(content)))
        if words is not None:
            return _decode(words)
    return None


def _newest_slot(words: list[int]) -> list[int] | None:
    slots = [words[:_SLOT_WORDS], words[_SLOT_WORDS:]]
    return max((slot for slot in slots if reduce(xor, slot) == ALL_BITS), default=None)


def _decode(words: list[int]) -> Life:
    pid = words[_PID]
    life = Life(words[_AT] / 1e6, None, "", pid, words[_UPDATE])
    # A worker that was killed inside a call waits in none, so its process is looked up.
    if not 0 < words[_CALL] < len(CALLS) or started_at(pid) != words[_STARTED]:
        return life
    return life._replace(in_call_since=life.at, call=CALLS[words[_CALL]])


def _path(data_dir: Path, name: str) -> Path:
    return data_dir / "positions" / f"{name}{SUFFIX}"


def state_of(pid: int) -> tuple[str, int]:
    """Return a process's state, such as `T` for stopped, and when it started, in ticks since boot.

    Returns:
        "" and 0 if there is no such process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return "", 0
    fields = text.rpartition(")")[2].split()  # the name before it may contain anything
    return fields[0], int(fields[19])


def started_at(pid: int) -> int:
    """Return when a process started, in ticks since boot; 0 if there is no such process."""
    return state_of(pid)[1]
