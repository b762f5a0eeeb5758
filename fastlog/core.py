"""The C module, in Python's terms: the only file that sees `ffi` and `lib`.

`Framer`, `Repacker` and `crc32c` are everywhere; `Loop` is Linux only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from fastlog._core import ffi, lib
from fastlog.errors import FrameError, LoopError

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # Python 3.12

FRAME_LIMIT: int = lib.FL_FRAME_LIMIT
"""The largest frame that the protocol can carry, in bytes (16 MiB - 1)."""

_BATCH = 64


def _error_text(code: int) -> str:
    return str(ffi.string(lib.fl_strerror(code)), "ascii")


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, continuing from `crc`. Releases the GIL."""
    view = ffi.from_buffer(data)
    return int(lib.fl_crc32c(crc, view, len(view)))


class Framer:
    """Splits a stream of length-prefixed frames: bytes in, in any pieces; frames out.

    It does no I/O, so it serves a thread, a selector and asyncio alike::

        framer = Framer()
        while data := sock.recv(65536):
            for frame in framer.feed(data):
                handle(frame)
        framer.end()

    A frame is a big-endian u32 length and that many bytes. Memory for an incomplete frame grows
    with what has arrived, never by what its length announces.

    Args:
        max_frame: The largest frame that is accepted, in bytes; 1 to `FRAME_LIMIT`.

    Raises:
        ValueError: `max_frame` is out of range.
    """

    def __init__(self, max_frame: int = 1 << 20) -> None:
        if not 1 <= max_frame <= FRAME_LIMIT:
            raise ValueError(f"max_frame must be 1 to {FRAME_LIMIT}, got {max_frame}")
        framer = lib.fl_framer_new(max_frame)
        if framer == ffi.NULL:
            raise MemoryError
        self.max_frame = max_frame
        self._framer = ffi.gc(framer, lib.fl_framer_free)
        self._frames = ffi.new("fl_frame[]", _BATCH)

    def feed(self, data: Buffer) -> list[bytes]:
        """Takes more of the stream and returns the frames that it completes, without their lengths.

        Raises:
            FrameError: A frame is over the limit. An error behind complete frames is raised by
                the next call, so that those are not lost; from then on every call raises it.
        """
        lent = ffi.from_buffer(data)  # must live until the last fl_framer_next()
        self._check(lib.fl_framer_feed(self._framer, lent, len(lent)))
        frames: list[bytes] = []
        while (n := lib.fl_framer_next(self._framer, self._frames, _BATCH)) > 0:
            for i in range(n):
                frame = self._frames[i]
                frames.append(ffi.buffer(frame.data, frame.len)[:])
        if not frames:
            self._check(n)
        return frames

    def end(self) -> None:
        """Says that the stream has ended.

        Raises:
            FrameError: It ended inside a frame, or had failed before.
        """
        self._check(lib.fl_framer_end(self._framer))

    def _check(self, result: int) -> None:
        if result >= 0:
            return
        if result == lib.FL_ENOMEM:
            raise MemoryError
        text = _error_text(result)
        if result == lib.FL_ETOOLONG:
            text = f"{text} of {self.max_frame} bytes"
        raise FrameError(text)


class Column(NamedTuple):
    """One column of the rows that a `Repacker` makes."""

    name: str
    """Of the attribute that fills it; under 64 characters of ASCII."""
    kind: str
    """What it holds, or what becomes of the attribute:

    - `time`: a float within `Bounds.times`; else when the block was received
    - `integer`: an integer of 64 bits, or None
    - `text`: a str, or None
    - `message`: a str
    - `host`, `received`, `offset`, `idx`: what `Repacker.begin` and `Repacker.run` were told
    - `extra`: all other attributes, as JSON text of an object
    - `silent`, `empty`, `twin`: no column. Such an attribute is dropped always; when it is empty;
      when it is None or equals the message
    """
    recurs: bool = False
    """Whether its values recur from row to row: then each is written once."""
    together: bool = False
    """Whether a plain frame has it only with the other columns that are so marked."""
    key: str = ""
    """Its name in lines of JSON, where that is another; it needs no escape."""


class Bounds(NamedTuple):
    """What a plain frame stays below."""

    depth: int
    """Containers inside each other; 64 at most."""
    nodes: int
    """Values; 1,048,576 at most, and no more than the frame has bytes, plus `nodes_more`."""
    nodes_more: int
    weight: int
    """Bytes of all texts as JSON writes them, and no more than `weight_times` the frame's own bytes
    plus `weight_more`."""
    weight_times: int
    weight_more: int
    times: tuple[float, float]
    """The first time that counts as one, and the one behind the last."""


