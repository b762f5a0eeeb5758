"""The supervisor's end of a child: started by exec, watched, started again with back-off."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from fastlog.errors import ConfigError, FastlogError, JournalDamagedError

STEADY = 10.0
"""Seconds of life after which an end is news again, not one more of a series."""


class Process:
    """One child, over all its lives.

    Args:
        name: The sink's, for a worker.
        role: What it is, for messages: `receiver`, `worker[sqlite]`.
        module: What is run, by `python -m`.
        arguments: For it, beside the descriptors of the contract (see `fastlog.child`).
        patience: The longest wait before it is started again, in seconds.
    """

    def __init__(
        self, name: str, role: str, module: str, arguments: Sequence[str], patience: float
    ) -> None:
        self.name, self.role = name, role
        self._module, self._arguments, self._patience = module, arguments, patience
        self._popen: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._pidfd = -1
        self._unread = b""
        self._started = 0.0
        self._delay = 0.0
        self._kill_at: float | None = None
        self.asked_to_end = False
        """Its end is meant, and no reason to wait before the next start."""
        self.start_at: float | None = None
        """When it is to be started again, on the monotonic clock."""
        self.ready = False
        """This life has said READY."""
        self.fatal: FastlogError | None = None
        """Why this life said that it cannot go on."""

    @property
    def lives(self) -> bool:
        """There is a process."""
        return self._popen is not None

    @property
    def pid(self) -> int:
        """Of the process that lives."""
        assert self._popen is not None
        return self._popen.pid

    def filenos(self) -> tuple[int, int]:
        """The control socket's, and one that is readable once the process has ended."""
        assert self._control is not None
        return self._control.fileno(), self._pidfd

    def start(self, config: bytes, inherit: Sequence[int]) -> None:
        """Starts it. `inherit`: descriptors that it shall have under the same numbers."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo, theirs:
            undo.callback(ours.close)
            config_fd = _memory_file(config)
            undo.callback(os.close, config_fd)
            contract = ["--config-fd", str(config_fd), "--control-fd", str(theirs.fileno())]
            self._popen = subprocess.Popen(  # noqa: S603 - our own module, our own arguments
                # -P: a file in the current directory must not stand in for a module of ours
                [sys.executable, "-P", "-m", self._module, *contract, *self._arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=[config_fd, theirs.fileno(), *inherit],
                process_group=0,  # Ctrl-C in a terminal is the supervisor's to hear
            )
            undo.pop_all()
        os.close(config_fd)
        ours.setblocking(False)
        self._control, self._pidfd = ours, os.pidfd_open(self._popen.pid)
        self._unread, self.ready, self.fatal = b"", False, None
        self._started, self.start_at = time.monotonic(), None

    def send(self, message: dict[str, Any]) -> None:
        """Sends it a message; one that has just ended does not get it."""
        if self._control is not None:
            with contextlib.suppress(OSError):  # its end will be noticed; the next life knows all
                self._control.sendall(json.dumps(message).encode() + b"\n")

    def read(self) -> None:
        """Takes in what it has said."""
        assert self._control is not None
        try:
            data = self._control.recv(65536)
        except (BlockingIOError, ConnectionError):
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            self.ready = self.ready or message["type"] == "ready"
            if message["type"] == "fatal":
                self.fatal = _kind(message)(message["text"])

    def ended(self) -> str | None:
        """How it ended, in words, if it has; the process is then reaped and forgotten."""
        if self._popen is None or self._popen.poll() is None:
            return None
        self.read()
        code = self._popen.returncode
        how = f"ended with {code}" if code >= 0 else f"was killed by {_signal_name(-code)}"
        assert self._control is not None
        self._control.close()
        os.close(self._pidfd)
        self._popen = self._control = None
        if time.monotonic() - self._started > STEADY:
            self._delay = 0.0
        self.asked_to_end, self._kill_at = False, None
        self.try_later()
        return how

    def try_later(self) -> None:
        """Sets the time of the next start, later each time in a row."""
        self.start_at = time.monotonic() + self._delay
        self._delay = min(max(0.1, 2 * self._delay), self._patience)

    def terminate(self, patience: float) -> None:
        """Asks it to finish, and kills it (see `due`) when it takes longer than `patience`."""
        if self._popen is not None:
            self._popen.terminate()
            self.asked_to_end, self._kill_at = True, time.monotonic() + patience

    def due(self) -> float | None:
        """When something is to be done about it, on the monotonic clock."""
        return self.start_at if self._popen is None else self._kill_at

    def kill_late(self) -> None:
        """Kills it if its time to finish is over."""
        if self._popen and self._kill_at is not None and self._kill_at <= time.monotonic():
            self._popen.kill()
            self._kill_at = None


def _kind(message: dict[str, Any]) -> type[FastlogError]:
    if message["damage"]:
        return JournalDamagedError
    return ConfigError if message["config"] else FastlogError


def _memory_file(content: bytes) -> int:
    fd = os.memfd_create("fastlog-config")
    os.write(fd, content)
    return fd


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
