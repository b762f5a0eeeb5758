"""Waiting: for children to say something or to end, for signals, for what is due.

Whoever waits for anything in the supervisor waits here, so that the children are watched whatever
else is under way.
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
from fastlog.server.process import Process

log = logging.getLogger(__name__)

LASTING = (ConfigError, JournalDamagedError)
"""What no new try will mend, when it is the receiver that says so."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Watch:
    """The children, and the signals of this process."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.processes: list[Process] = []
        """All that live or are to be started again."""
        self.stopping = False
        """SIGTERM or SIGINT has come."""
        self.reloading = False
        """SIGHUP has come; whoever acts on it takes this back."""

    # ---- children -------------------------------------------------------------------------

    def start(self, process: Process, more: dict[str, int] | None = None) -> None:
        """Starts it, and watches it from now on.

        Raises:
            OSError: It cannot be started.
        """
        process.start(more)
        log.debug("%s: started, pid %d", process.role, process.pid)
        self.follow(process)

    def follow(self, process: Process) -> None:
        """Watches a process that lives, or that is to be started at its time."""
        if process not in self.processes:
            self.processes.append(process)
        if process.lives:
            for fd in process.filenos():
                self._selector.register(fd, selectors.EVENT_READ, lambda: self._hear(process))

    def mend(self, process: Process) -> None:
        """From now on its end is followed by a new start; by one at once if it does not live."""
        process.mended = True
        if not process.lives:
            process.start_at = time.monotonic()
            self.follow(process)

    def leave(self, process: Process) -> None:
        """From now on its end is the end of it."""
        process.mended = False
        process.start_at = None
        if not process.lives and process in self.processes:
            self.processes.remove(process)

    def _hear(self, process: Process) -> None:
        if not process.lives:
            return  # the second event of its end
        filenos, was_asked = process.filenos(), process.asked_to_end
        process.read()
        if not process.ended():
            return
        for fd in filenos:
            self._selector.unregister(fd)
        if not process.mended:
            self.leave(process)
        elif not was_asked:
            if not process.name and isinstance(process.fatal, LASTING):
                raise process.fatal
            log.error("%s %s; starting it again", process.role, process.fatal or process.how)

    def _start_again(self, process: Process) -> None:
        try:
            self.start(process)
        except OSError as error:  # no memory or no descriptor now: there may be later
            log.error("cannot start %s: %s", process.role, error.strerror)
            process.try_later()

    # ---- time -----------------------------------------------------------------------------

    def turn(self, at_most: float | None = None) -> None:
        """Waits until something happens, `at_most` seconds, and sees to it.

        Raises:
            FastlogError: The receiver says that it can never go on.
        """
        due = [when for process in self.processes if (when := process.due()) is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        if at_most is not None:
            timeout = at_most if timeout is None else min(timeout, at_most)
        for key, _ in self._selector.select(timeout):
            key.data()
        for process in list(self.processes):
            process.kill_late()
            if process.start_at is not None and process.start_at <= time.monotonic():
                self._start_again(process)

    def until(self, condition: Callable[[], object], seconds: float | None = None) -> bool:
        """Waits for a condition, which turns may bring about. False: not in that time."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not condition():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            self.turn(left)
        return True

    @contextlib.contextmanager
    def also(self, fd: int) -> Iterator[None]:
        """Lets a readable descriptor end a turn, too."""
        self._selector.register(fd, selectors.EVENT_READ, lambda: None)
        try:
            yield
        finally:
            self._selector.unregister(fd)

    # ---- signals --------------------------------------------------------------------------

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Signals wake the selector; what they mean is noted by their handlers."""
        readable, wakeup = socket.socketpair()
        for end in (readable, wakeup):
            end.setblocking(False)

        def drain() -> None:
            with contextlib.suppress(BlockingIOError):
                readable.recv(4096)

        self._selector.register(readable, selectors.EVENT_READ, drain)
        handlers = {number: signal.signal(number, self._noted) for number in SIGNALS}
        before = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # a supervisor before has blocked them
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
            self.reloading = True
        else:
            self.stopping = True