class Repacker:
    """Translates the pickles of a block into rows: one pickle of data only, or lines of JSON.

    A frame is plain, and becomes a tuple with a value for each column; or foreign, for a fuller
    reader to tell; or malformed or forbidden, and then it has a reason. Nothing that a frame says
    is imported or called. `docs/pickle.md` says what becomes of a value::

        repacker.begin(received=1.5, offset=0)
        verdicts = repacker.run(body, frames=3, idx=0, host="127.0.0.1")
        rows = pickle.loads(repacker.end())

    Args:
        columns: What a row has, 32 at most.
        bounds: What a plain frame stays below.
        lines: Whether `end` gives lines of JSON: an object for a plain frame, an empty line for any
            other.

    Raises:
        ValueError: A column or a bound is out of range.
    """

    def __init__(self, columns: Iterable[Column], bounds: Bounds, *, lines: bool = False) -> None:
        columns = list(columns)
        names = [ffi.new("char[]", column.name.encode("ascii")) for column in columns]
        keys = [ffi.new("char[]", (column.key or column.name).encode()) for column in columns]
        described = ffi.new("fl_column[]", len(columns))
        for into, name, key, column in zip(described, names, keys, columns, strict=True):
            into.name, into.key = name, key
            into.kind = _column_kind(column.kind)
            into.flags = (lib.FL_COL_RECURS if column.recurs else 0) | (
                lib.FL_COL_TOGETHER if column.together else 0
            )
        limits = ffi.new("fl_bounds *", (*bounds[:6], *bounds.times))
        form = lib.FL_LINES if lines else lib.FL_ROWS
        repacker = lib.fl_repacker_new(described, len(columns), limits, form)
        if repacker == ffi.NULL:
            raise ValueError("a column or a bound of the translator is out of range")
        self._repacker = ffi.gc(repacker, lib.fl_repacker_free)
        self._verdicts = ffi.new("uint8_t[]", 0)
        self._data = ffi.new("const uint8_t **")
        self._size = ffi.new("size_t *")

    def begin(self, received: float, offset: int) -> None:
        """Begins a block, with what all its rows have in common."""
        self._check(lib.fl_repacker_begin(self._repacker, received, offset))

    def run(self, body: Buffer, frames: int, idx: int, host: str) -> bytes | None:
        """Translates the frames in `body`, each behind its length, all from `host`.

        Args:
            idx: The number of the first of them.

        Returns:
            A verdict for each frame (`PLAIN`, `FOREIGN`, or one that `verdict_text` explains); None
            when all are plain.

        Raises:
            ValueError: The lengths do not fit.
        """
        self._make_room(frames)
        name = host.encode("utf-8", "replace")
        others = lib.fl_repacker_run(
            self._repacker,
            ffi.from_buffer(body),
            len(body),
            frames,
            idx,
            name,
            len(name),
            self._verdicts,
        )
        return self._answer(others, frames)

    def block(self, payload: Buffer, frames: int) -> bytes | None:
        """Translates all runs of a block of the journal, which has so many frames.

        Returns:
            As `run` does; runs that hold no records count as foreign frames.

        Raises:
            ValueError: The lengths, or the number of frames, do not fit.
        """
        self._make_room(frames)
        others = lib.fl_repacker_block(
            self._repacker, ffi.from_buffer(payload), len(payload), frames, self._verdicts
        )
        return self._answer(others, frames)

    def end(self) -> memoryview:
        """Ends the block: a pickle of the list of rows, or the lines; valid until `begin`."""
        self._check(lib.fl_repacker_end(self._repacker, self._data, self._size))
        return memoryview(ffi.buffer(self._data[0], self._size[0]))

    def _make_room(self, frames: int) -> None:
        if frames > len(self._verdicts):
            self._verdicts = ffi.new("uint8_t[]", frames)

    def _answer(self, others: int, frames: int) -> bytes | None:
        if others == 0:
            return None
        self._check(others)
        return bytes(ffi.buffer(self._verdicts, frames))

    def _check(self, result: int) -> None:
        if result == lib.FL_ENOMEM:
            raise MemoryError
        if result < 0:
            raise ValueError(f"the run does not fit the translator: {_error_text(result)}")


