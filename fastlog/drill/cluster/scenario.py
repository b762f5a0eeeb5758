"""The scenario of a drill with a cluster: the phases, with their clients and their faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fastlog.drill.clients import Kind
from fastlog.drill.cluster.harness import ClusterHarness
from fastlog.drill.cluster.programs import Programs
from fastlog.drill.harness import Phase
from fastlog.drill.interrupts import Interrupts
from fastlog.drill.report import Outcome
from fastlog.drill.run import make_setting, run_phases
from fastlog.drill.server import DrillServer

Fault = Callable[[], None]

STOCK = Kind("SocketHandler", "stock")
MEMORY = Kind("fastlog", "fastlog")
SPOOL = Kind("fastlog, spool", "fastlog", has_spool=True)


# ---- the phases --------------------------------------------------------------------------------


def _disturb_cluster(harness: ClusterHarness) -> None:
    harness.inject([harness.kill_leader, harness.kill_majority, harness.flip_bit])


def _disturb_network(harness: ClusterHarness) -> None:
    collectors, centrals = harness.fleet.networks
    harness.inject(
        [
            partial(harness.cut, collectors),
            partial(harness.discard, collectors),
            partial(harness.cut, centrals),
        ]
    )


def _disturb_collectors(harness: ClusterHarness) -> None:
    faults = [_any_of(harness, harness.fleet.collectors, harness.reload)]
    if harness.fleet.disk is not None:
        faults.append(harness.fill_disk)
    harness.inject(faults)


def _kill_collectors(harness: ClusterHarness) -> None:
    collectors = harness.fleet.collectors
    harness.inject(
        [
            *(partial(harness.kill_everything, server) for server in collectors),
            _any_of(harness, collectors, harness.kill, "receiver"),
            _any_of(harness, collectors, harness.kill, "worker"),
        ]
    )


def _disturb_centrals(harness: ClusterHarness) -> None:
    harness.inject([harness.take_over, harness.lose_database, *_faults_of_centrals(harness)])


def _all_at_once(harness: ClusterHarness) -> None:
    collectors = harness.fleet.collectors
    faults: list[Fault] = [
        harness.kill_leader,
        harness.flip_bit,
        partial(harness.cut, harness.fleet.networks[0]),
        _any_of(harness, collectors, harness.reload),
        _any_of(harness, collectors, harness.kill_everything),
        *_faults_of_centrals(harness),
    ]
    if harness.fleet.disk is not None:
        faults.append(harness.fill_disk)
    harness.inject([partial(harness.lose_database_during, faults), harness.kill_majority])


def _faults_of_centrals(harness: ClusterHarness) -> list[Fault]:
    centrals = harness.fleet.centrals
    return [
        _any_of(harness, centrals, harness.kill, "source"),
        _any_of(harness, centrals, harness.kill_everything),
        _any_of(harness, centrals, harness.reload),
    ]


def _any_of(
    harness: ClusterHarness, servers: Sequence[DrillServer], fault: Callable[..., None], *more: str
) -> Fault:
    """Return a fault of one of these servers, which is chosen each time."""
    return lambda: fault(harness.rng.choice(servers), *more)


PHASES = (
    Phase(
        "servers of NATS killed", 0.2, (STOCK, MEMORY, SPOOL), _disturb_cluster,
        keeps_connections=True,
    ),
    Phase("a bad network", 0.15, (STOCK, MEMORY), _disturb_network, keeps_connections=True),
    Phase("collectors", 0.1, (STOCK, MEMORY, SPOOL), _disturb_collectors, keeps_connections=True),
    Phase("collectors killed", 0.15, (STOCK, MEMORY, SPOOL), _kill_collectors),
    Phase("centrals, database", 0.2, (STOCK, MEMORY), _disturb_centrals, keeps_connections=True),
    Phase("all at once", 0.2, (MEMORY, SPOOL, SPOOL), _all_at_once),
)  # fmt: skip


# ---- the whole ---------------------------------------------------------------------------------


def run(
    programs: Programs,
    home: Path,
    seed: int,
    seconds: float,
    interrupts: Interrupts,
    progress: Callable[[str], None],
) -> Outcome:
    """Run all phases, stop everything, and compare what was sent with what is stored.

    Args:
        home: An empty directory.
        progress: Called with a short text for each step.

    Raises:
        FastlogError: The drill could not be carried out.
    """
    setting = make_setting(home, seed, seconds, interrupts, progress)
    return run_phases(ClusterHarness(setting, programs), PHASES, seed)
