"""Which nodes this central takes, where several share a stream.

The state of a node names its owner, who renews it every few seconds. A node is claimed if it has no
owner, or if its owner has not been heard for a while; the state is replaced only where it is the
one that was read, so one of two centrals gets it. A central that has more than its share gives a
node back. All that only saves work: if two centrals take one node, the cursor in the store decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from typing import Any, Final

import msgspec

from fastlog.errors import SinkError, SinkUnavailableError
from fastlog.jetstream.connection import Connection, WrongSequenceError
from fastlog.jetstream.node_state import (
    UNREADABLE,
    KnownState,
    NodeState,
    read_state,
    write_state,
)

log = logging.getLogger(__name__)

RENEWAL: Final = 2.0
"""Seconds after which an owner renews a state that has not changed."""
LEASE: Final = 8.0
"""Seconds without a renewal after which a node may be claimed."""
PRESENCE: Final = 5.0
"""Seconds without an announcement after which a central counts as gone."""
CENTRALS: Final = 100
"""Other centrals that are known at most."""
UNTAKEN: Final = 16.0
"""Seconds without an owner after which a node may be claimed beyond the share: those that announced
themselves do not take it."""
READS: Final = 200
"""States of unknown nodes that are read in one look, so that no look takes long."""
_QUEUE: Final = 1000
_QUEUE_BYTES: Final = 1 << 20
"""Messages of others, and their bytes, that wait at most. Beyond, nats-py drops them."""
_ID: Final = re.compile(rb"[0-9a-f]{32}")


class Leases:
    """Claims nodes for the central `own`, and learns what others do.

    Times are of `monotonic`: no clock of another machine matters.

    Args:
        pool: Asks the cluster many things at once; an answer may take long.
    """

    def __init__(
        self,
        connection: Connection,
        own: str,
        pool: Executor,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self.own, self._monotonic = connection, own, monotonic
        self._pool = pool
        self._owners: dict[str, tuple[str, float]] = {}
        """The owner of each node, and when it was heard last."""
        self._centrals: dict[str, float] = {}
        """When each other central was heard last."""

    def open(self) -> None:
        """Listen to what other centrals publish."""

        async def subscribe() -> None:
            target, client = self._connection.target, self._connection.client
            for subject, callback in (
                (target.state_of("*"), self._on_state),
                (target.centrals, self._on_central),
            ):
                await client.subscribe(
                    subject,
                    cb=callback,
                    pending_msgs_limit=_QUEUE,
                    pending_bytes_limit=_QUEUE_BYTES,
                )

        self._connection.run(subscribe())

    async def _on_state(self, message: Any) -> None:
        node = message.subject.rpartition(".")[2]
        if node not in self._owners:
            return  # it is read when the node is to be claimed
        with contextlib.suppress(*UNREADABLE):
            state = msgspec.json.decode(message.data, type=NodeState)
            self._owners[node] = state.owner, self._monotonic()

    async def _on_central(self, message: Any) -> None:
        if _ID.fullmatch(message.data) is None:
            return
        name, now = message.data.decode(), self._monotonic()
        if name not in self._centrals and len(self._centrals) >= CENTRALS:
            for other in [each for each, at in self._centrals.items() if now >= at + PRESENCE]:
                del self._centrals[other]
            if len(self._centrals) >= CENTRALS:
                return
        if name != self.own:
            self._centrals[name] = now

    def announce(self) -> None:
        """Tell the other centrals that this one is there."""
        client = self._connection.client
        if client.is_connected:
            work = client.publish(self._connection.target.centrals, self.own.encode())
            asyncio.run_coroutine_threadsafe(work, self._connection.loop)

    def others(self, nodes: Iterable[str]) -> set[str]:
        """Return the other centrals that take some nodes now."""
        oldest = self._monotonic() - LEASE
        known = (self._owners.get(node, ("", 0.0)) for node in nodes)
        return {owner for owner, at in known if at > oldest} - {"", self.own}

    def share(self, nodes: Collection[str]) -> int:
        """Return how many of the nodes a central takes."""
        now = self._monotonic()
        others = sum(now < at + PRESENCE for at in list(self._centrals.values()))
        return math.ceil(len(nodes) / (1 + others))

    def know(self, nodes: Collection[str]) -> None:
        """Forget all nodes but these."""
        for node in self._owners.keys() - nodes:
            del self._owners[node]

    def claimable(self, nodes: Sequence[str]) -> list[tuple[str, bool]]:
        """Return those nodes that nobody takes now, and whether that has been so for long.

        Of nodes that were not known yet, it looks at some only.

        Raises:
            SinkUnavailableError: The cluster cannot be asked.
        """
        now = self._monotonic()
        unknown = [node for node in nodes if node not in self._owners][:READS]
        for node, owner in zip(unknown, self._pool.map(self._read_owner, unknown), strict=True):
            self._owners[node] = owner, now
        found = []
        for node in nodes:
            if node not in self._owners:
                continue
            owner, at = self._owners[node]
            if owner in ("", self.own) or now >= at + LEASE:
                found.append((node, now >= at + UNTAKEN))
        return found

    def _read_owner(self, node: str) -> str:
        try:
            return read_state(self._connection, node).state.owner
        except SinkUnavailableError:
            raise
        except SinkError:
            return ""  # `claim` says why

    def claim(self, node: str, accepts: Callable[[str, int], bool]) -> KnownState | None:
        """Become the owner of a node.

        Args:
            accepts: Gets the node and the offset up to which it is stored, and returns whether
                this central may take it.

        Returns:
            Its state; None if another central has it, or if it is not accepted.

        Raises:
            SinkError: The cluster cannot be asked.
        """
        known = read_state(self._connection, node)
        owner, at = self._owners.get(node, ("", 0.0))
        is_expired = owner == known.state.owner and self._monotonic() >= at + LEASE
        if known.state.owner not in ("", self.own) and not is_expired:
            self._owners[node] = known.state.owner, self._monotonic()
            return None
        if not accepts(node, known.state.stored):
            return None
        state = NodeState(stored=known.state.stored, owner=self.own)
        try:
            seq = write_state(self._connection, node, state, known.seq)
        except WrongSequenceError:
            return None
        if owner not in ("", self.own):
            log.warning("node %s: taken over from the central %s, which is silent", node, owner)
        return KnownState(state, seq)

    def release(self, node: str, known: KnownState) -> None:
        """Let others claim a node."""
        state = msgspec.structs.replace(known.state, owner="", gap=None)
        with contextlib.suppress(SinkError):  # it expires
            write_state(self._connection, node, state, known.seq)
