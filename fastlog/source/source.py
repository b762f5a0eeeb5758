"""The loop of a source process: finds nodes, claims its share of them, and steps their workers."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from fastlog.config import Config
from fastlog.errors import SinkError, SinkUnavailableError
from fastlog.jetstream import streams
from fastlog.jetstream.connection import Connection
from fastlog.jetstream.node_state import KnownState
from fastlog.source.feed import Budget
from fastlog.source.follower import Follower, LostError
from fastlog.source.leases import Leases
from fastlog.source.report import SourceReport, write_report
from fastlog.source.store import Store

log = logging.getLogger(__name__)

INTERVAL: Final = 1.0
"""Seconds between two looks at the nodes of the stream."""
CLAIMS: Final = 50
"""Nodes that are claimed in one look."""
LOOK: Final = 2.0
"""Seconds after which a look takes nothing more: the owners of nodes must be renewed in time."""
REQUESTS: Final = 32
"""Requests to the cluster that are under way at once in a look: an answer may take long."""
SUBJECTS: Final = 100_000
"""Subjects that an answer of JetStream has at most."""
NODES: Final = 2000
"""Nodes that one central takes at most: each has a connection to the store, and open files."""
KEEP: Final = 60.0
"""Seconds for which no node is given back, after one that others could have taken was not."""
_NODE: Final = re.compile(r"[0-9a-f]{32}")


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
        self._pool = ThreadPoolExecutor(REQUESTS, "requests")
        self._leases = Leases(connection, own, self._pool)
        self._budget = Budget()
        self._followers: dict[str, Follower] = {}
        self._nodes: set[str] = set()
        self._notes: list[str] = []
        """What is wrong with the subjects of the stream."""
        self._failures: dict[str, str] = {}
        """Why nodes could not be taken."""
        self._refused: set[str] = set()
        """Nodes that another central has stored, into a store of its own."""
        self._keeps_until = float("-inf")
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
            delays = [INTERVAL]
            for node in list(self._followers):
                self._look_if_due()
                if follower := self._followers.get(node):
                    delays.append(follower.step())
            self._look_if_due()
            wait(max(0.0, min([*delays, self._due - time.monotonic()])))
        for node in list(self._followers):
            self._give_back(node)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    # Nodes

    def _look_if_due(self) -> None:
        if time.monotonic() >= self._due:
            self._look()
            self._due = time.monotonic() + INTERVAL  # a long look leaves time to store

    def _look(self) -> None:
        self._store.tick()
        try:
            if not self._store.is_local:  # with one that is, no other shares the nodes
                self._leases.announce()
            self._publish()
            self._find_nodes()
            self._share()
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
        found = [subject.removeprefix(f"{target.prefix}.") for subject in self._info.state.subjects]
        self._nodes = {name for name in found if _NODE.fullmatch(name)}
        self._notes = []
        if len(found) > len(self._nodes):
            some = next(name for name in found if name not in self._nodes)
            self._notes.append(
                f"{len(found) - len(self._nodes)} subjects of the stream belong to no node, such "
                f"as {some[:40]!a}: somebody else publishes to it"
            )
        if self._info.total > len(found) and len(found) >= SUBJECTS:
            self._notes.append(
                f"the stream has {self._info.total} subjects: a central looks at {SUBJECTS} only"
            )

    def _share(self) -> None:
        """Claim nodes up to this central's share, or give one back."""
        nodes = self._nodes | self._followers.keys()
        self._leases.know(nodes)
        wanted, now = nodes - self._refused, time.monotonic()
        share = len(wanted) if self._store.is_local else self._leases.share(wanted)
        if len(self._followers) > share and now >= self._keeps_until:
            self._give_back(next(iter(self._followers)))
            return
        others = list(wanted - self._followers.keys())
        random.shuffle(others)  # so that none waits behind others that cannot be taken
        room = share - len(self._followers)
        found = self._leases.claimable(others)
        beyond = [node for node, is_untaken in found if is_untaken][: CLAIMS if room <= 0 else 0]
        if beyond:
            self._keeps_until = now + KEEP
        chosen = beyond or [node for node, _ in found[: min(room, CLAIMS)]]
        chosen = chosen[: NODES - len(self._followers)]
        ask = map if self._store.is_local else self._pool.map  # such a store is asked, too
        for node, known in zip(chosen, list(ask(self._claim, chosen)), strict=True):
            if known is not None and time.monotonic() >= now + LOOK:
                self._leases.release(node, known)  # in the next look
            elif known is not None:
                self._take(node, known)
        if len(self._followers) >= NODES:
            self._notes.append(f"one central takes {NODES} nodes at most")

    def _claim(self, node: str) -> KnownState | None:
        """Try to become the owner of a node; in a thread of the pool if the store is shared."""
        try:
            return self._leases.claim(node, self._accepts)
        except SinkUnavailableError:
            raise
        except SinkError as error:
            self._note_failure(node, error)
            return None

    def _take(self, node: str, known: KnownState) -> None:
        """Begin to store the blocks of a node that this central owns."""
        try:
            self._followers[node] = Follower(
                self._store, self._connection, node, known, self._budget, self._notify
            )
        except OSError as error:
            self._note_failure(node, error)
            self._leases.release(node, known)
        else:
            log.info("node %s: taking its blocks, from offset %d on", node, known.state.stored)
            self._failures.pop(node, None)

    def _note_failure(self, node: str, error: Exception) -> None:
        if self._failures.get(node) != str(error) and len(self._failures) < NODES:
            log.warning("node %s: cannot take it: %s; trying again", node, error)
            self._failures[node] = str(error)

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
                f"own: {len(self._refused)}; if these files are lost, add take_over=yes "
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
        """Publish what is stored of each node.

        Raises:
            SinkError: Some are not published.
        """
        failed: list[SinkError] = []

        def publish(follower: Follower) -> str | None:
            """Return the central that has taken the node; None if this one has it."""
            if any(isinstance(error, SinkUnavailableError) for error in failed):
                return None  # each of the others would wait in vain, too
            try:
                follower.publish()
            except LostError as lost:
                return str(lost)
            except SinkError as error:
                failed.append(error)
            return None

        owners = list(self._pool.map(publish, self._followers.values()))
        for node, owner in zip(list(self._followers), owners, strict=True):
            if owner is not None:
                log.warning("node %s: the central %s takes it now", node, owner)
                self._followers.pop(node).abandon()
        if failed:
            raise failed[0]

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
            warnings=[*self._warnings, *self._notes, *self._divided()],
            error=error,
        )
        write_report(self._config.data_dir, report)
