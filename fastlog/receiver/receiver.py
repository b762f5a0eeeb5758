"""The receiver: the loop's blocks go into the journal; what cannot be kept is counted."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from operator import itemgetter
from urllib.parse import urlsplit

import msgspec

from fastlog.block import LENGTH, Block, make_notices, runs
from fastlog.config import Config, ListenConfig
from fastlog.core import ExportedConnection, Loop, LoopRejection
from fastlog.errors import FastlogError
from fastlog.eventlog import EventLog
from fastlog.files import replace_file
from fastlog.journal import Full, Journal, Snapshot, Wakeup, read_positions, read_snapshot
from fastlog.protocol.handshake import Clients, Sessions, Terms
from fastlog.receiver.handover import Counters, HandoverState, only_stock
from fastlog.receiver.handshakes import Handshakes
from fastlog.receiver.loss_notices import LossNotices
from fastlog.receiver.throttle import Throttle
from fastlog.record import Note, Rejection, host_of

log = logging.getLogger(__name__)

HOUSEKEEPING_INTERVAL = 1.0
PATIENCE = 5.0
"""Seconds without progress after which a slow disk counts as one that does not work: until then
the loop pauses, which the senders do not notice; after that it drops, if the config says so."""
DRAIN = 5.0
"""Seconds that the connections have, at the end, to be read empty."""
QUIET = 0.1
"""Seconds without a byte after which they count as empty: longer than a kernel keeps back the last
bytes of a stream for an acknowledgement (40 ms), and than most round trips."""
RETRY = 0.05
FLUSH = 5.0
"""Seconds that the journal has, at the end, to make durable what clients wait for; and to make all
durable before another receiver takes over."""
OK, SLOW, FULL = 0, 1, 2
"""How the journal is, as clients are told."""
MARGIN = 8
"""Clients stop sending when less than one part in so many of the journal is left."""
OWN_FILES = 64
"""Descriptors that connections leave to the journal, and to all else that must go on."""


class Receiver:
    """Reads from the listeners until it is told to stop.

    Args:
        config: The whole configuration.
        listeners: Descriptors of listening sockets, and what was configured for each.
        clock: The wall clock, for stamps.
        taken: What the receiver before has handed over, which it must not use any more when `run`
            is called. Until then nothing is read, and nothing written.
        wakeup: The descriptor of the workers' wakeup, if they have one.

    Raises:
        FastlogError: The journal is damaged, or something that was handed over cannot be taken.
    """

    def __init__(
        self,
        config: Config,
        listeners: Sequence[tuple[int, ListenConfig]],
        clock: Callable[[], float] = time.time,
        taken: tuple[HandoverState, list[ExportedConnection]] | None = None,
        wakeup: int | None = None,
    ) -> None:
        parcel, handed = taken or (None, [])
        self._config, self._clock = config, clock
        self._wakeup = None if wakeup is None else Wakeup(wakeup)
        self.sinks: dict[str, str] = {sink.name: sink.when_full for sink in config.sinks}
        """The sinks for which segments are kept, and whether a full journal waits for them."""
        self._notes = LossNotices(clock)
        self._events = EventLog(log)
        self._held: tuple[bytes, int] | None = None
        self._progress = (0, time.monotonic())
        self._strangers: set[str] = set()
        self._stopping = False
        self._untold = self._throttlings = 0
        self._housekeeping_at = time.monotonic()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._clients = Clients()
        self._journal = self._open_journal(parcel)
        affordable = _affordable(config.limits.connections)
        self._loop = Loop(
            self._on_block,
            max_frame=config.limits.max_frame,
            max_connections=max(affordable, len(handed)),
            connections_per_host=config.limits.connections_per_host or max(1, affordable // 2),
            partial_memory=max(config.limits.partial_memory, config.limits.max_frame + LENGTH.size),
            keepalive=config.clients.keepalive,
            tcp_keepalive=config.limits.tcp_keepalive,
        )
        self._loop.watch(self._wake)
        for fd, listen in listeners:
            self._loop.listen(fd, stock=listen.stock, auth=listen.auth == "required")
        for listen in {listen.url: listen for _, listen in listeners}.values():
            if listen.stock and _is_public(listen.url):
                log.warning(
                    "%s admits clients that nobody has authenticated, from other machines too; "
                    'stock = false and auth = "required" would keep strangers out',
                    listen.url,
                )
        self._sessions = Sessions(
            bytes.fromhex(self._journal.node),
            self._clients,
            _keys(config.auth.keys),
            self._terms,
            clock,
        )
        self._handshakes = Handshakes(
            self._loop, self._journal, self._sessions, self._reject_client, self._events
        )
        self._shares = Throttle(
            self._loop,
            config.limits,
            config.data_dir,
            self._journal.node,
            [name for name, when_full in self.sinks.items() if when_full == "hold"],
        )
        self._set_window()
        self._leftovers = config.data_dir / "leftovers.json"
        self._before = Counters()
        if parcel is None:
            self._recall()
        else:
            self._take(parcel, handed)

    def _open_journal(self, parcel: HandoverState | None) -> Journal:
        """Opens it, and makes the table of clients from what is there, or from what is known."""
        config = self._config
        directory = config.data_dir / "journal"
        snapshot = read_snapshot(directory) if parcel is None else parcel.clients
        remembered = snapshot.offset if snapshot is not None else 0
        if snapshot is not None:
            self._clients.load(snapshot.content)

        def visit(block: Block) -> None:
            if block.offset >= remembered:
                for run in runs(block.payload):
                    self._clients.saw_run(run, block.stamp)

        journal = Journal(
            directory,
            segment=config.journal.segment,
            size=config.journal.size,
            memory=config.journal.memory,
            clock=self._clock,
            visit=visit,
            on_durable=self._on_durable,
            state=None if parcel is None else parcel.journal,
        )
        if parcel is None and remembered < journal.oldest:
            log.error(
                "%s: the table of clients is missing or damaged: who was away comes back as new, "
                "and may send again what was acknowledged",
                directory,
            )
        return journal

    def watch(self, fd: int) -> None:
        """Lets a readable `fd` wake the loop."""
        self._loop.watch(fd)

    def stop(self) -> None:
        """Makes `run` end soon."""
        self._stopping = True

    def run(self, woken: Callable[[], None]) -> None:
        """Receives until `stop`, then drains the connections and closes the journal.

        Args:
            woken: Called when a watched descriptor is readable; it has to read it.
        """
        try:
            if revoked := self._handshakes.revoke():
                log.warning("closed %d connections: their key left the configuration", revoked)
            while not self._stopping:
                self._turn(woken)
            self._drain(woken)
        finally:
            self._finish()

    # ---- a turn ---------------------------------------------------------------------------

    def _turn(self, woken: Callable[[], None], at_most: float = HOUSEKEEPING_INTERVAL) -> None:
        turn = self._loop.poll(min(at_most, self._timeout()))
        if turn.woken:
            self._read_wake()
            woken()
        if turn.rejections:
            for rejection in self._loop.rejections():
                self._reject(rejection)
        if self._held is not None:
            self._offer(*self._held)
        self._handshakes.acknowledge()
        if turn.events:
            self._handshakes.serve()
        self._shares.look(self._journal.end, self._journal.index, self._journal.durable)
        if time.monotonic() >= self._housekeeping_at:
            self._housekeeping()
        if isinstance(self._journal.crash, FastlogError):
            raise self._journal.crash
        if self._journal.crash is not None:
            raise FastlogError(f"the journal's thread died: {self._journal.crash!r}")

    def _timeout(self) -> float:
        until_housekeeping = max(0.0, self._housekeeping_at - time.monotonic())
        until_housekeeping = min(until_housekeeping, self._shares.timeout())
        return min(until_housekeeping, RETRY) if self._held is not None else until_housekeeping

    def _on_block(self, runs: bytes, frames: int) -> None:
        """From the loop: at most once a turn, and never while one is held, since it is paused."""
        assert self._held is None
        self._offer(runs, frames)

    def _offer(self, runs: bytes, frames: int) -> None:
        """Gives a block to the journal; what it does not take is held, or dropped and counted."""
        urgent = self._loop.dirty() > 0
        full = self._journal.append(runs, frames, urgent=urgent)
        if full is Full.SIZE:
            self._release()
            full = self._journal.append(runs, frames, urgent=urgent)
        was_held = self._held is not None
        self._held = None
        if full is None:
            self._handshakes.journaled()
        elif self._must_drop(full):
            self._loop.discarded()
            reason = self._journal.failure or full.value
            if lost := self._notes.lost(runs, reason):
                self._events.add("dropped", f"dropped records: {reason}", lost)
        else:
            self._held = runs, frames
        if was_held != (self._held is not None):
            self._loop.pause(not was_held)

    def _must_drop(self, full: Full) -> bool:
        if self._config.journal.when_full == "pause":
            return False
        if full is Full.SIZE or self._journal.failure is not None:
            return True
        durable, since = self._progress
        if self._journal.durable != durable:
            self._progress = self._journal.durable, time.monotonic()
            return False
        return time.monotonic() - since > PATIENCE

    def _on_durable(self, durable: int) -> None:
        """From the journal's thread: sinks have more to read, there may be room for what is held,
        and acks may go out."""
        if self._wakeup is not None:
            self._wakeup.notify(durable)
        if self._held is not None or self._handshakes.owes():
            os.eventfd_write(self._wake, 1)

    def _read_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it may be another that woke us
            os.eventfd_read(self._wake)

    def _reject(self, rejection: LoopRejection) -> None:
        self._notes.rejected_by_loop(rejection)
        self._events.add("rejected", f"rejected {host_of(rejection.peer)}: {rejection.reason}")

    def _reject_client(self, peer: str, reason: str) -> None:
        self._notes.rejected(Rejection(peer, reason, 0, b"", 1, self._clock()))
        self._events.add("rejected", f"rejected {host_of(peer)}: {reason}")

    # ---- what clients are told ------------------------------------------------------------

    def _terms(self) -> Terms:
        # The loop must know what a WELCOME says, or it would not announce that it has changed.
        window = self._set_window()
        return Terms(self._config.limits.max_frame, window, self._config.clients.keepalive)

    def _window(self) -> tuple[int, int]:
        """What a client may send now, in bytes, and how the journal is."""
        journal, config = self._journal, self._config
        if journal.failure is not None or journal.size > _nearly(config.journal.size):
            return 0, FULL
        if journal.memory > config.journal.memory // 2:
            return 0, SLOW
        return config.clients.window, OK

    def _set_window(self) -> int:
        size, state = self._window()
        self._loop.window(size, state)
        return size

    # ---- once a second --------------------------------------------------------------------

    def _housekeeping(self) -> None:
        self._housekeeping_at = time.monotonic() + HOUSEKEEPING_INTERVAL
        if self._journal.durable != self._progress[0] or self._journal.durable == self._journal.end:
            self._progress = self._journal.durable, time.monotonic()
        self._journal.look()
        self._release()
        self._set_window()
        self._journal_notes()
        self._tell_throttled()
        self._events.flush()
        self._write_status()

    def _tell_throttled(self) -> None:
        throttlings = self._loop.stats().throttlings
        new, self._throttlings = throttlings - self._throttlings, throttlings
        if new:
            waited = sorted(self._loop.throttled(), key=itemgetter(1), reverse=True)
            who = waited[0][0] if waited else "one that has gone"
            others = f" and {len(waited) - 1} others" if len(waited) > 1 else ""
            self._events.add("throttled", f"reading slower from {who}{others}", new)

    def _release(self) -> None:
        """Lets go of segments that no sink needs."""
        left = read_positions(self._config.data_dir)
        durable = {
            name: left[name].durable
            if name in left and left[name].node == self._journal.node
            else 0
            for name in self.sinks
        }
        holders = [durable[name] for name, when in self.sinks.items() if when == "hold"]
        everyone = min(durable.values())
        holder = min(holders, default=self._journal.durable)
        self._journal.release(everyone, holder, self._handshakes.snapshot)
        for name in left.keys() - self.sinks.keys() - self._strangers:
            self._strangers.add(name)
            log.warning("sink %s is not in the configuration any more: nothing waits for it", name)

    def _journal_notes(self) -> None:
        untold = self._loop.stats().unreported - self._untold
        if untold:
            self._untold += untold
            reason = "rejected, too many to tell apart"
            self._notes.rejected(Rejection("", reason, 0, b"", untold, self._clock()))
        notes = self._notes.take()
        if not notes:
            return
        if self._journal.append(make_notices(notes), len(notes), over_size=True) is not None:
            self._notes.give_back(notes)

    def _write_status(self) -> None:
        """`status.json`, for `fastlog stats` and `fastlog check`."""
        stats, journal, counters = self._loop.stats(), self._journal, self._counters()
        status = {
            "at": self._clock(),
            "durable": journal.durable,
            "oldest": journal.oldest,
            "index": journal.index,
            "size": journal.size,
            "limit": self._config.journal.size,
            "connections": stats.connections,
            "clients": stats.clients,
            "throttled": stats.throttled,
            "lag": self._shares.lag,
            **msgspec.structs.asdict(counters),
            "failure": journal.failure,
        }
        try:
            replace_file(self._config.data_dir / "status.json", json.dumps(status).encode())
        except OSError as error:
            log.debug("status.json: %s", error)  # the disk is full: the journal has said so

    def _counters(self) -> Counters:
        """Since the service was started, over all receivers."""
        stats, before = self._loop.stats(), self._before
        rejected = Counter(before.rejected)
        rejected.update(stats.rejected)
        return Counters(
            acks=before.acks + stats.acks,
            repeated=before.repeated + stats.repeated,
            throttlings=before.throttlings + stats.throttlings,
            accepted=before.accepted + stats.accepted,
            frames=before.frames + stats.frames,
            dropped=before.dropped + self._notes.dropped,
            rejected=dict(rejected),
        )

    # ---- from one receiver to the next ----------------------------------------------------

    def freeze(self) -> tuple[HandoverState, list[int]]:
        """Makes all that was received durable, and stands still until `thaw`.

        Returns:
            What the next receiver has to know, and the descriptors of the connections. They stay
            this one's.

        Raises:
            FastlogError: The disk does not take it; the receiver goes on.
        """
        self._loop.pause(True)
        try:
            clients = self._settle()
            connections = list(self._loop.export())
            parcel = HandoverState(
                journal=self._journal.state(),
                clients=clients,
                counters=self._counters(),
                notes=self._notes.take(),
                held=self._held,
                proofs=self._sessions.proofs(),
                connections=[(handed.peer, handed.state) for handed in connections],
            )
        except BaseException:
            self._go_on()
            raise
        return parcel, [handed.fd for handed in connections]

    def thaw(self, parcel: HandoverState) -> None:
        """Goes on: the next receiver, to which this parcel was sent, is no more."""
        self._notes.give_back(parcel.notes)
        self._go_on()

    def _go_on(self) -> None:
        self._loop.pause(self._held is not None)

    def _settle(self) -> Snapshot:
        """Leaves nothing that waits for the journal, and says what is then known of clients."""
        if self._held is not None:
            # Our own clients send again what was held of theirs: nobody else could tell them.
            self._loop.discarded()
            self._held = only_stock(self._held[0])
        for rejection in self._loop.rejections():
            self._reject(rejection)
        self._journal_notes()
        self._events.flush()
        deadline = time.monotonic() + FLUSH
        while True:
            self._handshakes.acknowledge()
            self._handshakes.serve()
            if self._journal.flush(RETRY) and not self._handshakes.owes():
                clients = self._handshakes.snapshot()
                if clients is not None:
                    return clients
            if self._journal.failure is not None or time.monotonic() > deadline:
                why = self._journal.failure or f"that takes more than {FLUSH:.0f} s"
                raise FastlogError(f"what was received cannot be made durable: {why}")

    def _take(self, parcel: HandoverState, handed: list[ExportedConnection]) -> None:
        self._before = parcel.counters
        self._notes.give_back(parcel.notes)
        for connection in handed:
            client = self._loop.take(connection)
            if client is not None:
                self._sessions.taken(*client, parcel.proofs.get(client[1], b""))
        self._held = parcel.held
        self._go_on()

    # ---- the end --------------------------------------------------------------------------

    def _drain(self, woken: Callable[[], None]) -> None:
        """Reads each connection to its end of data, and journals it."""
        if self._loop.stats().connections:
            log.info("stopping: reading %d connections empty", self._loop.stats().connections)
        self._loop.drain()
        deadline = time.monotonic() + DRAIN
        received, since = -1, 0.0
        while self._loop.stats().connections or self._held is not None:
            now = time.monotonic()
            if self._loop.stats().bytes != received or self._held is not None:
                received, since = self._loop.stats().bytes, now
            if now >= deadline:
                why = "the journal takes no more" if self._held else "they go on sending"
                log.warning("hanging up on clients after %.0f s: %s", DRAIN, why)
                break
            if now - since >= QUIET:
                break
            self._turn(woken, at_most=QUIET)
        if self._handshakes.owes():
            self._journal.flush(FLUSH)
            self._handshakes.acknowledge()
        self._loop.close_connections()
        for rejection in self._loop.rejections():
            self._reject(rejection)

    def _finish(self) -> None:
        """Keeps what can be kept, whatever has happened, and counts the rest."""
        if self._held is not None:
            self._notes.lost(self._held[0], self._journal.failure or "the server was stopped")
        self._journal_notes()
        self._write_status()
        self._loop.close()
        self._shares.close()
        for block in self._journal.close():
            self._notes.lost(block, self._journal.failure or "the server was stopped")
        self._leave(self._notes.take())
        self._events.flush()
        os.close(self._wake)

    def _leave(self, notes: list[Note]) -> None:
        """What the journal did not take is left for the next start to journal."""
        if not notes:
            return
        try:
            replace_file(self._leftovers, msgspec.json.encode(notes), durable=True)
        except OSError:
            for note in notes:
                log.error("not in the ledger: %s", note)

    def _recall(self) -> None:
        """Journals what the last receiver could not. Twice rather than never, if we die here."""
        try:
            notes = msgspec.json.decode(self._leftovers.read_bytes(), type=list[Note])
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            log.error("%s cannot be read, and is not in the ledger: %s", self._leftovers, error)
            return
        self._notes.give_back(notes)
        self._journal_notes()
        self._leftovers.unlink()


def _keys(texts: Sequence[str]) -> dict[str, list[bytes]]:
    """The secrets of each key id, from `ID:SECRET` as the configuration has it."""
    keys: dict[str, list[bytes]] = {}
    for text in texts:
        name, _, secret = text.partition(":")
        keys.setdefault(name, []).append(secret.encode())
    return keys


def _is_public(url: str) -> bool:
    """Whether other machines can reach this address."""
    host = urlsplit(url).hostname
    if host is None or host == "localhost":
        return False  # a Unix socket
    try:
        return not ip_address(host).is_loopback
    except ValueError:  # a name
        return True


def _nearly(size: int) -> int:
    return size - size // MARGIN


def _affordable(connections: int) -> int:
    """As many connections as there are descriptors for, with some kept for files of our own."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or connections <= limit - OWN_FILES:
        return connections
    log.warning("%d connections at most: the system allows %d open files", limit - OWN_FILES, limit)
    return max(1, limit - OWN_FILES)
