"""The plan, the listeners and the children of one supervisor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fastlog.config import is_tls
from fastlog.server import listeners
from fastlog.server.life_watch import LifeWatch
from fastlog.server.listeners import Bound
from fastlog.server.plan import Plan
from fastlog.server.process import Process
from fastlog.server.process_counts import ProcessCounts
from fastlog.server.service_manager import ServiceManager
from fastlog.server.watch import Watch
from fastlog.tls import channel

RECEIVER_BACKOFF = 5.0
WORKER_BACKOFF = 30.0
WEB_BACKOFF = 30.0
SOURCE_BACKOFF = 30.0
"""The longest wait before a restart, in seconds."""
WEB = ":web"
"""The name of the web server's process, which no sink can have."""
SOURCE = ":source"
"""The name of the process that takes blocks from a stream."""
TLS = ":tls"
"""The same for the TLS process. One that only serves its last connections has its pid after it."""
TLS_BACKOFF = 5.0
WORKER_END = 15.0
"""Seconds that the workers have to store what is journaled; the next start stores the rest."""


class Inherited(NamedTuple):
    """Descriptors that children inherit under the same numbers."""

    lock: int
    """Holds the lock of the data directory."""
    wakeup: int
    """Wakes the workers (see `fastlog.journal.wakeup`)."""
    tls_to: int = -1
    tls_from: int = -1
    """The channel from TLS processes to the receiver (see `fastlog.tls.channel`)."""

    @classmethod
    def of(cls, lock: int, wakeup: int) -> Inherited:
        """Return these, with a new channel."""
        return cls(lock, wakeup, *channel.make())

    def close(self) -> None:
        """Close them, which unlocks the data directory."""
        for fd in self:
            os.close(fd)


@dataclass
class Service:
    """The parts of the service, which a reload replaces one by one."""

    plan: Plan
    inherited: Inherited
    bound: list[Bound]
    manager: ServiceManager
    watch: Watch
    receiver: Process
    workers: dict[str, Process]
    """By the name of the sink."""
    web: Process | None
    """The web server, if there is one."""
    source: Process | None
    """The process that takes blocks from a stream, if there is one."""
    tls: Process | None
    """The TLS process that accepts, if there are `tls://` listeners."""

    @classmethod
    def of(cls, plan: Plan, inherited: Inherited, bound: list[Bound]) -> Service:
        """Make a service whose children are not started yet."""
        workers = {name: make_worker(name, plan, inherited) for name in plan.sinks}
        receiver = make_receiver(plan, inherited, bound)
        web = make_web(plan, inherited) if plan.web else None
        source = make_source(plan, inherited) if plan.source else None
        data_dir = Path(plan.data_dir)
        manager = ServiceManager(data_dir / "status.json")
        watch = Watch(LifeWatch(data_dir), manager, ProcessCounts(data_dir))
        tls = make_tls(plan, inherited, bound)
        return cls(plan, inherited, bound, manager, watch, receiver, workers, web, source, tls)

    def process(self, name: str) -> Process | None:
        """Return a process by its name; None if the plan has none of this name."""
        if not name:
            return self.receiver
        special = {WEB: self.web, SOURCE: self.source, TLS: self.tls}
        return special[name] if name in special else self.workers.get(name)

    def ready_line(self) -> str:
        """Return the line that is printed when the service is ready."""
        urls = " ".join(url for bound in self.bound for url in bound.actual_urls())
        stores = " ".join(self.plan.stores)
        line = f"fastlog-server {self.plan.version} listening on {urls}; storing in {stores}"
        if self.plan.source:
            line += f"; taking blocks from {self.plan.source}"
        ready = self.web.messages.get("serving", {}) if self.web is not None else {}
        return f"{line}; page at {ready['url']}" if "url" in ready else line

    def close(self) -> None:
        """Close the listeners, and unlock the data directory."""
        listeners.close(self.bound)
        self.inherited.close()


def make_receiver(plan: Plan, inherited: Inherited, bound: list[Bound]) -> Process:
    """Make a receiver that is not started."""
    fds = [[listener.fileno() for listener in one.sockets] for one in bound]
    groups = ";".join(",".join(map(str, one)) for one in fds)
    return Process(
        "",
        "receiver",
        "fastlog.receiver",
        [
            *("--wakeup-fd", str(inherited.wakeup), "--listen-fds", groups),
            *("--channel-fd", str(inherited.tls_from)),
        ],
        RECEIVER_BACKOFF,
        config=plan.config,
        inherit=[
            *(inherited.lock, inherited.wakeup, inherited.tls_from),
            *(fd for one in fds for fd in one),
        ],
    )


def make_tls(plan: Plan, inherited: Inherited, bound: list[Bound]) -> Process | None:
    """Make a TLS process that is not started; None if there are no `tls://` listeners."""
    fds = [[each.fileno() for each in one.sockets] for one in bound if is_tls(one.url)]
    if not fds:
        return None
    groups = ";".join(",".join(map(str, one)) for one in fds)
    return Process(
        TLS,
        "tls",
        "fastlog.tls",
        ["--channel-fd", str(inherited.tls_to), "--listen-fds", groups],
        TLS_BACKOFF,
        config=plan.config,
        inherit=[inherited.lock, inherited.tls_to, *(fd for one in fds for fd in one)],
    )


def make_worker(name: str, plan: Plan, inherited: Inherited) -> Process:
    """Make a worker that is not started."""
    return Process(
        name,
        f"worker[{name}]",
        "fastlog.worker",
        ["--wakeup-fd", str(inherited.wakeup), "--sink", name],
        WORKER_BACKOFF,
        config=plan.config,
        inherit=[inherited.lock, inherited.wakeup],
    )


def make_web(plan: Plan, inherited: Inherited) -> Process:
    """Make a web server that is not started."""
    return Process(
        WEB, "web", "fastlog.web", [], WEB_BACKOFF, config=plan.config, inherit=[inherited.lock]
    )


def make_source(plan: Plan, inherited: Inherited) -> Process:
    """Make a source that is not started."""
    return Process(
        SOURCE, "source", "fastlog.source", [], SOURCE_BACKOFF, config=plan.config,
        inherit=[inherited.lock],
    )  # fmt: skip
