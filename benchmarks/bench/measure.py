"""Measure one run of a server in a case."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from usage import Sampler, measure

from bench.cases import Case
from bench.load import Account, Load
from bench.output import Output
from bench.pages import prepare
from bench.results import Memory, Run
from bench.servers import Server

EVERY = 0.05
"""Seconds between two checks of what is stored."""
SAMPLE_EVERY = 0.25
SETTLED = 0.25
"""Seconds without a change after which the lines are counted."""
SETTLE_IDLE = 1.5
"""Seconds after which the memory of an idle server is measured."""


class Cores(NamedTuple):
    """The cores of both sides; empty: all."""

    server: Collection[int] = ()
    load: Collection[int] = ()


def allow_open_files() -> None:
    """Raise the limit of open files to the hard limit, for this process and its children: many
    systems allow fewer than a thousand connections by default."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cores_for(case: Case) -> Cores:
    """Return one core for the server if the case needs that, and the others for the generator."""
    if not case.one_core:
        return Cores()
    first, *rest = sorted(os.sched_getaffinity(0))
    return Cores({first}, rest or {first})


def measure_run(server: Server, case: Case, home: Path) -> Run:
    """Run the server in `home`, send the records of the case, and check what is stored.

    Raises:
        ServerError: it does not start.
        LoadError: it cannot be reached.
    """
    cores = cores_for(case)
    with (
        server.start(home, cores.server) as running,
        Load(case, running.port, server.feed, cores.load) as load,
    ):
        prepare(home, case)
        sampler = Sampler(running.pid, SAMPLE_EVERY)
        load.begin()
        _wait(load, running.output, sampler, case)
        account = load.account()
        stored_at = running.output.changed_at() if running.output.size() else account.closed
        if server.writes_late:
            stored_at = account.closed
    return _judge(server, case, sampler, account, stored_at, running.output)


def measure_memory(server: Server, connections: int, home: Path) -> Memory:
    """Measure a server without connections, and with many idle ones."""
    case = Case("memory", connections, 0)
    with server.start(home) as running:
        time.sleep(SETTLE_IDLE)
        idle = measure(running.pid).pss
        with Load(case, running.port, server.feed) as load:
            time.sleep(SETTLE_IDLE)
            loaded = measure(running.pid).pss
            load.begin()
            load.account()
    return Memory(server=server.name, idle=idle, connections=connections, loaded=loaded)


def _wait(load: Load, output: Output, sampler: Sampler, case: Case) -> None:
    """Wait until all is stored, or nothing more arrives; then the last sample is taken."""
    known, changed = output.size(), time.monotonic()
    counted = -1
    while True:
        time.sleep(EVERY)
        size, now = output.size(), time.monotonic()
        sampler.sample()
        if size != known:
            known, changed = size, now
        elif size != counted and now - changed > SETTLED and not load.running:
            sampler.sample(now=True)  # before the count, which competes with the server for the CPU
            counted = size
            if output.count() >= case.records:
                return
        if not load.running and now - changed > case.patience:
            return


def _judge(
    server: Server,
    case: Case,
    sampler: Sampler,
    account: Account,
    stored_at: float,
    output: Output,
) -> Run:
    found = output.check(case.records)
    faults = [] if found.whole else [found.in_words()]
    if account.failed:
        faults.append(f"{account.failed} connections broke")
    by_role = sampler.last.since(sampler.first)
    return Run(
        server=server.name,
        family=server.family,
        case=case.name,
        connections=case.connections,
        records=case.records,
        cpu=sum(by_role.values()),
        cpu_by_role=by_role,
        seconds=max(stored_at, account.end) - account.begin,
        peak_memory=sampler.peak_pss,
        load_cpu=account.cpu,
        load_seconds=account.seconds,
        missing=found.missing,
        doubled=found.doubled,
        unknown=found.unknown,
        faults="; ".join(faults),
    )
