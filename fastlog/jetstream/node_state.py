"""The state of a node: what a central tells its collector, and other centrals.

It is one message of JSON on a subject of the node, of which the stream keeps the last. It is
replaced only where the last one has the expected sequence, so of two centrals one is refused.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from fastlog.errors import SinkError
from fastlog.jetstream.connection import Connection, Last
from fastlog.jetstream.packet import MAX_OFFSET

log = logging.getLogger(__name__)

VERSION = 1
UNREADABLE: Final = (msgspec.MsgspecError, RecursionError)
"""What msgspec raises for JSON that is not as it should be; the second for much nesting."""
_Offset = Annotated[int, Meta(ge=0, le=MAX_OFFSET)]
_ID_BYTES: Final = 64
"""Characters of an id at most; those of this version have 32."""


class Gap(msgspec.Struct, frozen=True):
    """Blocks that the central misses: it waits for the collector to publish them again."""

    at: _Offset
    """The journal offset from which on blocks are missing."""
    seq: _Offset
    """The sequence in the stream of the first message after them."""


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one node."""

    stored: _Offset = 0
    """The journal offset up to which the central has stored everything durably."""
    owner: Annotated[str, Meta(max_length=_ID_BYTES)] = ""
    """The central that takes the node's blocks; "" for none."""
    gap: Gap | None = None
    version: int = VERSION


class KnownState(msgspec.Struct, frozen=True):
    """A state as it was read, and its sequence in the stream; 0 if there is none yet."""

    state: NodeState
    seq: int


class _Versioned(msgspec.Struct):
    version: Annotated[int, Meta(le=1 << 32)] = 0


def read_state(connection: Connection, node: str) -> KnownState:
    """Return the last state of a node. One that cannot be read is an empty one: a central replaces
    it by what its store says.

    Raises:
        SinkError: It is of a newer version of fastlog.
        SinkUnavailableError: The cluster cannot be asked.
    """
    target = connection.target
    last = connection.last(target.states, target.state_of(node))
    return KnownState(NodeState(), 0) if last is None else _decode(connection, node, last)


def _decode(connection: Connection, node: str, last: Last) -> KnownState:
    state, version = NodeState(), 0
    with contextlib.suppress(*UNREADABLE):
        version = msgspec.json.decode(last.data, type=_Versioned).version
    if version > VERSION:
        raise SinkError(
            f"{connection.target.label}: cannot read the state of node {node}: a newer version of "
            f"fastlog wrote it (version {version})"
        )
    try:
        state = msgspec.json.decode(last.data, type=NodeState)
    except UNREADABLE as error:
        log.debug("the state of node %s is damaged: %s", node, error)
    return KnownState(state, last.seq)


def write_state(connection: Connection, node: str, state: NodeState, expected: int) -> int:
    """Replace the state of a node.

    Args:
        expected: The sequence of the state that is replaced.

    Returns:
        The sequence of the new one.

    Raises:
        WrongSequenceError: Another central has replaced it.
        SinkUnavailableError: The cluster does not answer; it may be replaced nevertheless.
    """
    target = connection.target
    content = msgspec.json.encode(state)
    return connection.publish(target.states, target.state_of(node), content, expected)
