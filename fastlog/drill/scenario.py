"""The scenario of a drill with one server: the phases, with their clients and their faults."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from fastlog.drill.clients import Kind
from fastlog.drill.harness import Phase
from fastlog.drill.interrupts import Interrupts
from fastlog.drill.report import Outcome
from fastlog.drill.run import make_setting, run_phases
from fastlog.drill.server import KEEPALIVE
from fastlog.drill.server_harness import ServerHarness

SMALL = 192 * 1024
"""Bytes of memory that are full after less than two seconds without the server."""

STOCK = Kind("SocketHandler", "stock")
STOCK_VIA_PROXY = Kind("SocketHandler, proxy", "stock", via_proxy=True)
RECONNECTING = Kind("ReconnectingSocketHandler", "reconnecting")
MEMORY = Kind("fastlog", "fastlog")
MEMORY_VIA_PROXY = Kind("fastlog, proxy", "fastlog", via_proxy=True)
SMALL_MEMORY = Kind("fastlog, little memory", "fastlog", max_bytes=SMALL)
SPOOL = Kind("fastlog, spool", "fastlog", has_spool=True)
SPOOL_VIA_PROXY = Kind("fastlog, spool, proxy", "fastlog", has_spool=True, via_proxy=True)


# ---- the phases --------------------------------------------------------------------------------


def _reload(harness: ServerHarness) -> None:
    harness.pause(0.2, 0.5)
    while True:
        harness.reload()
        harness.pause(0.2, 0.6)
        if not harness.has_time():
            break


def _kill(harness: ServerHarness) -> None:
    receiver, worker = partial(harness.kill, "receiver"), partial(harness.kill, "worker")
    harness.inject([receiver, worker, harness.kill_everything])


def _freeze(harness: ServerHarness) -> None:
    silence = 3 * KEEPALIVE  # after it, a fastlog client takes the server for dead and reconnects
    harness.inject(
        [
            lambda: harness.freeze("receiver", silence + 0.2, silence + 0.6),
            lambda: harness.freeze("worker", 0.5, 1.5),
            lambda: harness.freeze(None, 0.5, 1.5),
        ],
    )


def _disturb_network(harness: ServerHarness) -> None:
    proxy = harness.proxy

    def cut() -> None:
        harness.record("cut connections at random bytes")
        proxy.choose_cut = lambda: harness.rng.randrange(1, 40_000)
        proxy.cut()
        harness.pause(1.0, 1.5)

    def discard() -> None:
        harness.record("discard all traffic")
        before = proxy.discarded
        proxy.discard()
        harness.pause(0.5, 1.0)
        harness.wait_for(lambda: proxy.discarded > before, "a byte is discarded")

    def drop_acks() -> None:
        harness.record("drop all acks")
        before = proxy.dropped_acks
        proxy.drops_acks = True
        harness.pause(1.0, 1.5)
        harness.wait_for(lambda: proxy.dropped_acks > before, "an ack is dropped")
        proxy.cut()

    def once_connected(fault: Callable[[], None]) -> None:
        half = len(harness.clients) // 2
        harness.wait_for(lambda: proxy.forwarding >= half, "half of the clients are connected")
        fault()
        proxy.clear_faults()

    faults = [partial(once_connected, fault) for fault in (cut, discard, drop_acks)]
    harness.inject(faults)


def _kill_clients(harness: ServerHarness) -> None:
    harness.pause(0.3, 0.6)
    harness.stop_server()
    harness.pause(0.3, 0.6)  # only the client holds what is logged now
    first = list(harness.clients)
    for client in first:
        harness.kill_client(client)
    harness.start_server()
    restarted = [
        harness.start_client(client.kind, f"{client.name}-again", client.spool)
        for client in first
        if client.kind.has_spool
    ]
    harness.wait_for_clients(restarted)
    harness.pause(0.3, 0.6)


def _all_at_once(harness: ServerHarness) -> None:
    proxy, rng = harness.proxy, harness.rng

    def disturb() -> None:
        rng.choice((proxy.cut, proxy.discard))()
        harness.pause(0.1, 0.3)
        proxy.clear_faults()

    proxy.choose_cut = lambda: rng.choice((None, rng.randrange(1, 100_000)))
    harness.inject(
        [
            harness.reload,
            harness.reload_and_kill_receiver,
            disturb,
            harness.kill_everything,
            lambda: harness.freeze("receiver", 0.3, 0.8),
        ],
    )


PHASES = (
    Phase("reloads", 0.15, (STOCK, STOCK, MEMORY, SPOOL), _reload, keeps_connections=True),
    Phase("kills", 0.15, (STOCK, RECONNECTING, MEMORY, MEMORY, SPOOL), _kill),
    Phase("freezes", 0.15, (STOCK, MEMORY, SMALL_MEMORY, SPOOL), _freeze),
    Phase(
        "a bad network",
        0.15,
        (STOCK_VIA_PROXY, MEMORY_VIA_PROXY, MEMORY_VIA_PROXY, SPOOL_VIA_PROXY),
        _disturb_network,
    ),
    Phase("clients killed", 0.05, (MEMORY, SPOOL, SPOOL), _kill_clients, kills_clients=True),
    Phase(
        "all at once",
        0.15,
        (STOCK, MEMORY, SPOOL, MEMORY_VIA_PROXY, SPOOL_VIA_PROXY),
        _all_at_once,
    ),
)


# ---- the whole ---------------------------------------------------------------------------------


def run(
    home: Path,
    seed: int,
    seconds: float,
    interrupts: Interrupts,
    progress: Callable[[str], None],
) -> Outcome:
    """Run all phases, stop everything, and compare what was sent with what is stored.

    Args:
        home: an empty directory.
        progress: called with a short text for each step.

    Raises:
        FastlogError: the drill could not be carried out.
    """
    setting = make_setting(home, seed, seconds, interrupts, progress)
    return run_phases(ServerHarness(setting), PHASES, seed)
