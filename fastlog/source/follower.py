"""One node that this central takes: its blocks, the worker that stores them, and its state."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from fastlog.errors import SinkError
from fastlog.jetstream.connection import Connection, WrongSequenceError
from fastlog.jetstream.node_state import KnownState, NodeState, read_state, write_state
from fastlog.source.feed import Budget, Feed
from fastlog.source.leases import RENEWAL
from fastlog.source.node_reader import NodeReader
from fastlog.source.report import NodeReport
from fastlog.source.store import Store
from fastlog.worker.worker import POLL_INTERVAL

IDLE: Final = 0.5
"""Seconds between two steps of a worker that has nothing to do."""


class LostError(Exception):
    """Another central takes the node now."""


class Follower:
    """Stores the blocks of one node.

    Args:
        known: The state with which this central has claimed the node.
        notify: Called in another thread when blocks have arrived.
    """

    def __init__(
        self,
        store: Store,
        connection: Connection,
        node: str,
        known: KnownState,
        budget: Budget,
        notify: Callable[[], object],
    ) -> None:
        self.node, self._connection = node, connection
        self._known = known
        self._state_at = time.monotonic()
        self._feed = Feed(connection, connection.target.blocks_of(node), budget, notify)
        self._reader = NodeReader(node, self._feed)
        self._due = 0.0
        self._gap_since: float | None = None
        try:
            self._worker = store.worker(self._reader)
            self._worker.open()
        except BaseException:
            self._feed.close()
            raise

    def step(self) -> float:
        """Store what has arrived, if anything has, or do what else is due.

        Returns:
            Seconds until the next step, unless blocks arrive before.
        """
        now = time.monotonic()
        if now < self._due and not (self._reader.has_blocks and self._worker.status.error is None):
            return self._due - now
        delay = self._worker.step()
        delay = IDLE if delay == POLL_INTERVAL else delay
        self._due = now + delay
        return delay

    def publish(self) -> None:
        """Publish what is stored, if that has changed, and free the stream of it.

        Raises:
            LostError: Another central has taken the node.
            SinkUnavailableError: The cluster does not answer.
        """
        now = time.monotonic()
        stored = self._worker.durable or self._known.state.stored
        gap = self._reader.gap
        self._gap_since = None if gap is None else self._gap_since or time.time()
        state = msgspec.structs.replace(self._known.state, stored=stored, gap=gap)
        if state == self._known.state and now < self._state_at + RENEWAL:
            return
        self._write(state)
        self._state_at = now
        if seq := self._reader.stored(stored):
            target = self._connection.target
            # The last message stays: the collector's next one names its sequence.
            question = {"filter": target.blocks_of(self.node), "seq": seq}
            self._connection.ask(f"STREAM.PURGE.{target.stream}", question)

    def _write(self, state: NodeState) -> None:
        try:
            seq = write_state(self._connection, self.node, state, self._known.seq)
        except WrongSequenceError:
            known = read_state(self._connection, self.node)
            if known.state.owner not in ("", state.owner):  # "": it is damaged
                raise LostError(known.state.owner) from None
            seq = write_state(self._connection, self.node, state, known.seq)
        self._known = KnownState(state, seq)

    def report(self) -> NodeReport:
        """Return what is to be shown of the node."""
        worker, gap = self._worker, self._reader.gap
        return NodeReport(
            node=self.node,
            cursor=worker.progress.cursor,
            stored=self._known.state.stored,
            received=worker.progress.received,
            pending=self._feed.pending if not self._feed.is_at_end else 0,
            gap=None if gap is None else gap.at,
            gap_since=self._gap_since,
            damaged=self._reader.damaged,
            error=worker.status.error or self._feed.error or None,
        )

    def finish(self) -> KnownState:
        """Store what has arrived, and close everything.

        Returns:
            The node's last state.
        """
        self._worker.finish(lambda _: None)
        with suppress(SinkError, LostError):
            self.publish()
        self._feed.close()
        return self._known

    def abandon(self) -> None:
        """Close everything without another look at the node: another central has it."""
        self._worker.close()
        self._feed.close()
