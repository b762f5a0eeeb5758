"""The supervisor: owns the pid, the lock and the listeners; starts and restarts the others.

It does no work of its own, so there is little that could make it fail. Its pid is the service's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from fastlog.child import log_to_stderr
from fastlog.config import Config
from fastlog.errors import FastlogError
from fastlog.files import set_access
from fastlog.journal import make_wakeup
from fastlog.server import datadir, listeners, state
from fastlog.server.plan import make_plan
from fastlog.server.process import Process
from fastlog.server.reload import reload
from fastlog.server.service import WORKER_END, Inherited, Service
from fastlog.version import __version__

log = logging.getLogger(__name__)

SLOW_START = 10.0
"""Seconds after which a start that takes long is mentioned, again and again."""
RECEIVER_END = 20.0
"""Seconds that the receiver has to drain and to journal."""


def serve(config: Config) -> int:
    """Runs the service until SIGTERM or SIGINT.

    Returns:
        The exit status.

    Raises:
        FastlogError: It cannot start, or cannot go on; the text says why.
    """
    log_to_stderr("supervisor", config.log.level)
    allow_many_files()
    plan = make_plan(config)
    set_access(plan.files)
    lock = datadir.own(Path(plan.data_dir), plan.files)
    inherited = Inherited(lock, make_wakeup())
    try:
        bound = listeners.bind(plan.listen, plan.sockets)
    except FastlogError:
        inherited.close()
        raise
    service = Service.of(plan, inherited, bound)
    try:
        Supervisor(service).run()
    finally:
        service.close()
    return 0


def resume(memory: int) -> int:
    """Goes on with the service of the supervisor that this process was before.

    Args:
        memory: The descriptor of the state that it has left.

    Returns:
        The exit status.

    Raises:
        FastlogError: It cannot go on; the text says why.
    """
    service = state.resume(memory)
    log_to_stderr("supervisor", service.plan.log_level)
    set_access(service.plan.files)
    try:
        Supervisor(service).go_on()
    finally:
        service.close()
    return 0


def allow_many_files() -> None:
    """Lets this process and its children open as many files as the system lets them at most."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Supervisor:
    """See the module. The service stays the caller's to close."""

    def __init__(self, service: Service) -> None:
        self._service, self._watch = service, service.watch

    def run(self) -> None:
        """Starts everything, and watches it until a signal says to stop.

        Raises:
            FastlogError: A child says that it cannot go on.
        """
        with self._until_the_end():
            self._start_all()
            if not self._watch.stopping:
                print(self._service.ready_line(), flush=True)
                log.info("started, pid %d; sinks: %s", os.getpid(), self._sinks())
            self._watch_all()

    def go_on(self) -> None:
        """Watches what runs already, until a signal says to stop.

        Raises:
            FastlogError: A child says that it cannot go on.
        """
        with self._until_the_end():
            log.info("reload: done, fastlog %s; sinks: %s", __version__, self._sinks())
            self._watch_all()

    @contextlib.contextmanager
    def _until_the_end(self) -> Iterator[None]:
        with self._watch.signals():
            try:
                yield
            finally:
                self._stop_all()
        log.info("stopped")

    def _sinks(self) -> str:
        return ", ".join(self._service.workers)

    def _watch_all(self) -> None:
        while not self._watch.stopping:
            if self._watch.reloading:
                self._watch.reloading = False
                reload(self._service)
            self._watch.until(lambda: self._watch.stopping or self._watch.reloading)

    # ---- the start ------------------------------------------------------------------------

    def _start_all(self) -> None:
        """The receiver first: only its journal knows what the workers may read."""
        receiver, workers = self._service.receiver, list(self._service.workers.values())
        self._start(receiver)
        self._await(receiver)
        for worker in workers:
            if not self._watch.stopping:
                self._start(worker)
        for worker in workers:
            self._await(worker)
        for process in (receiver, *workers):
            if not self._watch.stopping:
                self._watch.mend(process)

    def _start(self, process: Process) -> None:
        process.mended = False  # a start that fails ends the service, and says why once
        self._watch.start(process)

    def _await(self, process: Process) -> None:
        """Waits for its READY. A long journal takes its time to be read, so there is no deadline:
        it becomes ready, says why not, or ends."""
        patience = time.monotonic() + SLOW_START
        while not (self._watch.stopping or process.ready):
            self._watch.turn(0.5)
            if process.fatal is not None:
                raise process.fatal
            if not process.lives:
                raise FastlogError(f"{process.role} ended while it was starting")
            if time.monotonic() > patience:
                log.info("still waiting for %s to start", process.role)
                patience = time.monotonic() + SLOW_START

    # ---- the end --------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """The receiver first, so that the workers see all it has journaled."""
        self._watch.stopping = True
        everyone = list(self._watch.processes)
        for process in everyone:
            self._watch.leave(process)
        self._end([process for process in everyone if not process.name], RECEIVER_END)
        self._end([process for process in everyone if process.name], WORKER_END)

    def _end(self, processes: list[Process], patience: float) -> None:
        for process in processes:
            process.terminate(patience)
        self._watch.until(lambda: not any(process.lives for process in processes))
