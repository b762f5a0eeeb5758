"""The supervisor: owns the pid, the lock and the listeners; starts and restarts the others.

It does no work of its own, so there is little that could make it fail. Its pid is the service's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from fastlog.child import log_to_stderr
from fastlog.config import Config, to_json
from fastlog.errors import FastlogError
from fastlog.server import datadir, listeners
from fastlog.server.process import Process
from fastlog.version import __version__

log = logging.getLogger(__name__)

START = 30.0
"""Seconds that the children have to say READY when the service starts."""
RECEIVER_END = 20.0
"""Seconds that the receiver has to drain and to journal."""
WORKER_END = 15.0
"""Seconds that the workers have to store what is journaled; the rest waits for the next start."""


def serve(config: Config, reload: Callable[[], Config]) -> int:
    """Runs the service until SIGTERM or SIGINT.

    Args:
        config: The configuration.
        reload: Reads it again, for SIGHUP.

    Returns:
        The exit status.

    Raises:
        FastlogError: It cannot start, or cannot go on; the text says why.
    """
    log_to_stderr("supervisor", config.log.level)
    lock = datadir.own(config.data_dir)
    try:
        bound = listeners.bind([listen.url for listen in config.listen])
        try:
            Supervisor(config, reload, bound, lock).run()
        finally:
            listeners.close(bound)
    finally:
        os.close(lock)
    return 0


class Supervisor:
    """See the module. `lock` and the listeners stay the caller's."""

    def __init__(
        self,
        config: Config,
        reload: Callable[[], Config],
        bound: list[socket.socket],
        lock: int,
    ) -> None:
        self._config, self._read_config = config, reload
        self._listeners, self._lock = bound, lock
        self._selector = selectors.DefaultSelector()
        self._stopping = self._reloading = False
        fds = ",".join(str(listener.fileno()) for listener in bound)
        self._receiver = Process("receiver", "fastlog.receiver", ["--listen-fds", fds], 5.0)
        self._workers = {sink.name: _worker(sink.name) for sink in config.sinks}

    def run(self) -> None:
        """Starts everything, and watches it until a signal says to stop.

        Raises:
            FastlogError: A child says that it cannot go on.
        """
        with self._signals():
            try:
                self._start_all()
                print(self._ready_line(), flush=True)
                while not self._stopping:
                    self._turn()
            finally:
                self._stop_all()

    # ---- the start ------------------------------------------------------------------------

    def _start_all(self) -> None:
        """The receiver first: only its journal knows what the workers may read."""
        self._start(self._receiver)
        self._await([self._receiver])
        for worker in self._workers.values():
            self._start(worker)
        self._await(list(self._workers.values()))

    def _await(self, started: list[Process]) -> None:
        deadline = time.monotonic() + START
        while not self._stopping and not all(process.ready for process in started):
            if time.monotonic() > deadline:
                late = ", ".join(process.role for process in started if not process.ready)
                raise FastlogError(f"{late} did not start within {START:.0f} s")
            self._turn(0.5)
            for process in started:
                if process.fatal is not None:
                    raise process.fatal

    def _start(self, process: Process) -> None:
        inherit = [self._lock]
        if process is self._receiver:
            inherit += [listener.fileno() for listener in self._listeners]
        process.start(to_json(self._config), inherit)
        log.debug("%s: started, pid %d", process.role, process.pid)
        for fd in process.filenos():
            self._selector.register(fd, selectors.EVENT_READ, process)

    def _ready_line(self) -> str:
        urls = " ".join(listeners.url_of(listener) for listener in self._listeners)
        stores = " ".join(_store(self._config, sink.url) for sink in self._config.sinks)
        return f"fastlog-server {__version__} listening on {urls}; storing in {stores}"

    # ---- a turn ---------------------------------------------------------------------------

    def _turn(self, at_most: float | None = None) -> None:
        due = [p.start_at for p in self._processes() if p.start_at is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        if at_most is not None:
            timeout = at_most if timeout is None else min(timeout, at_most)
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, Process):
                self._hear(key.data)
            else:
                self._drain_signals(key.fileobj)
        if self._reloading and not self._stopping:
            self._reload()
        for process in self._processes():
            if process.start_at is not None and process.start_at <= time.monotonic():
                self._start(process)

    def _processes(self) -> list[Process]:
        return [self._receiver, *self._workers.values()]

    def _hear(self, process: Process) -> None:
        """It has said something, or ended."""
        if not process.lives:
            return  # the second event of its end
        process.read()
        filenos = process.filenos()
        how = process.ended()
        if how is None:
            return
        for fd in filenos:
            self._selector.unregister(fd)
        if process.fatal is not None and process is self._receiver:
            raise process.fatal
        log.error("%s %s; starting it again", process.role, process.fatal or how)

    # ---- signals --------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self):  # type: ignore[no-untyped-def]
        """Signals wake the selector; what they mean is noted by their handlers."""
        readable, wakeup = socket.socketpair()
        for end in (readable, wakeup):
            end.setblocking(False)
        self._selector.register(readable, selectors.EVENT_READ)
        handlers = {
            number: signal.signal(number, self._noted)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        before = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._selector.close()
            readable.close()
            wakeup.close()

    def _noted(self, number: int, _: object) -> None:
        if number == signal.SIGHUP:
            self._reloading = True
        else:
            self._stopping = True

    @staticmethod
    def _drain_signals(readable: object) -> None:
        assert isinstance(readable, socket.socket)
        with contextlib.suppress(BlockingIOError):
            readable.recv(4096)

    def _reload(self) -> None:
        """SIGHUP: the workers go on with the new configuration, each at the end of a block."""
        self._reloading = False
        try:
            config = self._read_config()
        except FastlogError as error:
            log.error("reload: %s; going on as before", error)
            return
        if _receiving(config) != _receiving(self._config):
            log.warning("reload: listen, limits and journal change at the next start only")
        self._config = config
        self._receiver.send({"type": "sinks", "when_full": _when_full(config)})
        for worker in self._workers.values():
            self._forget(worker)
            worker.terminate()
        for worker in self._workers.values():
            worker.stop(WORKER_END)
        self._workers = {sink.name: _worker(sink.name) for sink in config.sinks}
        for worker in self._workers.values():
            self._start(worker)
        log.info("reload: done, sinks: %s", ", ".join(self._workers))

    # ---- the end --------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """The receiver first, so that the workers see all it has journaled."""
        self._receiver.terminate()
        self._receiver.stop(RECEIVER_END)
        for worker in self._workers.values():
            worker.terminate()
        for worker in self._workers.values():
            worker.stop(WORKER_END)

    def _forget(self, process: Process) -> None:
        if process.lives:
            for fd in process.filenos():
                self._selector.unregister(fd)


def _worker(name: str) -> Process:
    return Process(f"worker[{name}]", "fastlog.worker", ["--sink", name], 30.0)


def _when_full(config: Config) -> dict[str, str]:
    return {sink.name: sink.when_full for sink in config.sinks}


def _receiving(config: Config) -> tuple[object, ...]:
    """What a receiver that runs has taken in already."""
    return config.data_dir, config.listen, config.limits, config.journal


def _store(config: Config, url: str) -> str:
    """Where a sink stores, without a password."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return parts.path or str(config.data_dir / "logs")
    if parts.password:
        return url.replace(f":{parts.password}@", ":…@", 1)
    return url
