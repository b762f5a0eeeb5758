"""The loop of a source process: finds nodes, claims its share of them, and steps their workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from fastlog.config import Config
from fastlog.errors import SinkError
from fastlog.jetstream import streams
from fastlog.jetstream.connection import Connection
from fastlog.source.feed import Budget
from fastlog.source.follower import Follower, LostError
from fastlog.source.leases import Leases
from fastlog.source.report import SourceReport, write_report
from fastlog.source.store import Store

log = logging.getLogger(__name__)

INTERVAL: Final = 1.0
"""Seconds between two looks at the nodes of the stream."""
CLAIMS: Final = 50
"""Nodes that are claimed at once, so that no look takes long."""


class Source:
    """Takes the blocks of the nodes of a stream.

    Args:
        own: The id of this central.
        notify: Called in another thread when blocks have arrived.
    """

    def __init__(
        self,
        config: Config,
        connection: Connection,
        store: Store,
        own: str,
        notify: Callable[[], object],
    ) -> None:
        self._config, self._connection, self._notify = config, connection, notify
        self._store = store
        self._leases = Leases(connection, own)
        self._budget = Budget()
        self._followers: dict[str, Follower] = {}
        self._nodes: set[str] = set()
        self._refused: set[str] = set()
        """Nodes that another central has stored, into a store of its own."""
        self._info: streams.StreamInfo | None = None
        self._warnings: list[str] = []
        self._error: str | None = None
        self._due = 0.0

    def open(self) -> None:
        """Connect, make the streams if they do not exist, and report what makes them less safe.

        Raises:
            SinkError: The cluster cannot be used now.
        """
        self._connection.open()
        target = self._connection.target
        self._warnings = streams.warnings(streams.ensure(self._connection), target.prefix)
        if target.monitor:
            try:
                self._warnings += filter(None, [streams.sync_warning(target.monitor)])
            except SinkError as error:
                self._warnings.append(str(error))
        for text in self._warnings:
            log.warning("%s", text)
        self._leases.open()

    def run(self, stop: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Store blocks until `stop()`; then give the nodes back.

        Args:
            wait: Called with the seconds to wait. It may return early.
        """
        while not stop():
            now = time.monotonic()
            if now >= self._due:
                self._due = now + INTERVAL
                self._look()
            delays = [follower.step() for follower in self._followers.values()]
            wait(max(0.0, min([*delays, self._due - time.monotonic()])))
        for node in list(self._followers):
            self._give_back(node)

    # Nodes

    def _look(self) -> None:
        self._store.tick()
        try:
            if not self._store.is_local:  # with one that is, no other shares the nodes
                self._leases.announce()
            self._find_nodes()
            self._share()
            self._publish()
        except SinkError as error:
            if self._error is None:
                log.warning("source: %s; trying again, the blocks wait", error)
            self._error = str(error)
        else:
            if self._error is not None:
                log.info("source: the cluster answers again")
            self._error = None
        self.report(self._error)

    def _find_nodes(self) -> None:
        target = self._connection.target
        self._info = streams.read_info(self._connection, target.stream, target.blocks_of("*"))
        found = self._info.state.subjects
        self._nodes = {subject.removeprefix(f"{target.prefix}.") for subject in found}

    def _share(self) -> None:
        """Claim nodes up to this central's share, or give one back."""
        wanted = (self._nodes | self._followers.keys()) - self._refused
        share = len(wanted) if self._store.is_local else self._leases.share(wanted)
        if len(self._followers) > share:
            self._give_back(next(iter(self._followers)))
            return
        room = min(share - len(self._followers), CLAIMS)
        others = sorted(wanted - self._followers.keys())
        for node in self._leases.claimable(others)[:room]:
            known = self._leases.claim(node, self._accepts)
            if known is not None:
                log.info("node %s: taking its blocks, from offset %d on", node, known.state.stored)
                self._followers[node] = Follower(
                    self._store, self._connection, node, known, self._budget, self._notify
                )

    def _accepts(self, node: str, stored: int) -> bool:
        if self._store.accepts(node, stored):
            return True
        log.warning("node %s: another central has stored it, so it is not taken here", node)
        self._refused.add(node)
        return False

    def _divided(self) -> list[str]:
        """Return what is wrong if several centrals have stores of their own."""
        if not self._store.is_local:
            return []
        found = []
        if self._refused:
            found.append(
                f"nodes that are not taken, since another central has stored them in files of its "
                f"own: {len(self._refused)}; if these files are gone for good, add take_over=yes "
                "to source.url"
            )
        if others := self._leases.others(self._nodes - self._followers.keys()):
            found.append(
                f"the central {', '.join(sorted(others))} takes nodes of this stream too: the "
                "records are divided between its files and the files here; centrals can share "
                "the nodes only with a sink postgresql:"
            )
        return found

    def _publish(self) -> None:
        for node, follower in list(self._followers.items()):
            try:
                follower.publish()
            except LostError as lost:
                log.warning("node %s: the central %s takes it now", node, lost)
                self._followers.pop(node).abandon()

    def _give_back(self, node: str) -> None:
        known = self._followers.pop(node).finish()
        self._leases.release(node, known)
        log.info("node %s: given back", node)

    def report(self, error: str | None) -> None:
        """Write what the commands show.

        Args:
            error: Why the cluster cannot be used now; None if it can.
        """
        state = None if self._info is None else self._info.state
        limit = 0 if self._info is None else max(0, self._info.config.max_bytes)
        report = SourceReport(
            at=time.time(),
            url=self._connection.target.label,
            central=self._leases.own,
            nodes=[follower.report() for _, follower in sorted(self._followers.items())],
            elsewhere=len(self._nodes - self._followers.keys()),
            bytes=0 if state is None else state.bytes,
            limit=limit,
            warnings=self._warnings + self._divided(),
            error=error,
        )
        write_report(self._config.data_dir, report)
