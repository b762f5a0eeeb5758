"""What the receiver rejects or loses, gathered into notes for the journal.

One row for each is what one wants to see, until a stranger makes a thousand a second: then ten
of a host are told one by one, and the rest of that second as one with a count. Losses are sums in
any case. All of it is bounded, whoever sends what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from fastlog.block import Kind, runs
from fastlog.core import LoopRejection
from fastlog.record import Loss, Note, Rejection, host_of

ONE_BY_ONE = 10
"""Rejections of one host that are told singly, in one second."""
HOSTS = 100
"""Hosts that are told apart in one second; the rest are many, and have no name."""
ALL = 200
"""Rejections that are told singly in one second, of all hosts together."""


@dataclass(slots=True)
class _Span:
    count: int
    first: float
    last: float


class LossNotices:
    """The notes that have not been journaled yet."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._single: list[Rejection] = []
        self._told: Counter[str] = Counter()
        self._folded: dict[tuple[str, str], Rejection] = {}
        self._losses: dict[tuple[str, str], _Span] = {}
        self.dropped = 0
        """Records lost since the start."""

    def rejected_by_loop(self, rejection: LoopRejection) -> None:
        """A connection was rejected or closed."""
        self.rejected(
            Rejection(
                peer=rejection.peer,
                reason=rejection.reason,
                length=rejection.length,
                raw=rejection.head,
                received=self._clock(),
            )
        )

    def rejected(self, rejection: Rejection) -> None:
        """The same, in the ledger's words."""
        host = self._known(host_of(rejection.peer), self._told)
        self._told[host] += 1
        if host and self._told[host] <= ONE_BY_ONE and len(self._single) < ALL:
            self._single.append(rejection)
            return
        key = host, rejection.reason
        before = self._folded.get(key)
        count = rejection.count + (before.count if before else 0)
        self._folded[key] = Rejection(
            peer=host, reason=rejection.reason, length=0, count=count, received=rejection.received
        )

    def lost(self, block: bytes, reason: str) -> int:
        """This block could not be kept. Returns how many records are lost by that: those of
        stock clients. Others keep theirs, and send them again."""
        stock = [run for run in runs(memoryview(block)) if run.kind is Kind.STOCK]
        for run in stock:
            self._lose(host_of(run.peer), reason, run.frames)
        return sum(run.frames for run in stock)

    def _lose(self, host: str, reason: str, count: int) -> None:
        now = self._clock()
        key = self._known(host, {host for host, _ in self._losses}), reason
        span = self._losses.setdefault(key, _Span(0, now, now))
        span.count += count
        span.last = now
        self.dropped += count

    def take(self) -> list[Note]:
        """What there is to tell, which is then told: a second is over."""
        losses = [
            Loss(host, reason, span.count, span.first, span.last)
            for (host, reason), span in self._losses.items()
        ]
        notes: list[Note] = [*self._single, *self._folded.values(), *losses]
        self._single, self._folded, self._losses = [], {}, {}
        self._told.clear()
        return notes

    def give_back(self, notes: list[Note]) -> None:
        """The journal did not take them: they are folded into what comes."""
        for note in notes:
            if isinstance(note, Rejection):
                self.rejected(note)
                continue
            span = self._losses.setdefault(
                (note.peer, note.reason), _Span(0, note.first, note.last)
            )
            span.count += note.count
            span.first = min(span.first, note.first)

    @staticmethod
    def _known(host: str, known: set[str] | Counter[str]) -> str:
        return host if host in known or len(known) < HOSTS else ""
