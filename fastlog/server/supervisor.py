"""The supervisor: owns the pid, the lock and the listeners; starts and restarts its children.

It handles no records, so little can make it fail. Its pid is the pid of the service.
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
from fastlog.config import Config, check_places
from fastlog.errors import FastlogError
from fastlog.files import set_access
from fastlog.journal import make_wakeup
from fastlog.server import listeners, state
from fastlog.server.installed_source import check_source
from fastlog.server.installed_web import check_installed
from fastlog.server.lock import check_restored
from fastlog.server.lock import lock as lock_data_dir
from fastlog.server.plan import make_plan
from fastlog.server.process import Process
from fastlog.server.reload import reload
from fastlog.server.service import TLS, WORKER_END, Inherited, Service
from fastlog.server.service_manager import take_sockets
from fastlog.tls.report import remove_report
from fastlog.version import __version__

log = logging.getLogger(__name__)

SLOW_START = 10.0
"""Seconds between log lines that a child is still starting."""
RECEIVER_END = 20.0
"""Seconds that the receiver has to read what has arrived and to write it to the journal."""


def serve(config: Config) -> int:
    """Run the service until SIGTERM or SIGINT.

    Returns:
        The exit status.

    Raises:
        FastlogError: The service cannot start or continue; the text says why.
    """
    check_places(config)
    log_to_stderr("supervisor", config.log.level)
    allow_many_files()
    if config.web.url:
        check_installed()
    if config.source.url:
        check_source(config)
    plan = make_plan(config)
    set_access(plan.files)
    lock = lock_data_dir(Path(plan.data_dir), plan.files)
    inherited = Inherited.of(lock, make_wakeup())
    for remark in plan.remarks:
        log.warning("%s", remark)
    try:
        check_restored(Path(plan.data_dir))
        bound = listeners.bind(plan.listen, plan.sockets, take_sockets())
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
    """Continue the service of the supervisor whose program this process ran before.

    Args:
        memory: The descriptor of the state that it saved.

    Returns:
        The exit status.

    Raises:
        FastlogError: The service cannot continue; the text says why.
    """
    service = state.resume(memory)
    log_to_stderr("supervisor", service.plan.log_level)
    set_access(service.plan.files)
    try:
        Supervisor(service).resume()
    finally:
        service.close()
    return 0


def allow_many_files() -> None:
    """Raise the limit of open files to the hard limit, for this process and its children."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Supervisor:
    """Runs a service (see the module). The caller closes the service."""

    def __init__(self, service: Service) -> None:
        self._service, self._watch = service, service.watch

    def run(self) -> None:
        """Start all children, and watch them until a signal stops the service.

        Raises:
            FastlogError: A child reports that it cannot continue.
        """
        with self._stopping_at_end():
            self._start_all()
            if not self._watch.stopping:
                print(self._service.ready_line(), flush=True)
                self._tell_ready()
                log.info("started, pid %d; sinks: %s", os.getpid(), self._sinks())
            self._watch_all()

    def resume(self) -> None:
        """Watch the children that already run, until a signal stops the service.

        Raises:
            FastlogError: A child reports that it cannot continue.
        """
        with self._stopping_at_end():
            log.info("reload: done, fastlog %s; sinks: %s", __version__, self._sinks())
            self._tell_ready()
            self._watch_all()

    @contextlib.contextmanager
    def _stopping_at_end(self) -> Iterator[None]:
        with self._watch.signals():
            try:
                yield
            finally:
                self._stop_all()
        log.info("stopped")

    def _tell_ready(self) -> None:
        self._service.manager.ready(self._service.ready_line())

    def _sinks(self) -> str:
        return ", ".join(self._service.workers)

    def _watch_all(self) -> None:
        while not self._watch.stopping:
            if self._watch.reloading:
                self._watch.reloading = False
                self._service.manager.reloading()
                reload(self._service)
                self._tell_ready()  # the old server continues
            self._watch.wait_until(lambda: self._watch.stopping or self._watch.reloading)

    # ---- the start ------------------------------------------------------------------------

    def _start_all(self) -> None:
        """Start the receiver first: only its journal determines what the workers may read."""
        receiver, workers = self._service.receiver, list(self._service.workers.values())
        self._start(receiver)
        self._await(receiver)
        for worker in workers:
            if not self._watch.stopping:
                self._start(worker)
        for worker in workers:
            self._await(worker)
        service = self._service
        if service.tls is None:
            remove_report(Path(service.plan.data_dir))
        others = [each for each in (service.tls, service.source, service.web) if each is not None]
        for process in others:
            if not self._watch.stopping:
                self._start(process)
                self._await(process)
        for process in (receiver, *workers, *others):
            if not self._watch.stopping:
                self._watch.keep_alive(process)

    def _start(self, process: Process) -> None:
        process.restarts = False  # a start that fails ends the service, with one error
        self._watch.start(process)

    def _await(self, process: Process) -> None:
        """Wait until the process is ready, reports an error, or ends.

        There is no deadline, because reading a long journal takes long.
        """
        log_at = time.monotonic() + SLOW_START
        while not (self._watch.stopping or process.ready):
            self._watch.poll(0.5)
            if process.fatal is not None:
                raise process.fatal
            if not process.is_alive:
                raise FastlogError(f"{process.role} ended while it was starting")
            if time.monotonic() > log_at:
                log.info("still waiting for %s to start", process.role)
                log_at = time.monotonic() + SLOW_START

    # ---- the end --------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Stop the receiver first, so that the workers read all that it has journaled.

        Meanwhile the TLS processes go on with their connections, whose bytes it still reads.
        """
        self._watch.stopping = True
        self._service.manager.stopping()
        processes = list(self._watch.processes)
        for process in processes:
            self._watch.forget(process)
            if process.name.startswith(TLS):
                process.send({"type": "retire"})
        self._terminate([process for process in processes if not process.name], RECEIVER_END)
        self._terminate([process for process in processes if process.name], WORKER_END)

    def _terminate(self, processes: list[Process], seconds: float) -> None:
        for process in processes:
            process.terminate(seconds)
        self._watch.wait_until(lambda: not any(process.is_alive for process in processes))
