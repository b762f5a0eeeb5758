"""The table of known clients, by which a record that is sent twice is stored once.

The table is rebuilt at each start from a snapshot and from the runs of the journal after it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fastlog.block import Kind, Run, frames
from fastlog.protocol.frames import read_gap

FORGET_AFTER = 30 * 86400.0
"""Seconds without a connection after which a client is forgotten."""
MAX_CLIENTS = 1_000_000
"""Clients in the table: 48 MB on disk. Beyond that, the keys with the most clients lose those that
have been absent longest. So no key can displace the clients of another."""

_ENTRY = struct.Struct(">16sQQQ8s")


@dataclass(slots=True)
class Known:
    """What is known of one client."""

    incarnation: int
    committed: int
    """Its last sequence that is durable in the journal."""
    last_seen: int
    """When it last sent something, in microseconds since the epoch."""
    key: bytes
    """The owner of its id: `frames.key_tag` of the key id that it has proved."""


class Clients:
    """The clients with records in this journal, by id."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, client: bytes) -> Known | None:
        """Return the entry of a client id; None if the id is unknown."""
        return self._known.get(client)

    def update(
        self, client: bytes, incarnation: int, committed: int, last_seen: int, key: bytes
    ) -> None:
        """Enter a client, or raise the numbers of its entry.

        An id under another key than before was forgotten meanwhile, and belongs to another client:
        its entry is replaced.
        """
        known = self._known.get(client)
        if known is None or known.key != key:
            self._known[client] = Known(incarnation, committed, last_seen, key)
            return
        known.incarnation = max(known.incarnation, incarnation)
        known.committed = max(known.committed, committed)
        known.last_seen = max(known.last_seen, last_seen)

    def update_from_run(self, run: Run, received: int) -> None:
        """Enter what a run of the journal shows of its client.

        Args:
            run: A run of any kind.
            received: When its block was received, in microseconds since the epoch.
        """
        if run.stamp is None or not run.frames:
            return
        client, incarnation, sequence, key = run.stamp
        last = sequence + run.frames - 1
        if run.kind is Kind.GAP:
            last = max(read_gap(frame).last for frame in frames(run))
        self.update(client, incarnation, last, received, key)

    def forget(self, client: bytes) -> None:
        """Remove the entry of a client, if there is one."""
        self._known.pop(client, None)

    def adjust_to_clock_jump(self, jump: int, now: int) -> None:
        """Correct all times after the wall clock was set, so that no client seems absent longer.

        Args:
            jump: Microseconds by which the clock was set; negative if it went back.
            now: The new time, in microseconds since the epoch.
        """
        for known in self._known.values():
            known.last_seen = min(known.last_seen + max(0, jump), now)

    def forget_absent(self, now: int, *, by_age: bool = True) -> int:
        """Forget the clients that were absent for too long, and those beyond `MAX_CLIENTS`.

        Args:
            now: Microseconds since the epoch.
            by_age: Whether the clock is trusted. If not, only the excess is forgotten.

        Returns:
            The number of clients that were forgotten as excess.
        """
        oldest = now - int(FORGET_AFTER * 1e6)
        for client in [c for c, k in self._known.items() if by_age and k.last_seen < oldest]:
            del self._known[client]
        excess = self._excess() if len(self._known) > MAX_CLIENTS else []
        for client in excess:
            del self._known[client]
        return len(excess)

    def _excess(self) -> list[bytes]:
        """Return the clients for which the table has no room, fairly between keys."""
        by_key: dict[bytes, list[bytes]] = {}
        for client, known in self._known.items():
            by_key.setdefault(known.key, []).append(client)
        room, excess = MAX_CLIENTS, []
        for done, clients in enumerate(sorted(by_key.values(), key=len)):
            quota = room // (len(by_key) - done)
            if len(clients) > quota:
                clients.sort(key=lambda c: self._known[c].last_seen, reverse=True)
                excess += clients[quota:]
            room -= min(len(clients), quota)
        return excess

    def dump(self) -> bytes:
        """Return the table as bytes, 48 for each client."""
        return b"".join(
            _ENTRY.pack(client, known.incarnation, known.committed, known.last_seen, known.key)
            for client, known in self._known.items()
        )

    def load(self, data: bytes) -> None:
        """Enter the clients of a `dump`."""
        for entry in _ENTRY.iter_unpack(data):
            self.update(*entry)
