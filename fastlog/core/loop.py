"""The event loop, which receives from many sockets. Linux only.

This is one file because it is one class, with a method for each function of `csrc/loop/loop.h`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from fastlog._core import ffi, lib
from fastlog.core.errors import error_text
from fastlog.core.loop_values import (
    Ended,
    ExportedConnection,
    Hello,
    LoopRejection,
    LoopStats,
    PollResult,
    Proof,
)
from fastlog.errors import LoopError

FRAME_WEIGHT: int = getattr(lib, "FL_FRAME_WEIGHT", 0)
"""Bytes that each frame counts in addition to its own, in a rate; see `Loop.limit_rate`."""

_PROBES = 4
"""Unanswered probes after which the kernel closes a connection."""


class Loop:
    """An edge-triggered epoll loop; `csrc/loop/loop.h` is its manual.

    `poll` calls `on_block(runs, frames)` at most once, with the runs of a block (complete frames
    only, in the layout of `fastlog.block`) and the number of its frames. An exception in the
    callback is raised by `poll`.

    Args:
        on_block: Receives what a poll has read.
        max_frame: The largest frame, in bytes.
        max_connections: The most open connections; newer ones are closed.
        connections_per_host: The most open connections of one host; newer ones are closed. None:
            no such limit. Loopback addresses and Unix sockets are not counted.
        partial_memory: Bytes for all partial frames together.
        arena: Approximate size of a block in bytes, at least 64 KiB.
        stall: Seconds without a byte after which a partial frame is closed.
        min_rate: Bytes a second that a partial frame must receive once it is older than `stall`.
        coalesce: Seconds for which nothing is read after a poll that received little; 0: the next
            poll reads at once, always.
        coalesce_max: The same while many connections send little: the longest delay.
        handshake: Seconds in which a fastlog client must complete its handshake. Any other
            connection can be closed to make room once it has sent no byte for so long.
        keepalive: The longest time in seconds without a frame to a fastlog client.
        tcp_keepalive: Seconds without a byte after which the kernel probes a peer. One that does
            not answer is closed after half as long again, 4 s at least. 0: the kernel's settings.

    Raises:
        ValueError: An argument is out of range.
        LoopError: A system call failed, or there is no memory.
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
        coalesce: float = 0.005,
        coalesce_max: float = 0.05,
        handshake: float = 5.0,
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
        options.coalesce_us = round(coalesce * 1e6)
        options.coalesce_max_us = round(max(coalesce, coalesce_max) * 1e6)
        options.handshake_ms = round(handshake * 1000)
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
            raise LoopError(_failed("start", error[0], ffi.errno))
        self._loop: Any = ffi.gc(loop, lib.fl_loop_free)
        self._context = ffi.new_handle(self)
        self._on_block = on_block
        self._failure: BaseException | None = None

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. Listeners and watched descriptors belong to the caller."""
        if self._loop is not None:
            ffi.release(self._loop)
            self._loop = None

    def listen(self, fd: int, *, stock: bool = True, auth: bool = False) -> None:
        """Accept from a listening TCP or Unix socket, which stays the caller's. Up to 16.

        Args:
            stock: Whether unchanged `SocketHandler`s are admitted.
            auth: The value of `Hello.auth` for its clients.
        """
        flags = _listen_flags(stock=stock, auth=auth)
        self._check(lib.fl_loop_listen(self._loop, fd, flags), "listen on")

    def watch(self, fd: int) -> None:
        """Let a readable `fd` end a poll. The caller reads it. Up to 8."""
        self._check(lib.fl_loop_watch(self._loop, fd), "watch")

    def add(self, fd: int, peer: str, partial: bytes = b"") -> None:
        """Add a connected socket, and what has been received of its next frame.

        The loop owns `fd` when this returns.

        Raises:
            LoopError: The socket was not added; the caller keeps `fd`. Among other reasons,
                `partial` is not the beginning of one incomplete frame.
        """
        self._check(lib.fl_loop_add(self._loop, fd, peer.encode(), partial, len(partial)), "add")

    def accept(
        self,
        fd: int,
        peer: str,
        *,
        stock: bool = True,
        auth: bool = False,
        by_identity: bool = False,
    ) -> None:
        """Take a connection that another process has accepted, as if a listener of this loop had.

        The loop then owns `fd`. Beyond a limit, it closes the connection and reports that.

        Args:
            peer: The name of the peer, with the identity that its certificate proves, if it has
                one; see `fastlog.record.identity_of`.
            stock, auth: As for `listen`.
            by_identity: The value of `Hello.by_identity`.

        Raises:
            LoopError: The socket was not taken; the caller keeps `fd`.
        """
        flags = _listen_flags(stock=stock, auth=auth)
        flags |= lib.FL_LISTEN_IDENTITY if by_identity else 0
        self._check(lib.fl_loop_accept(self._loop, fd, peer.encode(), flags), "accept")

    def poll(self, timeout: float | None = None) -> PollResult:
        """Run one poll and wait at most `timeout` seconds. A signal ends the wait."""
        milliseconds = -1 if timeout is None else max(0, round(timeout * 1000))
        flags = lib.fl_loop_poll(self._loop, milliseconds, self._context)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._check(flags, "poll")
        result: PollResult = _POLL_RESULTS[flags]
        return result

    def pause(self, paused: bool) -> None:
        """Stop reading, or resume it. No connection is closed as stalled meanwhile."""
        lib.fl_loop_pause(self._loop, paused)

    def drain(self) -> None:
        """Begin the shutdown: accept the backlog, stop listening, read every connection again.

        Poll until `stats().bytes` has not changed for a while, or for as long as wanted; then call
        `close_connections`.
        """
        self._check(lib.fl_loop_drain(self._loop), "drain")

    def close_connections(self) -> None:
        """Close every connection. A stock client's partial frame is rejected as truncated."""
        lib.fl_loop_close_connections(self._loop)

    def rejections(self) -> list[LoopRejection]:
        """Return the rejections since the last call, oldest first."""
        found: list[LoopRejection] = []
        one = ffi.new("fl_rejection *")
        while lib.fl_loop_rejection(self._loop, one):
            found.append(
                LoopRejection(
                    reason=_reason_text(one.reason),
                    peer=_peer_text(one.peer),
                    length=one.length,
                    head=ffi.buffer(one.head, one.head_len)[:],
                )
            )
        return found

    # ---- clients of the fastlog protocol ----

    def events(self) -> Iterator[Hello | Proof | Ended]:
        """Yield the events of clients, oldest first. The caller answers `Hello` and `Proof`."""
        one = ffi.new("fl_event *")
        while lib.fl_loop_event(self._loop, one):
            payload = ffi.buffer(one.data, one.len)[:]
            if one.kind == lib.FL_EVENT_HELLO:
                auth = bool(one.listen_flags & lib.FL_LISTEN_AUTH)
                by_identity = bool(one.listen_flags & lib.FL_LISTEN_IDENTITY)
                yield Hello(one.conn, _peer_text(one.peer), payload, auth, by_identity)
            elif one.kind == lib.FL_EVENT_AUTH:
                yield Proof(one.conn, payload)
            else:
                yield Ended(one.conn, one.committed if one.admitted else None, one.sent_bye)

    def send(self, conn: int, frame: bytes) -> None:
        """Send a frame of the handshake and read on. Does nothing if the connection has ended."""
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
        """Accept this client's records from `committed` + 1 on.

        Does nothing if the connection has ended.

        Args:
            key: `Stamp.key` of the client's runs.
            welcome: The WELCOME frame.
        """
        numbers = incarnation, committed
        lib.fl_loop_admit(self._loop, conn, client, key, *numbers, welcome, len(welcome))

    def dismiss(self, conn: int, frame: bytes = b"") -> None:
        """Send a last frame and close the connection. Unread input is dropped. `Ended` follows."""
        lib.fl_loop_dismiss(self._loop, conn, frame, len(frame))

    def committed(self, conn: int) -> int | None:
        """Return the last durable sequence of a client; None if its connection has ended."""
        out = ffi.new("uint64_t *")
        return int(out[0]) if lib.fl_loop_committed(self._loop, conn, out) == 0 else None

    def dirty(self) -> int:
        """Return the number of clients with records in blocks not yet journaled or discarded."""
        return int(lib.fl_loop_dirty(self._loop))

    def journaled(self, offset: int) -> None:
        """Report that the journal has stored those blocks; the last one ends at `offset`."""
        lib.fl_loop_journaled(self._loop, offset)

    def discarded(self) -> None:
        """Report that the journal has rejected those blocks; their clients must send again."""
        lib.fl_loop_discarded(self._loop)

    def durable(self, offset: int) -> None:
        """Report that the journal is durable up to `offset`, and acknowledge the records below."""
        lib.fl_loop_durable(self._loop, offset)

    def window(self, size: int, state: int) -> None:
        """Set how many bytes clients may send beyond what is committed.

        Args:
            state: The state of the journal: 0 ok, 1 slow, 2 full.
        """
        lib.fl_loop_window(self._loop, size, state)

    # ---- rate limits ----

    def limit_rate(self, connection_rate: int, host_rate: int) -> None:
        """Limit the bytes that are read in a second; 0, for either: no limit.

        Each frame counts `FRAME_WEIGHT` bytes in addition to its own.

        Args:
            connection_rate: For each connection that has been read empty once.
            host_rate: Beyond that, for all connections of one host together.
        """
        lib.fl_loop_limit_rate(self._loop, connection_rate, host_rate)

    def limit_poll(self, weight: int) -> None:
        """Limit what one poll reads to about `weight` bytes, 4096 at least, counted as in
        `limit_rate`; 0: as much as a block can hold."""
        lib.fl_loop_limit_poll(self._loop, weight)

    def throttled(self) -> Iterator[tuple[str, int]]:
        """Yield the peers that were throttled since the last call, and how often."""
        at, peer = ffi.new("uint32_t *"), ffi.new("char[]", lib.FL_PEER_SIZE)
        while times := lib.fl_loop_throttled(self._loop, at, peer):
            yield _peer_text(peer), times

    # ---- handover ----

    def export(self) -> Iterator[ExportedConnection]:
        """Yield the connections for another process; they stay open here. Do not poll meanwhile.

        Clients that are not admitted are skipped: they connect again.
        """
        at, size = ffi.new("uint32_t *"), ffi.new("size_t *")
        peer = ffi.new("char[]", lib.FL_PEER_SIZE)
        while (fd := lib.fl_loop_export(self._loop, at, peer, size)) >= 0:
            state = ffi.new("uint8_t[]", size[0])
            lib.fl_loop_state(self._loop, at[0], state)
            yield ExportedConnection(fd, _peer_text(peer), ffi.buffer(state)[:])

    def take(self, exported: ExportedConnection) -> tuple[int, bytes, bytes] | None:
        """Take over a connection that another loop has exported, and own its descriptor.

        Returns:
            For a fastlog client: the name of the connection, the client's id, and its key as in
            `admit`. For a stock client: None.

        Raises:
            LoopError: It was not taken over; the caller keeps the descriptor.
        """
        conn, client = ffi.new("uint64_t *"), ffi.new("uint8_t[]", lib.FL_CLIENT_ID)
        key = ffi.new("uint8_t[]", lib.FL_CLIENT_KEY)
        fd, peer, state = exported.fd, exported.peer.encode(), exported.state
        self._check(
            lib.fl_loop_take(self._loop, fd, peer, state, len(state), conn, client, key),
            "take over",
        )
        return (int(conn[0]), ffi.buffer(client)[:], ffi.buffer(key)[:]) if conn[0] else None

    def stats(self) -> LoopStats:
        """Return the counters as they are now."""
        raw = ffi.new("fl_loop_stats *")
        lib.fl_loop_stats_get(self._loop, raw)
        rejected = {
            _reason_text(i): raw.rejected[i] for i in range(lib.FL_REASON_COUNT) if raw.rejected[i]
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

    def _check(self, result: int, action: str) -> None:
        if result < 0:
            raise LoopError(_failed(action, result, lib.fl_loop_errno(self._loop)))


def _listen_flags(*, stock: bool, auth: bool) -> int:
    return (0 if stock else lib.FL_LISTEN_NO_STOCK) | (lib.FL_LISTEN_AUTH if auth else 0)


def _failed(action: str, code: int, errno: int) -> str:
    why = os.strerror(errno) if code == lib.FL_ESYS else error_text(code)
    return f"the event loop could not {action}: {why}"


def _peer_text(peer: Any) -> str:
    return str(ffi.string(peer), "utf-8", "replace")


def _reason_text(reason: int) -> str:
    return str(ffi.string(lib.fl_reason_text(reason)), "ascii")


if hasattr(lib, "fl_loop_new"):
    # By the flags of a poll, of which there may be hundreds a second.
    _POLL_RESULTS = [
        PollResult(
            woken=bool(flags & lib.FL_POLL_WOKEN),
            more=bool(flags & lib.FL_POLL_MORE),
            rejections=bool(flags & lib.FL_POLL_REJECTIONS),
            events=bool(flags & lib.FL_POLL_EVENTS),
        )
        for flags in range(16)
    ]

    def _keep_failure(_: object, failure: BaseException, traceback: Any) -> None:
        context = traceback.tb_frame.f_locals["context"]
        ffi.from_handle(context)._fail(failure)

    @ffi.def_extern(name="fl_on_block", onerror=_keep_failure)  # type: ignore[untyped-decorator]
    def _on_block(context: Any, runs: Any, length: int, frames: int) -> None:
        ffi.from_handle(context)._receive(runs, length, frames)
