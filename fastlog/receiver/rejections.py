"""Counts rejected connections and clients, as loss notices and in the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from fastlog.core import Loop
from fastlog.eventlog import EventLog
from fastlog.receiver.loss_notices import LossNotices
from fastlog.record import Rejection, host_of


class Rejections:
    """Counts what the loop and the handshake reject."""

    def __init__(
        self, loop: Loop, notices: LossNotices, events: EventLog, clock: Callable[[], float]
    ) -> None:
        self._loop, self._notices, self._events, self._clock = loop, notices, events, clock
        self._unreported = 0
        """Of the loop's unreported rejections, those that were counted here."""
        self.by_tls: Counter[str] = Counter()
        """Connections that the TLS process has rejected, under the reason `tls`, which is short as
        those of the loop are: `Loop.stats` does not count them."""

    def collect(self) -> None:
        """Count the rejections that the loop has reported."""
        for rejection in self._loop.rejections():
            self._notices.add_loop_rejection(rejection)
            self._log(rejection.peer, rejection.reason)

    def collect_unreported(self) -> None:
        """Count the rejections that were too many for the loop to report."""
        unreported = self._loop.stats().unreported
        new, self._unreported = unreported - self._unreported, unreported
        if new:
            reason = "rejected, too many to record separately"
            self._notices.add_rejection(Rejection("", reason, 0, b"", new, self._clock()))

    def add_connection(self, peer: str, reason: str, head: bytes, count: int = 1) -> None:
        """Count connections that the TLS process has rejected."""
        self.by_tls["tls"] += count
        self._notices.add_rejection(Rejection(peer, reason, 0, head, count, self._clock()))
        self._log(peer, reason)

    def add_client(self, peer: str, reason: str) -> None:
        """Count the rejection of a fastlog client."""
        self._notices.add_rejection(Rejection(peer, reason, 0, b"", 1, self._clock()))
        self._log(peer, reason)

    def _log(self, peer: str, reason: str) -> None:
        self._events.add("rejected", f"rejected {host_of(peer)}: {reason}")
