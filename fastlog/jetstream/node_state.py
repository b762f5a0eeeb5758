"""The state of a node: what a central tells its collector, and other centrals.

It is one message of JSON on a subject of the node, of which the stream keeps the last. It is
replaced only where the last one has the expected sequence, so of two centrals one is refused.
"""

from __future__ import annotations

import msgspec

from fastlog.errors import SinkError
from fastlog.jetstream.connection import Connection, Last

VERSION = 1


class Gap(msgspec.Struct, frozen=True):
    """Blocks that the central misses: it waits for the collector to publish them again."""

    at: int
    """The journal offset from which on blocks are missing."""
    seq: int
    """The sequence in the stream of the first message behind them."""


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one node."""

    stored: int = 0
    """The journal offset up to which the central has stored everything durably."""
    owner: str = ""
    """The central that takes the node's blocks; "" for none."""
    gap: Gap | None = None
    version: int = VERSION


class KnownState(msgspec.Struct, frozen=True):
    """A state as it was read, and its sequence in the stream; 0 if there is none yet."""

    state: NodeState
    seq: int


def read_state(connection: Connection, node: str) -> KnownState:
    """Return the last state of a node.

    Raises:
        SinkError: It is of another version of fastlog.
        SinkUnavailableError: The cluster cannot be asked.
    """
    target = connection.target
    last = connection.last(target.states, target.state_of(node))
    return KnownState(NodeState(), 0) if last is None else _decode(connection, node, last)


def _decode(connection: Connection, node: str, last: Last) -> KnownState:
    try:
        state = msgspec.json.decode(last.data, type=NodeState)
        why = f"version {state.version}" if state.version > VERSION else ""
    except msgspec.MsgspecError as error:
        why = str(error)
    if why:
        raise SinkError(
            f"{connection.target.label}: cannot read the state of node {node} ({why}); "
            "another version of fastlog wrote it"
        )
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
