"""Loss notices: the receiver's rejections and losses, on their way to the ledger.

Each rejection has a row of its own in the ledger, until a client causes a thousand a second. Then
ten of a host are kept, and the others of that second are folded into one notice with a count.
Losses are always sums. All memory is bounded, whatever clients send. The notices reach the ledger
through the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastlog.block import Kind, make_notices, runs
from fastlog.bounded_counter import BoundedCounter
from fastlog.core import LoopRejection
from fastlog.journal import Journal
from fastlog.record import Loss, Notice, Rejection, host_of

SINGLE_PER_HOST = 10
"""Rejections of one host per second that are not folded."""
SINGLE = 200
"""Rejections of all hosts together per second that are not folded."""
HOSTS = 100
"""Hosts per second that have notices of their own. All others share notices without a host."""


@dataclass(slots=True)
class _Losses:
    count: int
    first: float
    last: float


class LossNotices:
    """The notices that are not in the journal yet.

    Args:
        clock: The wall clock, in seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._single: list[Rejection] = []
        self._folded: dict[tuple[str, str], Rejection] = {}
        """By host and reason."""
        self._rejected_hosts = BoundedCounter(HOSTS, overflow="")
        self._losses: dict[tuple[str, str], _Losses] = {}
        """By host and reason."""
        self._losing_hosts = BoundedCounter(HOSTS, overflow="")
        self.dropped = 0
        """Records lost since the start of this receiver."""

    def add_loop_rejection(self, rejection: LoopRejection) -> None:
        """Add a connection that the loop rejected or closed."""
        self.add_rejection(
            Rejection(
                peer=rejection.peer,
                reason=rejection.reason,
                length=rejection.length,
                raw=rejection.head,
                received=self._clock(),
            )
        )

    def add_rejection(self, rejection: Rejection) -> None:
        """Add a rejection, or fold it into those of the same host and reason."""
        host = self._rejected_hosts.add(host_of(rejection.peer))
        is_single = host and self._rejected_hosts[host] <= SINGLE_PER_HOST
        if is_single and len(self._single) < SINGLE:
            self._single.append(rejection)
            return
        key = host, rejection.reason
        folded = self._folded.get(key)
        count = rejection.count + (folded.count if folded else 0)
        self._folded[key] = Rejection(
            peer=host, reason=rejection.reason, length=0, count=count, received=rejection.received
        )

    def add_lost_block(self, block: bytes, reason: str) -> int:
        """Add the records of stock clients in a block that could not be kept.

        Fastlog clients lose nothing: they send their records again.

        Returns:
            The number of records lost.
        """
        stock = [run for run in runs(memoryview(block)) if run.kind is Kind.STOCK]
        now = self._clock()
        for run in stock:
            self._add_loss(host_of(run.peer), reason, run.frames, now, now)
            self.dropped += run.frames
        return sum(run.frames for run in stock)

    def _add_loss(self, host: str, reason: str, count: int, first: float, last: float) -> None:
        key = self._losing_hosts.add(host, count), reason
        losses = self._losses.setdefault(key, _Losses(0, first, last))
        losses.count += count
        losses.first = min(losses.first, first)
        losses.last = max(losses.last, last)

    def take(self) -> list[Notice]:
        """Remove and return all notices."""
        losses = [
            Loss(host, reason, each.count, each.first, each.last)
            for (host, reason), each in self._losses.items()
        ]
        notices: list[Notice] = [*self._single, *self._folded.values(), *losses]
        self._single, self._folded, self._losses = [], {}, {}
        self._rejected_hosts.clear()
        self._losing_hosts.clear()
        return notices

    def put_back(self, notices: list[Notice]) -> None:
        """Add notices that `take` returned and that the journal did not accept."""
        for notice in notices:
            if isinstance(notice, Rejection):
                self.add_rejection(notice)
            else:
                self._add_loss(notice.peer, notice.reason, notice.count, notice.first, notice.last)

    def append_to(self, journal: Journal) -> None:
        """Move all notices into the journal, if it accepts them. Call this once a second."""
        notices = self.take()
        if not notices:
            return
        block = make_notices(notices)
        if journal.append(block, len(notices), over_size=True) is not None:
            self.put_back(notices)