FRAME_WEIGHT: int = getattr(lib, "FL_FRAME_WEIGHT", 0)
"""Bytes that a frame counts as, beyond those that it has, in a share; see `Loop.limit`."""
PLAIN: int = lib.FL_PLAIN
FOREIGN: int = lib.FL_FOREIGN


def verdict_text(verdict: int) -> str:
    """Why a frame was rejected: `malformed pickle: no STOP`."""
    return str(ffi.string(lib.fl_verdict_text(verdict)), "ascii")


def _column_kind(kind: str) -> int:
    try:
        return int(getattr(lib, f"FL_COL_{kind.upper()}"))
    except AttributeError:
        raise ValueError(f"a column of the unknown kind {kind!r}") from None


class Refusal(NamedTuple):
    """A connection that the loop refused or closed."""

    reason: str
    peer: str
    """`address:port`, or `unix`."""
    length: int
    """What its frame announced, 0 if it did not come to that."""
    head: bytes
    """The first bytes of that frame, with the length, 64 at most."""


class Hello(NamedTuple):
    """A client of the fastlog dialect has said hello; nothing more is read until it is answered."""

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


class Handed(NamedTuple):
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
    refused: dict[str, int]
    """Connections refused or closed, by reason; only reasons that occurred."""
    unreported: int
    """Refusals that are in `refused`, but were too many to be told one by one."""
    acks: int
    """Acknowledgements sent."""
    repeated: int
    """Records that clients sent once more, and that were skipped."""
    slowings: int
    """Times that a connection had to wait because it had sent more than its share."""
    clients: int
    """Clients of the fastlog dialect that are admitted now."""
    connections: int
    partials: int
    """Connections that are inside a frame."""
    partial_bytes: int
    """Memory that these hold."""
    ready: int
    """Connections that are known to have more to read."""
    slowed: int
    """Connections that wait for their share."""


