"""The values that `Loop` returns: events of clients, rejections, exported connections, counters."""

from __future__ import annotations

from typing import NamedTuple


class LoopRejection(NamedTuple):
    """A connection that the loop has rejected or closed."""

    reason: str
    peer: str
    """`address:port`, or `unix`."""
    length: int
    """The length that the rejected frame announced; 0 if it is not known."""
    head: bytes
    """The first bytes of that frame, with its length, 64 at most."""


class Hello(NamedTuple):
    """A fastlog client has sent HELLO; the loop reads no more from it until it is answered."""

    conn: int
    """Names the connection."""
    peer: str
    payload: bytes
    auth: bool
    """The listener admits only clients that prove a key, or have an identity."""
    by_identity: bool = False
    """On this listener, the identity that a certificate proves is as good as a key."""


class Proof(NamedTuple):
    """A fastlog client has sent AUTH, the answer to a challenge."""

    conn: int
    payload: bytes


class Ended(NamedTuple):
    """The connection of a client that had sent HELLO has ended, and none of its records is open."""

    conn: int
    committed: int | None
    """The last durable sequence; None if the client was never admitted."""
    sent_bye: bool
    """The client had sent BYE, and all its records were committed."""


class ExportedConnection(NamedTuple):
    """A connection to hand over to another process."""

    fd: int
    peer: str
    state: bytes
    """Its partial frame and the numbers of its client, in a layout private to the loop."""


class LoopStats(NamedTuple):
    """Counters of a loop. All but the last six count since its start."""

    accepted: int
    frames: int
    bytes: int
    rejected: dict[str, int]
    """Connections rejected or closed, by reason; only reasons that occurred."""
    unreported: int
    """Rejections in `rejected` for which the queue of `Loop.rejections` had no room."""
    acks: int
    """Acknowledgements sent."""
    repeated: int
    """Records that clients sent again and that were skipped."""
    throttlings: int
    """Waits of connections over their rate limit."""
    clients: int
    """Clients of the fastlog protocol that are admitted now."""
    connections: int
    partials: int
    """Connections with a partial frame."""
    partial_bytes: int
    """Memory of the partial frames."""
    ready: int
    """Connections that have, or may have, more to read."""
    throttled: int
    """Connections that wait for their rate limit."""


class PollResult(NamedTuple):
    """The result of one poll."""

    woken: bool
    """A watched descriptor is readable."""
    more: bool
    """There is more to read: the next poll does not wait."""
    rejections: bool
    """`Loop.rejections` has something to return."""
    events: bool
    """`Loop.events` has something to return."""
