"""Scheme `nats`: publishes the journal's blocks to a JetStream stream, for a central server.

The blocks are published as they are journaled; the central decodes them. The order is that of the
node's subject: a message names the sequence of the one before, and only one is in flight. After an
answer that did not come, the subject's last message shows what was stored. What JetStream has
acknowledged is progress: it is not published again. Durable is only what the central has stored,
which it publishes as the node's state; the journal keeps everything after.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.jetstream import streams
from fastlog.jetstream.connection import ApiError, Connection, WrongSequenceError
from fastlog.jetstream.examination import examine
from fastlog.jetstream.node_state import KnownState, read_state
from fastlog.jetstream.packet import (
    MIN_PAYLOAD,
    Packet,
    encode,
    packets,
    part_size,
    read_part,
)
from fastlog.jetstream.target import parse_url
from fastlog.sinks import Sink, SinkContext

if TYPE_CHECKING:
    from fastlog.decode import Decoded

log = logging.getLogger(__name__)

STATE_INTERVAL: Final = 0.25
"""Seconds between two reads of the node's state."""


class _Tail(NamedTuple):
    """What the last message of the node's subject says."""

    seq: int
    """Its sequence; 0: there is none."""
    end: int
    """The journal offset up to which whole packets are published; 0: none."""


class NatsSink(Sink):
    """`nats://host:4222/STREAM`. Nothing is stored twice by the central, and nothing lost."""

    form = "blocks"

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        self._target = parse_url(context.url)
        self.linger = self._target.linger
        self._connection: Connection | None = None
        self._node = ""
        self._cursor = self._stored = 0
        self._seq = 0
        """The sequence of the subject's last message, as far as this sink knows; 0: none."""
        self._is_unsure = False
        """Whether another message may have been stored, so that the last one has to be read."""
        self._rewound = 0
        """The sequence of the subject's last message when blocks were last published again."""
        self._state_at = float("-inf")
        self._size = 0
        self._warned: set[str] = set()

    def open(self, node: str) -> int:
        self.close()
        self._node = node
        self._connection = Connection(self._target, f"fastlog collector {node}")
        with self._guarded():
            self._connection.open()
            info = streams.ensure(self._connection)
            self._warn(streams.warnings(info, self._target.prefix))
            limit = self._connection.max_payload
            if limit < MIN_PAYLOAD:
                raise SinkUnavailableError(
                    f"{self._target.label}: the servers take {limit} bytes a message; set "
                    f"max_payload to {MIN_PAYLOAD} at least"
                )
            self._size = part_size(limit)
            tail, known = self._read_tail(), read_state(self._connection, node)
        if tail.seq < self._seq:
            self._rewound = 0  # the stream has lost what was published again, too
        self._seq, self._is_unsure = tail.seq, False
        self._stored = known.state.stored
        self._cursor = max(tail.end, self._stored)
        if self._is_missing_blocks(known):
            self._rewind(known)
        return self._cursor

    def missing(self) -> str:
        return "the central server lacks them: its store went back to an older state"

    def check(self) -> str:
        """Return what makes the stream less safe than it can be; "" if nothing does.

        Raises:
            SinkError: The cluster cannot be used.
        """
        return "; ".join(examine(self.context.url.geturl()))

    def apply(self, blocks: Sequence[Decoded]) -> None:
        first = blocks[0].block.offset
        if first < self._cursor:
            raise SinkConflictError(f"{self._target.label}: block {first} is published already")
        with self._guarded():
            if self._is_unsure:
                self._find_out(blocks[-1].block.end)
            rest = [each.block for each in blocks if each.block.end > self._cursor]
            for packet in packets(rest, self._cursor):
                self._publish(packet)

    def cursor(self) -> int:
        return self._cursor

    def sync(self) -> int:
        now = self.context.steady()
        if now >= self._state_at + STATE_INTERVAL:
            self._state_at = now
            with self._guarded():
                known = read_state(self._require_connection(), self._node)
            self._stored = known.state.stored
            if self._is_missing_blocks(known):
                raise SinkConflictError(
                    f"{self._target.label}: the central misses blocks from offset "
                    f"{self._stored} on; they are published again"
                )
        return min(self._stored, self._cursor)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # Publishing

    def _publish(self, packet: Packet) -> None:
        """Publish a packet, and move the cursor to its end."""
        connection, target = self._require_connection(), self._target
        subject = target.blocks_of(self._node)
        for message in encode(packet, self._node, self._size):
            self._seq = connection.publish(target.stream, subject, message, self._seq)
        self._cursor = packet.end

    def _find_out(self, end: int) -> None:
        """Read what was stored, after an answer that did not come.

        Args:
            end: The offset after what this sink has tried to publish.

        Raises:
            SinkConflictError: The stream has lost what it had acknowledged, or has something else.
        """
        tail = self._read_tail()
        if tail.seq < self._seq:
            # The worker must read these blocks again. Otherwise the next one would follow what the
            # stream still has, as if the journal had released all between.
            raise SinkConflictError(
                f"{self._target.label}: the stream has lost blocks that it had acknowledged; "
                "they are published again"
            )
        if tail.end > end:
            raise SinkConflictError(
                f"{self._target.label}: another process has published up to offset {tail.end}"
            )
        if tail.seq > self._seq:
            self._seq, self._cursor = tail.seq, max(tail.end, self._cursor)
        self._is_unsure = False

    def _require_connection(self) -> Connection:
        if self._connection is None:
            raise SinkUnavailableError(f"{self._target.label}: not connected")
        return self._connection

    def _read_tail(self) -> _Tail:
        connection, target = self._require_connection(), self._target
        last = connection.last(target.stream, target.blocks_of(self._node))
        if last is None:
            return _Tail(0, 0)
        part = read_part(last.data)
        if part is None or part.node != self._node:
            # Somebody else has published it. What was published before is not known then, so
            # all that the central has not stored is published again; it skips what it has.
            self._warn([
                f"the last message of {target.blocks_of(self._node)} is not of this node, or "
                "damaged: publishing again what the central has not stored"
            ])  # fmt: skip
            return _Tail(last.seq, 0)
        return _Tail(last.seq, part.end if part.is_last else part.follows)

    # What the central says

    def _is_missing_blocks(self, known: KnownState) -> bool:
        gap = known.state.gap
        return gap is not None and gap.seq > self._rewound

    def _rewind(self, known: KnownState) -> None:
        """Go back to where the central misses blocks."""
        gap = known.state.gap
        assert gap is not None
        log.warning(
            "sink %s: the central misses blocks from offset %d on, which the cluster has lost; "
            "they are published again",
            *(self.context.name, gap.at),
        )
        self._cursor, self._rewound = gap.at, self._seq

    # Errors

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn errors of the cluster into those that a worker knows.

        After each of them, what was stored is not known until the last message is read.
        """
        try:
            yield
        except WrongSequenceError as error:
            self._is_unsure = True
            raise SinkUnavailableError(f"{error}; reading what was stored") from error
        except ApiError as error:
            self._is_unsure = True
            raise SinkUnavailableError(str(error)) from error
        except BaseException:
            self._is_unsure = True
            raise

    def _warn(self, texts: Sequence[str]) -> None:
        for text in texts:
            if text not in self._warned:
                self._warned.add(text)
                log.warning("sink %s: %s", self.context.name, text)