class Turn(NamedTuple):
    """What a turn of the loop left behind."""

    woken: bool
    """A watched descriptor is readable."""
    more: bool
    """There is more to read: the next turn will not wait."""
    refused: bool
    """`Loop.refusals` has something."""
    asked: bool
    """`Loop.events` has something."""


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
        hello: Seconds that a client of the fastlog dialect has for its greeting. Any other is
            closed to make room for a newcomer only if it has not sent a byte for so long.
        keepalive: Seconds after which such a client hears from us at the latest.

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
        error = ffi.new("int *")
        loop = lib.fl_loop_new(options, lib.fl_on_block, error)
        if loop == ffi.NULL:
            if error[0] == lib.FL_EINVAL:
                raise ValueError("an option of the loop is out of range")
            raise LoopError(f"no event loop: {_error_text(error[0])}: {os.strerror(ffi.errno)}")
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

    def poll(self, timeout: float | None = None) -> Turn:
        """Runs one turn, waiting `timeout` seconds at most; a signal ends the wait."""
        milliseconds = -1 if timeout is None else max(0, round(timeout * 1000))
        flags = lib.fl_loop_poll(self._loop, milliseconds, self._context)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._check(flags, "poll")
        turn: Turn = _TURNS[flags]
        return turn

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
        """Closes every connection; those that are inside a frame are refused as truncated."""
        lib.fl_loop_hang_up(self._loop)

    def refusals(self) -> list[Refusal]:
        """The refusals since the last call, oldest first."""
        taken: list[Refusal] = []
        one = ffi.new("fl_refusal *")
        while lib.fl_loop_refusal(self._loop, one):
            taken.append(
                Refusal(
                    reason=_reason_text(one.reason),
                    peer=str(ffi.string(one.peer), "ascii", "replace"),
                    length=one.length,
                    head=ffi.buffer(one.head, one.head_len)[:],
                )
            )
        return taken

    # ---- clients of the fastlog dialect ----

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
        self, conn: int, client: bytes, incarnation: int, committed: int, welcome: bytes
    ) -> None:
        """Takes this client's records from `committed` + 1 on. If it has ended: nothing."""
        lib.fl_loop_admit(self._loop, conn, client, incarnation, committed, welcome, len(welcome))

    def dismiss(self, conn: int, frame: bytes = b"") -> None:
        """Sends a last frame and closes; what was not read is dropped. `Ended` follows."""
        lib.fl_loop_dismiss(self._loop, conn, frame, len(frame))

    def committed(self, conn: int) -> int | None:
        """The last sequence of this client that is durable; None if its connection has ended."""
        out = ffi.new("uint64_t *")
        return int(out[0]) if lib.fl_loop_committed(self._loop, conn, out) == 0 else None

    def touched(self) -> int:
        """Clients with records in blocks for which neither `journaled` nor `discarded` was said."""
        return int(lib.fl_loop_touched(self._loop))

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

    def limit(self, rate: int, *, everyone: bool) -> None:
        """Reads each connection at most at `rate` bytes a second; 0: as fast as it sends.

        Args:
            everyone: Or only those of whose sending little was judged yet.
        """
        lib.fl_loop_limit(self._loop, rate, everyone)

    def judged(self) -> None:
        """All is stored which was received when this was said last."""
        lib.fl_loop_judged(self._loop)

    def surcharge(self, times: Mapping[int, int]) -> None:
        """Counts each byte of these connections, by serial, as so many more (65,535 at most)."""
        of = ffi.new("fl_surcharge[]", len(times))
        for one, (serial, more) in zip(of, times.items(), strict=True):
            one.serial, one.times = serial, more
        lib.fl_loop_surcharge(self._loop, of, len(times))

    def slowed(self) -> Iterator[tuple[str, int]]:
        """The peers that had to wait since this was asked last, and how often."""
        at, peer = ffi.new("uint32_t *"), ffi.new("char[]", lib.FL_PEER_SIZE)
        while times := lib.fl_loop_slowed(self._loop, at, peer):
            yield str(ffi.string(peer), "ascii", "replace"), times

    # ---- handing connections over ----

    def export(self) -> Iterator[Handed]:
        """The connections, for another process; they stay this loop's. Do not poll meanwhile.

        Left out are clients whose greeting is under way: they connect again.
        """
        at, size = ffi.new("uint32_t *"), ffi.new("size_t *")
        peer = ffi.new("char[]", lib.FL_PEER_SIZE)
        while (fd := lib.fl_loop_export(self._loop, at, peer, size)) >= 0:
            state = ffi.new("uint8_t[]", size[0])
            lib.fl_loop_state(self._loop, at[0], state)
            name = str(ffi.string(peer), "ascii", "replace")
            yield Handed(fd, name, ffi.buffer(state)[:])

    def take(self, handed: Handed) -> tuple[int, bytes] | None:
        """Takes over a connection that another loop has exported, and owns its descriptor.

        Returns:
            For a client of the fastlog dialect: the connection's name, and the client's id.

        Raises:
            LoopError: It cannot be taken; the descriptor is still the caller's.
        """
        conn, client = ffi.new("uint64_t *"), ffi.new("uint8_t[16]")
        state = handed.state
        peer = handed.peer.encode()
        self._check(
            lib.fl_loop_take(self._loop, handed.fd, peer, state, len(state), conn, client),
            "take over",
        )
        return (int(conn[0]), ffi.buffer(client)[:]) if conn[0] else None

    def stats(self) -> LoopStats:
        """The counters as they are now."""
        raw = ffi.new("fl_loop_stats *")
        lib.fl_loop_stats_get(self._loop, raw)
        refused = {_reason_text(i): raw.refused[i] for i in range(lib.FL_REASONS) if raw.refused[i]}
        return LoopStats(
            accepted=raw.accepted,
            frames=raw.frames,
            bytes=raw.bytes,
            refused=refused,
            unreported=raw.unreported,
            acks=raw.acks,
            repeated=raw.repeated,
            slowings=raw.slowings,
            clients=raw.clients,
            connections=raw.connections,
            partials=raw.partials,
            partial_bytes=raw.partial_bytes,
            ready=raw.ready,
            slowed=raw.slowed,
        )

    def _receive(self, runs: Any, length: int, frames: int) -> None:
        self._on_block(ffi.buffer(runs, length)[:], frames)

    def _fail(self, failure: BaseException) -> None:
        self._failure = failure

    def _check(self, result: int, what: str) -> None:
        if result >= 0:
            return
        why = _error_text(result)
        if result == lib.FL_ESYS:
            why = os.strerror(lib.fl_loop_errno(self._loop))
        raise LoopError(f"the event loop could not {what}: {why}")


def _reason_text(reason: int) -> str:
    return str(ffi.string(lib.fl_reason_text(reason)), "ascii")


if hasattr(lib, "fl_loop_new"):
    # By the flags of a turn. There are hundreds of turns a second, and sixteen kinds of them.
    _TURNS = [
        Turn(
            woken=bool(flags & lib.FL_WOKEN),
            more=bool(flags & lib.FL_MORE),
            refused=bool(flags & lib.FL_REFUSED),
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
