"""The receiver: appends the loop's blocks to the journal, and does the housekeeping.

It makes the parts of this folder and calls them in order. Each part has a file of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastlog.block import LENGTH, Block, runs
from fastlog.config import Config, ListenConfig, format_size
from fastlog.core import ExportedConnection, Loop
from fastlog.errors import FastlogError
from fastlog.eventlog import EventLog
from fastlog.journal import Journal, Wakeup, read_snapshot
from fastlog.protocol.client_table import Clients
from fastlog.protocol.handshake import HandshakeProtocol
from fastlog.receiver.backpressure import RETRY_INTERVAL, Backpressure, SendWindow
from fastlog.receiver.client_handshakes import ClientHandshakes
from fastlog.receiver.handover import Handover, HandoverState
from fastlog.receiver.leftovers import Leftovers
from fastlog.receiver.loss_notices import LossNotices
from fastlog.receiver.rejections import Rejections
from fastlog.receiver.segment_release import SegmentRelease
from fastlog.receiver.shutdown import Shutdown
from fastlog.receiver.status import Status
from fastlog.receiver.throttle import Throttle, ThrottleLog
from fastlog.receiver.tls_connections import TlsConnections

log = logging.getLogger(__name__)

HOUSEKEEPING_INTERVAL = 1.0
DROPPED_INTERVAL = 60.0
"""Seconds from one log line about dropped records to the next."""
RESERVED_FILES = 64
"""Descriptors that connections leave to the journal and everything else."""


class Receiver:
    """Receives from the listeners until `stop`.

    Args:
        config: The whole configuration.
        listeners: Descriptors of listening sockets, each with its configuration.
        handed_over: The state of the previous receiver, and its connections. That receiver must
            have ended when `run` is called. Until then nothing is read and nothing is written.
        wakeup: The descriptor of the workers' wakeup, if they have one.
        channel: The descriptor of the channel from the TLS processes, if there is one.
        clock: The wall clock, in seconds since the epoch.

    Raises:
        FastlogError: The journal is damaged, or the handover state cannot be used.
    """

    def __init__(
        self,
        config: Config,
        listeners: Sequence[tuple[int, ListenConfig]],
        handed_over: tuple[HandoverState, list[ExportedConnection]] | None = None,
        wakeup: int | None = None,
        channel: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        state, connections = handed_over or (None, [])
        self._stopping = False
        self._housekeeping_at = time.monotonic()
        self._workers = None if wakeup is None else Wakeup(wakeup)
        self._journal_wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Wakes the loop when the journal is durable up to a new offset."""
        self._events = EventLog(log, {"dropped": DROPPED_INTERVAL})
        clients = Clients()
        journal = self._journal = _open_journal(config, clock, clients, state, self._on_durable)
        loop = self._loop = _make_loop(config, self._on_block, len(connections))
        loop.watch(self._journal_wakeup)
        for fd, listen in listeners:
            loop.listen(fd, stock=listen.stock, auth=listen.auth == "required")
        _warn(config.listen)
        self._notices = LossNotices(clock)
        self._rejections = Rejections(loop, self._notices, self._events, clock)
        self._tls = None if channel is None else TlsConnections(channel, loop, self._rejections)
        self._window = SendWindow(config, loop, journal)
        protocol = HandshakeProtocol(
            bytes.fromhex(journal.node),
            clients,
            _secrets_by_key(config.auth.keys),
            self._window.session_parameters,
            clock,
        )
        self._handshakes = ClientHandshakes(loop, journal, protocol, self._rejections, self._events)
        self._segments = SegmentRelease(config, journal, self._handshakes)
        self._backpressure = Backpressure(
            config,
            loop,
            journal,
            self._handshakes,
            self._segments,
            self._notices,
            self._events,
        )
        holding = [sink.name for sink in config.sinks if sink.when_full == "hold"]
        self._throttle = Throttle(loop, config.limits, config.data_dir, journal.node, holding)
        self._throttle_log = ThrottleLog(loop, self._throttle)
        self._status = Status(
            config, loop, journal, self._notices, self._rejections, self._throttle, clock
        )
        leftovers = Leftovers(config.data_dir)
        self._handover = Handover(
            loop,
            journal,
            protocol,
            self._handshakes,
            self._backpressure,
            self._rejections,
            self._notices,
            self._status,
            self._events,
        )
        self._shutdown = Shutdown(
            loop,
            journal,
            self._handshakes,
            self._backpressure,
            self._rejections,
            self._notices,
            leftovers,
            self._status,
            self._throttle,
            self._events,
        )
        self._window.update()
        if state is None:
            leftovers.append_to(journal, self._notices)
        else:
            self._handover.restore(state, connections)

    def watch(self, fd: int) -> None:
        """Let a readable `fd` wake the loop."""
        self._loop.watch(fd)

    def stop(self) -> None:
        """Make `run` drain and return soon."""
        self._stopping = True

    def run(self, woken: Callable[[], None]) -> None:
        """Receive until `stop`, then drain the connections and close the journal.

        Args:
            woken: Called when a watched descriptor may be readable; it has to read it.
        """
        try:
            if revoked := self._handshakes.close_revoked():
                log.warning("closed %d connections: their key left the configuration", revoked)
            while not self._stopping:
                self._poll(woken)
            self._shutdown.drain(lambda seconds: self._poll(woken, seconds))
            self._throttle_log.update(final=True)
        finally:
            self._shutdown.finish()
            os.close(self._journal_wakeup)

    def freeze(self) -> tuple[HandoverState, list[int]]:
        """Stop reading and return the state for the next receiver; see `Handover.freeze`."""
        self._throttle_log.update(final=True)
        return self._handover.freeze()

    def thaw(self, state: HandoverState) -> None:
        """Resume after a handover that failed; see `Handover.thaw`."""
        self._handover.thaw(state)

    # ---- a poll -------------------------------------------------------------------------------

    def _poll(self, woken: Callable[[], None], timeout: float = HOUSEKEEPING_INTERVAL) -> None:
        result = self._loop.poll(min(timeout, self._timeout()))
        if result.woken:
            with contextlib.suppress(BlockingIOError):  # another descriptor woke the loop
                os.eventfd_read(self._journal_wakeup)
            if self._tls is not None:
                self._tls.take()
            woken()
        if result.rejections:
            self._rejections.collect()
        self._backpressure.retry()
        self._handshakes.acknowledge()
        if result.events:
            self._handshakes.process_events()
        self._throttle.update(self._journal.end, self._journal.index, self._journal.durable)
        if time.monotonic() >= self._housekeeping_at:
            self._do_housekeeping()
        crash = self._journal.crash
        if isinstance(crash, FastlogError):
            raise crash
        if crash is not None:
            raise FastlogError(f"the journal's thread failed: {crash!r}")

    def _timeout(self) -> float:
        timeout = max(0.0, self._housekeeping_at - time.monotonic())
        timeout = min(timeout, self._throttle.timeout())
        return timeout if self._backpressure.pending is None else min(timeout, RETRY_INTERVAL)

    def _on_block(self, runs: bytes, frames: int) -> None:
        """Called by the loop, at most once per poll."""
        self._backpressure.append(runs, frames)

    def _on_durable(self, durable: int) -> None:
        """Called by the journal's thread.

        The sinks can read more, the pending block may fit, and acknowledgements are due.
        """
        if self._workers is not None:
            self._workers.notify(durable)
        if self._backpressure.pending is not None or self._handshakes.is_waiting():
            os.eventfd_write(self._journal_wakeup, 1)

    def _do_housekeeping(self) -> None:
        self._housekeeping_at = time.monotonic() + HOUSEKEEPING_INTERVAL
        self._backpressure.update_progress()
        self._journal.look()
        self._segments.release()
        self._window.update()
        self._rejections.collect_unreported()
        self._notices.append_to(self._journal)
        self._throttle_log.update()
        self._events.flush()
        self._status.write()


