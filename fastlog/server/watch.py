"""The supervisor's poll loop: messages and ends of children, signals, and due times.

All waiting of the supervisor happens here, so that the children are watched at any time.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator

from fastlog.errors import ConfigError, JournalDamagedError
from fastlog.server.life_watch import LifeWatch
from fastlog.server.process import Process
from fastlog.server.process_counts import ProcessCounts
from fastlog.server.service_manager import ServiceManager

log = logging.getLogger(__name__)

PERMANENT = (ConfigError, JournalDamagedError)
"""Errors of the receiver that a restart cannot repair."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Watch:
    """Watches the children, and the signals of this process."""

    def __init__(self, lives: LifeWatch, manager: ServiceManager, counts: ProcessCounts) -> None:
        self._lives, self._manager, self.counts = lives, manager, counts
        self._selector = selectors.DefaultSelector()
        self.processes: list[Process] = []
        """All children that are alive or are to be restarted."""
        self.stopping = False
        """Whether SIGTERM or SIGINT was received."""
        self.reloading = False
        """Whether SIGHUP was received; the caller that reloads sets it to false."""

    # ---- children -------------------------------------------------------------------------

    def start(self, process: Process, more: dict[str, int] | None = None) -> None:
        """Start the process, and watch it from now on.

        Args:
            more: As for `Process.start`.

        Raises:
            OSError: The process cannot be started.
        """
        process.start(more)
        log.debug("%s: started, pid %d", process.role, process.pid)
        self.add(process)

    def add(self, process: Process) -> None:
        """Watch a process that is alive, or start it when it is due."""
        if process not in self.processes:
            self.processes.append(process)
        if process.is_alive:
            for fd in process.filenos():
                self._selector.register(
                    fd, selectors.EVENT_READ, lambda: self._on_readable(process)
                )

    def keep_alive(self, process: Process) -> None:
        """Restart the process whenever it ends; now, if it is not alive."""
        process.restarts = True
        self.counts.expect(process.role)
        if not process.is_alive:
            process.start_at = time.monotonic()
            self.add(process)

    def forget(self, process: Process) -> None:
        """Do not restart the process when it ends, and then stop watching it."""
        process.restarts = False
        process.start_at = None
        if not process.is_alive and process in self.processes:
            self.processes.remove(process)

    def _on_readable(self, process: Process) -> None:
        if not process.is_alive:
            return  # its socket and its pidfd both became readable; the other event handled it
        filenos, was_requested = process.filenos(), process.stop_requested
        process.read()
        if not process.ended():
            return
        for fd in filenos:
            self._selector.unregister(fd)
        if not process.restarts:
            self.forget(process)
        elif not was_requested:
            if not process.name and isinstance(process.fatal, PERMANENT):
                raise process.fatal
            self.counts.failed(process.role)
            log.error("%s %s; starting it again", process.role, process.fatal or process.exit_text)

    def _start_again(self, process: Process) -> None:
        try:
            self.start(process)
        except OSError as error:  # memory or descriptors may be free later
            log.error("cannot start %s: %s; trying again", process.role, error.strerror)
            process.schedule_restart()

    # ---- time -----------------------------------------------------------------------------

    def poll(self, at_most: float | None = None) -> None:
        """Wait for events, at most `at_most` seconds, and handle them.

        Raises:
            FastlogError: The receiver reports an error that a restart cannot repair.
        """
        due = [when for process in self.processes if (when := process.due()) is not None]
        due += [self._lives.due(), self._manager.due()]
        timeout = max(0.0, min(due) - time.monotonic())
        if at_most is not None:
            timeout = min(timeout, at_most)
        for key, _ in self._selector.select(timeout):
            key.data()
        for process in self._lives.check(self.processes):
            # One that serves its last connections has its pid in its role.
            role = process.role if process.restarts else process.role.partition("[")[0]
            self.counts.failed(role, hung=True)
        self._manager.ping()
        for process in list(self.processes):
            process.kill_if_overdue()
            if process.start_at is not None and process.start_at <= time.monotonic():
                self._start_again(process)

    def wait_until(self, condition: Callable[[], object], seconds: float | None = None) -> bool:
        """Poll until the condition holds; return false if it does not within `seconds`."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not condition():
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return False
            self.poll(remaining)
        return True

    @contextlib.contextmanager
    def also_polling(self, fd: int) -> Iterator[None]:
        """Let a readable descriptor end a poll, too."""
        self._selector.register(fd, selectors.EVENT_READ, lambda: None)
        try:
            yield
        finally:
            self._selector.unregister(fd)

    # ---- signals --------------------------------------------------------------------------

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Handle `SIGNALS`: each wakes the selector, and sets `stopping` or `reloading`."""
        readable, wakeup = socket.socketpair()
        for end in (readable, wakeup):
            end.setblocking(False)

        def drain() -> None:
            with contextlib.suppress(BlockingIOError):
                readable.recv(4096)

        self._selector.register(readable, selectors.EVENT_READ, drain)
        handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        before = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        # The previous supervisor has blocked them.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._selector.close()
            readable.close()
            wakeup.close()

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGHUP:
            self.reloading = True
        else:
            self.stopping = True
