"""The supervisor: owns the pid, the lock and the listeners; starts and restarts the others.

It does no work of its own, so there is little that could make it fail. Its pid is the service's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import msgspec

from fastlog.child import log_to_stderr
from fastlog.config import Config, to_json
from fastlog.errors import ConfigError, FastlogError, JournalDamagedError
from fastlog.server import datadir, listeners
from fastlog.server.process import Process
from fastlog.sinks import SinkContext, make_sink
from fastlog.version import __version__

log = logging.getLogger(__name__)

SLOW_START = 10.0
"""Seconds after which a start that takes long is mentioned, again and again."""
RECEIVER_END = 20.0
"""Seconds that the receiver has to drain and to journal."""
WORKER_END = 15.0
"""Seconds that the workers have to store what is journaled; the rest waits for the next start."""
LASTING = (ConfigError, JournalDamagedError)
"""What no new try will mend."""


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
    allow_many_files()
    lock = datadir.own(config.data_dir)
    try:
        bound = listeners.bind([listen.url for listen in config.listen])
        try:
            Supervisor(config, reload, bound, lock).run()
        finally:
            listeners.close([listener for group in bound for listener in group])
    finally:
        os.close(lock)
    return 0


def allow_many_files() -> None:
    """Lets this process and its children open as many files as the system lets them at most."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Supervisor:
    """See the module. `lock` and the listeners stay the caller's."""

    def __init__(
        self,
        config: Config,
        reload: Callable[[], Config],
        bound: list[list[socket.socket]],
        lock: int,
    ) -> None:
        self._config, self._read_config = config, reload
        self._listeners, self._lock = [one for group in bound for one in group], lock
        self._selector = selectors.DefaultSelector()
        self._starting = self._stopping = self._reloading = False
        fds = ";".join(",".join(str(one.fileno()) for one in group) for group in bound)
        self._receiver = Process("", "receiver", "fastlog.receiver", ["--listen-fds", fds], 5.0)
        self._workers = {sink.name: _worker(sink.name) for sink in config.sinks}

    def run(self) -> None:
        """Starts everything, and watches it until a signal says to stop.

        Raises:
            FastlogError: A child says that it cannot go on.
        """
        with self._signals():
            try:
                self._start_all()
                if not self._stopping:
                    print(self._ready_line(), flush=True)
                    log.info("started, pid %d; sinks: %s", os.getpid(), ", ".join(self._workers))
                while not self._stopping:
                    self._turn()
            finally:
                self._stop_all()
            log.info("stopped")

    # ---- the start ------------------------------------------------------------------------

    def _start_all(self) -> None:
        """The receiver first: only its journal knows what the workers may read."""
        self._starting = True
        self._start(self._receiver)
        self._await(self._receiver)
        for worker in self._workers.values():
            if not self._stopping:
                self._start(worker)
        for worker in self._workers.values():
            self._await(worker)
        self._starting = False

    def _await(self, process: Process) -> None:
        """Waits for its READY. A long journal takes its time to be read, so there is no deadline:
        it becomes ready, says why not, or ends."""
        patience = time.monotonic() + SLOW_START
        while not (self._stopping or process.ready):
            self._turn(0.5)
            if process.fatal is not None:
                raise process.fatal
            if not process.lives:
                raise FastlogError(f"{process.role} ended while it was starting")
            if time.monotonic() > patience:
                log.info("still waiting for %s to start", process.role)
                patience = time.monotonic() + SLOW_START

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
        due = [when for process in self._processes() if (when := process.due()) is not None]
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
            process.kill_late()
            start_at = None if self._stopping else process.start_at
            if start_at is not None and start_at <= time.monotonic():
                self._start_again(process)

    def _processes(self) -> list[Process]:
        return [self._receiver, *self._workers.values()]

    def _start_again(self, process: Process) -> None:
        if process is not self._receiver and not self._is_configured(process):
            del self._workers[process.name]  # a reload took it out of the configuration
            return
        try:
            self._start(process)
        except OSError as error:  # no memory or no descriptor now: there may be later
            log.error("cannot start %s: %s", process.role, error.strerror)
            process.try_later()

    def _is_configured(self, worker: Process) -> bool:
        return any(sink.name == worker.name for sink in self._config.sinks)

    def _hear(self, process: Process) -> None:
        """It has said something, or ended."""
        if not process.lives:
            return  # the second event of its end
        process.read()
        filenos = process.filenos()
        was_asked = process.asked_to_end
        how = process.ended()
        if how is None:
            return
        for fd in filenos:
            self._selector.unregister(fd)
        if self._starting:
            process.start_at = None  # a start that fails ends the service, and says why once
        if self._starting or self._stopping or was_asked:
            return
        if process is self._receiver and isinstance(process.fatal, LASTING):
            raise process.fatal
        log.error("%s %s; starting it again", process.role, process.fatal or how)

    # ---- signals --------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
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
        """SIGHUP: the workers go on with the new configuration, each at the end of a block.

        What the receiver has taken in stays as it is until the service is started anew.
        """
        self._reloading = False
        try:
            config = self._read_config()
            for sink in config.sinks:
                url = urlsplit(sink.url)
                make_sink(SinkContext(sink.name, url, config.data_dir, config.retention))
        except FastlogError as error:
            log.error("reload: %s; going on as before", error)
            return
        old = self._config
        kept = msgspec.structs.replace(
            config, data_dir=old.data_dir, listen=old.listen, limits=old.limits, journal=old.journal
        )
        if kept != config:
            log.warning(
                "reload: data_dir, listen, limits and journal change at the next start only"
            )
        self._config = kept
        self._receiver.send({"type": "sinks", "when_full": _when_full(kept)})
        for worker in self._workers.values():
            worker.terminate(WORKER_END)
        for sink in kept.sinks:
            if sink.name not in self._workers:
                self._workers[sink.name] = worker = _worker(sink.name)
                worker.start_at = time.monotonic()
        log.info("reload: done; sinks: %s", ", ".join(sink.name for sink in kept.sinks))

    # ---- the end --------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """The receiver first, so that the workers see all it has journaled."""
        self._stopping = True
        self._end([self._receiver], RECEIVER_END)
        self._end(list(self._workers.values()), WORKER_END)

    def _end(self, processes: list[Process], patience: float) -> None:
        for process in processes:
            process.start_at = None
            process.terminate(patience)
        while any(process.lives for process in processes):
            self._turn()
            for process in processes:
                process.start_at = None


def _worker(name: str) -> Process:
    return Process(name, f"worker[{name}]", "fastlog.worker", ["--sink", name], 30.0)


def _when_full(config: Config) -> dict[str, str]:
    return {sink.name: sink.when_full for sink in config.sinks}


def _store(config: Config, url: str) -> str:
    """Where a sink stores, without a password."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return parts.path or str(config.data_dir / "logs")
    if parts.password:
        return url.replace(f":{parts.password}@", ":…@", 1)
    return url