# ---- the start --------------------------------------------------------------------------------


def _open_journal(
    config: Config,
    clock: Callable[[], float],
    clients: Clients,
    state: HandoverState | None,
    on_durable: Callable[[int], None],
) -> Journal:
    """Open the journal, and fill the client table from it or from the handover state."""
    directory = config.data_dir / "journal"
    snapshot = read_snapshot(directory) if state is None else state.clients
    snapshot_offset = snapshot.offset if snapshot is not None else 0
    if snapshot is not None:
        clients.load(snapshot.content)

    def visit(block: Block) -> None:
        if block.offset >= snapshot_offset:
            for run in runs(block.payload):
                clients.update_from_run(run, block.received_us)

    journal = Journal(
        directory,
        segment=config.journal.segment,
        size=config.journal.size,
        memory=config.journal.memory,
        clock=clock,
        visit=visit,
        on_durable=on_durable,
        consequence=_consequence(config),
        state=None if state is None else state.journal,
    )
    if state is None and snapshot_offset < journal.oldest:
        log.error(
            "%s: the client table is missing or damaged: clients that were disconnected count as "
            "new, and may send records again that were acknowledged",
            directory,
        )
    return journal


def _consequence(config: Config) -> str:
    """Return what happens to records while the journal cannot be written."""
    memory = format_size(config.journal.memory)
    if config.journal.when_full == "pause":
        return f"records wait in memory ({memory}), then no client is read until it can"
    return (
        f"records wait in memory ({memory}), then those of stock clients are dropped and counted; "
        "fastlog clients keep theirs"
    )


def _make_loop(config: Config, on_block: Callable[[bytes, int], None], handed_over: int) -> Loop:
    """Make the loop.

    Args:
        config: The whole configuration.
        on_block: Gets the blocks.
        handed_over: The number of connections of the previous receiver, which always fit.
    """
    limits = config.limits
    affordable = _affordable(limits.connections)
    return Loop(
        on_block,
        max_frame=limits.max_frame,
        max_connections=max(affordable, handed_over),
        connections_per_host=limits.connections_per_host or max(1, affordable // 2),
        partial_memory=max(limits.partial_memory, limits.max_frame + LENGTH.size),
        keepalive=config.clients.keepalive,
        tcp_keepalive=limits.tcp_keepalive,
    )


def _affordable(connections: int) -> int:
    """Return as many connections as the limit of open files allows."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or connections <= limit - RESERVED_FILES:
        return connections
    most = max(1, limit - RESERVED_FILES)
    log.warning("%d connections at most: the system allows %d open files", most, limit)
    return most


def _warn(listeners: Sequence[ListenConfig]) -> None:
    """Warn of listeners that anybody can use from other machines."""
    for listen in listeners:
        if listen.stock and not listen.client_ca and _is_public(listen.url):
            log.warning(
                "%s admits unauthenticated clients, from other machines too; "
                'set stock = false and auth = "required" to reject them',
                listen.url,
            )


def _is_public(url: str) -> bool:
    """Return whether other machines can reach this address."""
    host = urlsplit(url).hostname
    if host is None or host == "localhost":
        return False  # a Unix socket, or loopback
    try:
        return not ip_address(host).is_loopback
    except ValueError:  # a name
        return True


def _secrets_by_key(texts: Sequence[str]) -> dict[str, list[bytes]]:
    """Return the secrets of each key id, from the configuration's `ID:SECRET`."""
    keys: dict[str, list[bytes]] = {}
    for text in texts:
        name, _, secret = text.partition(":")
        keys.setdefault(name, []).append(secret.encode())
    return keys
