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
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import msgspec

from fastlog.errors import SinkError
from fastlog.jetstream.connection import Connection, WrongSequenceError
from fastlog.jetstream.node_state import KnownState, NodeState, read_state, write_state

log = logging.getLogger(__name__)

RENEWAL: Final = 2.0
"""Seconds after which an owner renews a state that has not changed."""
LEASE: Final = 8.0
"""Seconds without a renewal after which a node may be claimed."""
PRESENCE: Final = 5.0
"""Seconds without an announcement after which a central counts as gone."""


class Leases:
    """Claims nodes for the central `own`, and learns what others do.

    Times are of `monotonic`: no clock of another machine matters.
    """

    def __init__(
        self, connection: Connection, own: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection, self.own, self._monotonic = connection, own, monotonic
        self._owners: dict[str, tuple[str, float]] = {}
        """The owner of each node, and when it was heard last."""
        self._centrals: dict[str, float] = {own: math.inf}
        """When each central was heard last."""

    def open(self) -> None:
        """Listen to what other centrals publish."""

        async def subscribe() -> None:
            target, client = self._connection.target, self._connection.client
            await client.subscribe(target.state_of("*"), cb=self._on_state)
            await client.subscribe(target.centrals, cb=self._on_central)

        self._connection.run(subscribe())

    async def _on_state(self, message: Any) -> None:
        with contextlib.suppress(msgspec.MsgspecError):
            state = msgspec.json.decode(message.data, type=NodeState)
            node = message.subject.rpartition(".")[2]
            self._owners[node] = state.owner, self._monotonic()

    async def _on_central(self, message: Any) -> None:
        self._centrals[message.data.decode("ascii", "replace")] = self._monotonic()
        self._centrals[self.own] = math.inf

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
        present = [name for name, at in list(self._centrals.items()) if now < at + PRESENCE]
        return math.ceil(len(nodes) / len(present))

    def claimable(self, nodes: Iterable[str]) -> list[str]:
        """Return those nodes that nobody takes now."""
        now, found = self._monotonic(), []
        for node in nodes:
            if node not in self._owners:
                self._owners[node] = read_state(self._connection, node).state.owner, now
            owner, at = self._owners[node]
            if owner in ("", self.own) or now >= at + LEASE:
                found.append(node)
        return found

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
