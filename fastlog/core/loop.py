"""The loop: receives from many sockets. Linux only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fastlog._core import ffi, lib
from fastlog.core.errors import error_text
from fastlog.errors import LoopError

FRAME_WEIGHT: int = getattr(lib, "FL_FRAME_WEIGHT", 0)
"""Bytes that a frame counts as, beyond those that it has, in a share; see `Loop.limit`."""


class LoopRejection(NamedTuple):
    """A connection that the loop rejected or closed."""

    reason: str
    peer: str
    """`address:port`, or `unix`."""
    length: int
    """What its frame announced, 0 if it did not come to that."""
    head: bytes
    """The first bytes of that frame, with the length, 64 at most."""


class Hello(NamedTuple):
    """A fastlog client has sent HELLO; nothing more is read until it is answered."""

    conn: int
    """Names the connection."""
    peer: str
    payload: bytes
    auth: bool
    """The listener admits only who proves that he has a key."""


class Proof(NamedTuple):
    """The answer to a challenge."""

    conn: int
    payload: bytes


class Ended(NamedTuple):
    """The connection of a client that said hello has ended, and all it sent has been settled."""

    conn: int
    committed: int | None
    """The last sequence that is durable; None if it was never admitted."""
    said_bye: bool


class ExportedConnection(NamedTuple):
    """A connection on its way to another process."""

    fd: int
    peer: str
    state: bytes
    """What was received of its next frame, and a client's numbers, in the loop's own layout."""


class LoopStats(NamedTuple):
    """Counters of a loop; all but the last six count since its start."""

    accepted: int
    frames: int
    bytes: int
    rejected: dict[str, int]
    """Connections rejected or closed, by reason; only reasons that occurred."""
    unreported: int
    """Rejections that are in `rejected`, but were too many to be told one by one."""
    acks: int
    """Acknowledgements sent."""
    repeated: int
    """Records that clients sent once more, and that were skipped."""
    throttlings: int
    """Times that a connection had to wait because it had sent more than its share."""
    clients: int
    """Clients of the fastlog protocol that are admitted now."""
    connections: int
    partials: int
    """Connections that are inside a frame."""
    partial_bytes: int
    """Memory that these hold."""
    ready: int
    """Connections that are known to have more to read."""
    throttled: int
    """Connections that wait for their share."""


class PollResult(NamedTuple):
    """What a turn of the loop left behind."""

    woken: bool
    """A watched descriptor is readable."""
    more: bool
    """There is more to read: the next turn will not wait."""
    rejected: bool
    """`Loop.rejections` has something."""
    asked: bool
    """`Loop.events` has something."""


_PROBES = 4
"""Probes in vain after which a peer is dead."""


class Loop:
    """Receives from many sockets by edge-triggered epoll; see `csrc/fastlog.h` for the contract.

    `on_block(runs, frames)` is called at most once a turn, with the runs of a block (complete
    frames only, in the layout of `fastlog.block`) and their number. What it raises comes out of
    `poll`.

    Args:
        on_block: Takes what a turn received.
        max_frame: The largest frame, in bytes.
        max_connections: The newest beyond that are closed.
        connections_per_host: So are those of one host beyond that; None: there is no such limit.
            Loopback addresses and Unix sockets are no host.
        partial_memory: Bytes for all half-received frames together.
        arena: About how many bytes one block may have; at least 64 KiB.
        stall: Seconds that a half-received frame may be silent.
        min_rate: Bytes a second that such a frame must bring once it is older than `stall`.
        nap: Seconds to wait for company after a turn that brought little.
        hello: Seconds that a client of the fastlog protocol has for its greeting. Any other is
            closed to make room for a newcomer only if it has not sent a byte for so long.
        keepalive: Seconds after which such a client hears from us at the latest.
        tcp_keepalive: Seconds without a byte after which the kernel probes a peer; one that does
            not answer is closed after half as long again, 4 s at least. 0: as the kernel is set.

    Raises:
        ValueError: An argument is out of range.
        LoopError: The system has no descriptor for it.
    """

    def __init__(
        self,
        on_block: Callable[[bytes, int], None],
        *,
        max_frame: int = 1 << 20,
        max_connections: int = 10_000,
        connections_per_host: int | None = None,
        partial_memory: int = 64 << 20,
        arena: int = 256 << 10,
        stall: float = 30.0,
        min_rate: int = 1024,
        nap: float = 0.005,
        hello: float = 5.0,
        keepalive: float = 5.0,
        tcp_keepalive: float = 120.0,
    ) -> None:
        options = ffi.new("fl_loop_options *")
        options.max_frame = max_frame
        options.max_connections = max_connections
        options.max_per_host = (
            max_connections if connections_per_host is None else connections_per_host
        )
        options.partial_memory = partial_memory
        options.arena = arena
        options.stall_ms = round(stall * 1000)
        options.min_rate = min_rate
        options.nap_us = round(nap * 1e6)
        options.hello_ms = round(hello * 1000)
        options.keepalive_ms = round(keepalive * 1000)
        if tcp_keepalive:
            options.probe_count = _PROBES
            options.probe_idle_s = max(1, round(tcp_keepalive))
            options.probe_every_s = max(1, round(tcp_keepalive / 2 / _PROBES))
        error = ffi.new("int *")
        loop = lib.fl_loop_new(options, lib.fl_on_block, error)
        if loop == ffi.NULL:
            if error[0] == lib.FL_EINVAL:
                raise ValueError("an option of the loop is out of range")
            raise LoopError(f"no event loop: {error_text(error[0])}: {os.strerror(ffi.errno)}")
        self._loop: Any = ffi.gc(loop, lib.fl_loop_free)
        self._context = ffi.new_handle(self)
        self._on_block = on_block
        self._failure: BaseException | None = None

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes every connection. Listeners and watched descriptors stay open: not ours."""
        if self._loop is not None:
            ffi.release(self._loop)
            self._loop = None

    def listen(self, fd: int, *, stock: bool = True, auth: bool = False) -> None:
        """Accepts from a listening socket (TCP or Unix), which stays the caller's. Up to 16.

        Args:
            stock: Whether unchanged `SocketHandler`s are admitted.
            auth: Passed on in `Hello`.
        """
        terms = (0 if stock else lib.FL_NO_STOCK) | (lib.FL_AUTH if auth else 0)
        self._check(lib.fl_loop_listen(self._loop, fd, terms), "listen on")

    def watch(self, fd: int) -> None:
        """Lets a readable `fd` end a turn at once; the caller reads it. Up to 8."""
        self._check(lib.fl_loop_watch(self._loop, fd), "watch")

    def add(self, fd: int, peer: str, partial: bytes = b"") -> None:
        """Takes over a connected socket, and the beginning of its next frame if it had come.

        The loop owns `fd` when this returns.

        Raises:
            LoopError: It could not be taken, or `partial` is not the beginning of one incomplete
                frame; `fd` is still the caller's.
        """
        self._check(lib.fl_loop_add(self._loop, fd, peer.encode(), partial, len(partial)), "add")

    def poll(self, timeout: float | None = None) -> PollResult:
        """Runs one turn, waiting `timeout` seconds at most; a signal ends the wait."""
        milliseconds = -1 if timeout is None else max(0, round(timeout * 1000))
        flags = lib.fl_loop_poll(self._loop, milliseconds, self._context)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._check(flags, "poll")
        result: PollResult = _POLL_RESULTS[flags]
        return result

    def pause(self, paused: bool) -> None:
        """Stops reading, or goes on. Nobody is closed for silence meanwhile."""
        lib.fl_loop_pause(self._loop, paused)

    def drain(self) -> None:
        """Begins the end: takes the backlog, stops listening, reads every connection once more.

        Poll until `stats().bytes` has stood still for a moment, or as long as you care to; then
        `hang_up`.
        """
        self._check(lib.fl_loop_drain(self._loop), "drain")

    def hang_up(self) -> None:
        """Closes every connection; those that are inside a frame are rejected as truncated."""
        lib.fl_loop_hang_up(self._loop)

    def rejections(self) -> list[LoopRejection]:
        """The rejections since the last call, oldest first."""
        taken: list[LoopRejection] = []
        one = ffi.new("fl_rejection *")
        while lib.fl_loop_rejection(self._loop, one):
            taken.append(
                LoopRejection(
                    reason=_reason_text(one.reason),
                    peer=str(ffi.string(one.peer), "ascii", "replace"),
                    length=one.length,
                    head=ffi.buffer(one.head, one.head_len)[:],
                )
            )
        return taken

    # ---- clients of the fastlog protocol ----

    def events(self) -> Iterator[Hello | Proof | Ended]:
        """What clients want of the caller, oldest first; a greeting is then to be answered."""
        one = ffi.new("fl_event *")
        while lib.fl_loop_event(self._loop, one):
            payload = ffi.buffer(one.data, one.len)[:]
            if one.kind == lib.FL_HELLO:
                peer = str(ffi.string(one.peer), "ascii", "replace")
                yield Hello(one.conn, peer, payload, bool(one.terms & lib.FL_AUTH))
            elif one.kind == lib.FL_PROOF:
                yield Proof(one.conn, payload)
            else:
                yield Ended(one.conn, one.committed if one.admitted else None, one.said_bye)

    def send(self, conn: int, frame: bytes) -> None:
        """Sends a frame of the greeting, and reads on. If the connection has ended: nothing."""
        lib.fl_loop_send(self._loop, conn, frame, len(frame))

    def admit(
        self,
        conn: int,
        client: bytes,
        key: bytes,
        incarnation: int,
        committed: int,
        welcome: bytes,
    ) -> None:
        """Takes this client's records from `committed` + 1 on. If it has ended: nothing.

        Args:
            key: `Stamp.key` of its runs.
        """
        numbers = incarnation, committed
        lib.fl_loop_admit(self._loop, conn, client, key, *numbers, welcome, len(welcome))

    def dismiss(self, conn: int, frame: bytes = b"") -> None:
        """Sends a last frame and closes; what was not read is dropped. `Ended` follows."""
        lib.fl_loop_dismiss(self._loop, conn, frame, len(frame))

    def committed(self, conn: int) -> int | None:
        """The last sequence of this client that is durable; None if its connection has ended."""
        out = ffi.new("uint64_t *")
        return int(out[0]) if lib.fl_loop_committed(self._loop, conn, out) == 0 else None

    def dirty(self) -> int:
        """Clients with records in blocks for which neither `journaled` nor `discarded` was said."""
        return int(lib.fl_loop_dirty(self._loop))

    def journaled(self, offset: int) -> None:
        """Those blocks are in the journal, and end at this offset of it."""
        lib.fl_loop_journaled(self._loop, offset)

    def discarded(self) -> None:
        """Those blocks were not taken: their clients shall send again, later."""
        lib.fl_loop_discarded(self._loop)

    def durable(self, offset: int) -> None:
        """Acknowledges what is below this offset of the journal."""
        lib.fl_loop_durable(self._loop, offset)

    def window(self, size: int, state: int) -> None:
        """Lets clients send so many bytes beyond what is committed.

        Args:
            state: How the journal is: 0 ok, 1 slow, 2 full.
        """
        lib.fl_loop_window(self._loop, size, state)

    # ---- shares ----

    def limit(self, own: int, host: int) -> None:
        """Reads at most so many bytes a second; 0: as many as are sent.

        Each frame counts `FRAME_WEIGHT` bytes more than it has.

        Args:
            own: From each connection that was read empty once.
            host: Beyond that, from all connections of one host together.
        """
        lib.fl_loop_limit(self._loop, own, host)

    def step(self, weight: int) -> None:
        """Lets a turn read about so many bytes, 4096 at least, counted as in `limit`; 0: as many
        as a block takes."""
        lib.fl_loop_step(self._loop, weight)

    def throttled(self) -> Iterator[tuple[str, int]]:
        """The peers that had to wait since this was asked last, and how often."""
        at, peer = ffi.new("uint32_t *"), ffi.new("char[]", lib.FL_PEER_SIZE)
        while times := lib.fl_loop_throttled(self._loop, at, peer):
            yield str(ffi.string(peer), "ascii", "replace"), times

    # ---- handing connections over ----

    def export(self) -> Iterator[ExportedConnection]:
        """The connections, for another process; they stay this loop's. Do not poll meanwhile.

        Left out are clients whose greeting is under way: they connect again.
        """
        at, size = ffi.new("uint32_t *"), ffi.new("size_t *")
        peer = ffi.new("char[]", lib.FL_PEER_SIZE)
        while (fd := lib.fl_loop_export(self._loop, at, peer, size)) >= 0:
            state = ffi.new("uint8_t[]", size[0])
            lib.fl_loop_state(self._loop, at[0], state)
            name = str(ffi.string(peer), "ascii", "replace")
            yield ExportedConnection(fd, name, ffi.buffer(state)[:])

    def take(self, handed: ExportedConnection) -> tuple[int, bytes, bytes] | None:
        """Takes over a connection that another loop has exported, and owns its descriptor.

        Returns:
            For a client of the fastlog protocol: the connection's name, the client's id,
            and its key as in `admit`.

        Raises:
            LoopError: It cannot be taken; the descriptor is still the caller's.
        """
        conn, client = ffi.new("uint64_t *"), ffi.new("uint8_t[]", lib.FL_CLIENT_ID)
        key = ffi.new("uint8_t[]", lib.FL_CLIENT_KEY)
        state = handed.state
        peer = handed.peer.encode()
        self._check(
            lib.fl_loop_take(self._loop, handed.fd, peer, state, len(state), conn, client, key),
            "take over",
        )
        return (int(conn[0]), ffi.buffer(client)[:], ffi.buffer(key)[:]) if conn[0] else None

    def stats(self) -> LoopStats:
        """The counters as they are now."""
        raw = ffi.new("fl_loop_stats *")
        lib.fl_loop_stats_get(self._loop, raw)
        rejected = {
            _reason_text(i): raw.rejected[i] for i in range(lib.FL_REASONS) if raw.rejected[i]
        }
        return LoopStats(
            accepted=raw.accepted,
            frames=raw.frames,
            bytes=raw.bytes,
            rejected=rejected,
            unreported=raw.unreported,
            acks=raw.acks,
            repeated=raw.repeated,
            throttlings=raw.throttlings,
            clients=raw.clients,
            connections=raw.connections,
            partials=raw.partials,
            partial_bytes=raw.partial_bytes,
            ready=raw.ready,
            throttled=raw.throttled,
        )

    def _receive(self, runs: Any, length: int, frames: int) -> None:
        self._on_block(ffi.buffer(runs, length)[:], frames)

    def _fail(self, failure: BaseException) -> None:
        self._failure = failure

    def _check(self, result: int, what: str) -> None:
        if result >= 0:
            return
        why = error_text(result)
        if result == lib.FL_ESYS:
            why = os.strerror(lib.fl_loop_errno(self._loop))
        raise LoopError(f"the event loop could not {what}: {why}")


def _reason_text(reason: int) -> str:
    return str(ffi.string(lib.fl_reason_text(reason)), "ascii")


if hasattr(lib, "fl_loop_new"):
    # By the flags of a turn. There are hundreds of turns a second, and sixteen kinds of them.
    _POLL_RESULTS = [
        PollResult(
            woken=bool(flags & lib.FL_WOKEN),
            more=bool(flags & lib.FL_MORE),
            rejected=bool(flags & lib.FL_REJECTED),
            asked=bool(flags & lib.FL_ASKED),
        )
        for flags in range(16)
    ]

    def _keep_failure(_: object, failure: BaseException, traceback: Any) -> None:
        context = traceback.tb_frame.f_locals["context"]
        ffi.from_handle(context)._fail(failure)

    @ffi.def_extern(name="fl_on_block", onerror=_keep_failure)  # type: ignore[untyped-decorator]
    def _on_block(context: Any, runs: Any, length: int, frames: int) -> None:
        ffi.from_handle(context)._receive(runs, length, frames)
