"""The supervisor's end of a child: started by exec, watched, started again with back-off."""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fastlog.errors import ConfigError, FastlogError, JournalDamagedError
from fastlog.server.spawn import describe, memory_file, reap, spawn

STEADY = 10.0
"""Seconds of life after which an end is news again, not one more of a series."""


class ProcessState(msgspec.Struct, kw_only=True):
    """A child, as one supervisor hands it to the next. Times are of the monotonic clock."""

    name: str
    pid: int
    """0: there is none now."""
    control: int
    """The descriptor of its control socket."""
    unread: str
    """The beginning of its next message."""
    ready: bool
    started: float
    delay: float
    asked_to_end: bool
    kill_at: float | None
    start_at: float | None


class Process:
    """One child, over all its lives.

    Args:
        name: The sink's, for a worker.
        role: What it is, for messages: `receiver`, `worker[sqlite]`.
        module: What is run, by `python -m`.
        arguments: For it, beside the descriptors of the contract (see `fastlog.child`).
        patience: The longest wait before it is started again, in seconds.
        config: What it is to read.
        inherit: Descriptors that it shall have under the same numbers.
    """

    def __init__(
        self,
        name: str,
        role: str,
        module: str,
        arguments: Sequence[str],
        patience: float,
        *,
        config: str,
        inherit: Sequence[int],
    ) -> None:
        self.name, self.role = name, role
        self._module, self._arguments, self._patience = module, arguments, patience
        self.config = config
        """For its next life."""
        self._inherit = inherit
        self._control: socket.socket | None = None
        self._pidfd = -1
        self._unread = b""
        self._started = 0.0
        self._delay = 0.0
        self._kill_at: float | None = None
        self.pid = 0
        """Of the process that lives; 0: there is none."""
        self.mended = True
        """Its end is followed by a new start."""
        self.asked_to_end = False
        """Its end is meant, and no reason to wait before the next start."""
        self.start_at: float | None = None
        """When it is to be started again, on the monotonic clock."""
        self.ready = False
        """This life has said READY."""
        self.fatal: FastlogError | None = None
        """Why this life said that it cannot go on."""
        self.said: dict[str, dict[str, Any]] = {}
        """Other messages of this life, the last of each type."""
        self.how = ""
        """How the last life ended, in words."""

    @property
    def lives(self) -> bool:
        """There is a process."""
        return self.pid != 0

    def filenos(self) -> tuple[int, int]:
        """The control socket's, and one that is readable once the process has ended."""
        assert self._control is not None
        return self._control.fileno(), self._pidfd

    def start(self, more: Mapping[str, int] | None = None) -> None:
        """Starts it.

        Args:
            more: Descriptors for this life only, by the names of the arguments that tell them.
        """
        more = more or {}
        ours, theirs = socket.socketpair()
        config = memory_file("fastlog-config", self.config.encode())
        named = {"config-fd": config, "control-fd": theirs.fileno(), **more}
        flags = [word for name, fd in named.items() for word in (f"--{name}", str(fd))]
        # -P: a file in the current directory must not stand in for a module of ours
        argv = [sys.executable, "-P", "-m", self._module, *flags, *self._arguments]
        try:
            self.pid, self._pidfd = spawn(argv, [*self._inherit, *named.values()])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(config)
        ours.setblocking(False)
        self._control = ours
        self._unread, self.ready, self.fatal = b"", False, None
        self.said.clear()
        self._started, self.start_at = time.monotonic(), None

    def send(self, message: dict[str, Any], fd: int | None = None) -> None:
        """Sends it a message; one that has just ended does not get it."""
        rights = (
            socket.SOL_SOCKET,
            socket.SCM_RIGHTS,
            array.array("i", [] if fd is None else [fd]),
        )
        if self._control is not None:
            with contextlib.suppress(OSError):  # its end will be noticed; the next life knows all
                self._control.sendmsg(
                    [json.dumps(message).encode() + b"\n"], [rights] if fd is not None else []
                )

    def read(self) -> None:
        """Takes in what it has said."""
        assert self._control is not None
        try:
            data = self._control.recv(65536)
        except (BlockingIOError, ConnectionError):
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, LookupError, TypeError):  # nonsense says nothing
                self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self.ready = True
        elif kind == "fatal":
            self.fatal = _kind(message)(message["text"])
        else:
            self.said[kind] = message

    def ended(self) -> bool:
        """Whether it has; the process is then reaped and forgotten, and `how` says how."""
        status = reap(self.pid) if self.pid else None
        if status is None:
            return False
        self.read()
        self.how = describe(status)
        assert self._control is not None
        self._control.close()
        os.close(self._pidfd)
        self.pid, self._control = 0, None
        if time.monotonic() - self._started > STEADY:
            self._delay = 0.0
        if self.mended and self.asked_to_end:
            self.start_at = time.monotonic()
        elif self.mended:
            self.try_later()
        self.ready = self.asked_to_end = False
        self._kill_at = None
        return True

    def try_later(self) -> None:
        """Sets the time of the next start, later each time in a row."""
        self.start_at = time.monotonic() + self._delay
        self._delay = min(max(0.1, 2 * self._delay), self._patience)

    def terminate(self, patience: float) -> None:
        """Asks it to finish, and kills it (see `due`) when it takes longer than `patience`."""
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            self.asked_to_end, self._kill_at = True, time.monotonic() + patience

    def kill(self) -> None:
        """Kills it."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.asked_to_end, self._kill_at = True, None

    def due(self) -> float | None:
        """When something is to be done about it, on the monotonic clock."""
        return self._kill_at if self.pid else self.start_at

    def kill_late(self) -> None:
        """Kills it if its time to finish is over."""
        if self._kill_at is not None and self._kill_at <= time.monotonic():
            self.kill()

    # ---- from one supervisor to the next ----

    def state(self) -> ProcessState:
        """What the next supervisor needs to know of it."""
        return ProcessState(
            name=self.name,
            pid=self.pid,
            control=self._control.fileno() if self._control is not None else -1,
            unread=self._unread.decode("utf-8", "replace"),
            ready=self.ready,
            started=self._started,
            delay=self._delay,
            asked_to_end=self.asked_to_end,
            kill_at=self._kill_at,
            start_at=self.start_at,
        )

    def adopt(self, state: ProcessState) -> None:
        """Goes on with the child that another supervisor has started."""
        if state.pid:
            self.pid, self._pidfd = state.pid, os.pidfd_open(state.pid)
            os.set_inheritable(state.control, False)
            self._control = socket.socket(fileno=state.control)
            self._control.setblocking(False)
        self._unread, self.ready = state.unread.encode(), state.ready
        self._started, self._delay = state.started, state.delay
        self.asked_to_end, self._kill_at = state.asked_to_end, state.kill_at
        self.start_at = state.start_at


def _kind(message: dict[str, Any]) -> type[FastlogError]:
    if message["damage"]:
        return JournalDamagedError
    return ConfigError if message["config"] else FastlogError
