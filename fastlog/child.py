"""What the supervisor's child processes share: configuration, control socket, signals, log.

A child is started with two file descriptors. One holds the configuration as JSON. The other is a
Unix stream socket to the supervisor. It carries JSON objects, one per line, and descriptors to the
child. When it is closed, the supervisor has ended, and the child ends too. A child logs to stderr.

A child whose loop gives signs of life through that socket is replaced when it gives no more.
"""

from __future__ import annotations

import array
import contextlib
import json
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import msgspec

from fastlog.config import Config, from_json
from fastlog.errors import ConfigError, FastlogError, JournalDamagedError
from fastlog.files import Access, set_access

Message = dict[str, Any]

SIGN_INTERVAL = 1.0
"""Seconds between two signs of life."""
_SIGN = b'{"type": "alive"}\n'
_ANCILLARY_BYTES = socket.CMSG_LEN(8 * array.array("i").itemsize)
_PACKAGE = __name__.partition(".")[0]


class LostError(Exception):
    """The supervisor has ended: exit at once. Not a `FastlogError`, which commands catch."""


class Child:
    """The child's end of the control socket, with its configuration."""

    def __init__(self, config: Config, control: socket.socket) -> None:
        self.config = config
        self._control = control
        self._unread = b""
        self._fds = array.array("i")
        self._ended = False
        self._sign_at = float("-inf")

    @classmethod
    def from_fds(cls, config_fd: int, control_fd: int) -> Child:
        """Read and close `config_fd`; own `control_fd`.

        Raises:
            SystemExit: The configuration cannot be read. The supervisor was sent the reason.
        """
        _keep_descriptors()
        control = socket.socket(fileno=control_fd)
        with open(config_fd, "rb") as file:
            if file.seekable():
                file.seek(0)  # a memfd's offset is where its writer left it
            text = file.read()
        try:
            config = from_json(text)
            set_access(Access.of(config.files.mode, config.files.group))
            return cls(config, control)
        except msgspec.MsgspecError as error:
            failure = FastlogError(f"another version of fastlog wrote the configuration: {error}")
        except FastlogError as error:  # a group that has been removed
            failure = error
        cls(Config(), control).fail(failure)
        raise SystemExit(1)

    def fileno(self) -> int:
        """Return a descriptor that is readable when a message waits or the supervisor has ended."""
        return self._control.fileno()

    def send(self, message: Message) -> None:
        """Send one message. Nothing happens if the supervisor has ended; see `lost`."""
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except ConnectionError:
            self._ended = True

    def give_sign(self) -> None:
        """Give a sign of life, if one is due: call this in each pass of the process's loop.

        Never waits: while the supervisor does not read, there are no signs.
        """
        now = time.monotonic()
        if now < self._sign_at:
            return
        self._sign_at = now + SIGN_INTERVAL
        with contextlib.suppress(OSError):  # it does not read, or has ended; see `lost`
            self._control.send(_SIGN, socket.MSG_DONTWAIT)

    def fail(self, error: Exception) -> None:
        """Send the supervisor the error that ends this process."""
        config, damage = (isinstance(error, kind) for kind in (ConfigError, JournalDamagedError))
        self.send({"type": "fatal", "text": str(error), "config": config, "damage": damage})

    def receive(self) -> list[Message]:
        """Return the messages that have arrived. Never waits."""
        while not self._ended:
            try:
                data = self._receive()
            except BlockingIOError:
                break
            except ConnectionError:
                data = b""
            self._ended = not data
            self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in lines]

    def _receive(self) -> bytes:
        flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        data, ancillary, _, _ = self._control.recvmsg(65536, _ANCILLARY_BYTES, flags)
        for _, _, content in ancillary:
            self._fds.frombytes(content)
        return data

    def take_fd(self) -> int:
        """Return the oldest received descriptor that was not returned before."""
        return self._fds.pop(0)

    def lost(self) -> bool:
        """Return whether the supervisor has ended. Never waits; keeps messages that arrived."""
        if not self._ended:
            try:
                self._ended = not self._control.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            except BlockingIOError:
                return False
            except ConnectionError:
                self._ended = True
        return self._ended

    def signals(self) -> Signals:
        """Return a context manager that handles the process's signals; for the main thread."""
        return Signals(self)


class Signals:
    """Waits that SIGTERM and the end of the supervisor interrupt. SIGHUP and SIGINT are ignored.

    A terminal sends an interrupt to the whole process group. The supervisor then stops its children
    one after another.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self._stopping = False
        self._poll = select.poll()
        self._watched: dict[int, Callable[[], object]] = {}

    def __enter__(self) -> Signals:
        self._woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._waker = waker
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a mask outlives exec
        self._poll.register(self._woken, select.POLLIN)
        self._poll.register(self._child, select.POLLIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(-1)
        os.close(self._woken)
        os.close(self._waker)

    def watch(self, fd: int, woken: Callable[[], object]) -> None:
        """Let a readable `fd` end a wait, which then calls `woken`; that has to read it."""
        self._watched[fd] = woken
        self._poll.register(fd, select.POLLIN)

    def stopping(self) -> bool:
        """Return whether SIGTERM has arrived."""
        return self._stopping

    def filenos(self) -> tuple[int, int]:
        """Return descriptors for another event loop, readable when `wait` would not block."""
        return self._woken, self._child.fileno()

    def wait(self, seconds: float) -> list[Message]:
        """Wait for `seconds`, or until a signal, a message or a watched descriptor.

        Returns:
            The messages of the supervisor.

        Raises:
            LostError: The supervisor has ended.
        """
        messages: list[Message] = []
        for fd, _ in self._poll.poll(seconds * 1000):
            if fd == self._woken:
                os.read(self._woken, 4096)
            elif fd in self._watched:
                self._watched[fd]()
            else:
                messages += self._child.receive()
        if self._child.lost():
            raise LostError
        return messages

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True


def _keep_descriptors() -> None:
    """Make all descriptors non-inheritable: no program started here gets the lock or a listener."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of this listing is closed
            if int(entry.name) > 2:
                os.set_inheritable(int(entry.name), False)


def log_to_stderr(role: str, level: str) -> None:
    """Log to stderr, one line per event.

    Args:
        role: The role of this process, such as `receiver` or `worker[sqlite]`.
        level: The name of the lowest level that is logged.
    """
    role = role.replace("%", "%%")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {role}: %(message)s"))
    root, own = logging.getLogger(), logging.getLogger(_PACKAGE)
    root.handlers[:] = [handler]
    root.setLevel(level)
    # The sink `logging` gives the root logger the user's handlers. fastlog's own messages must not
    # go there, least of all those about failures of these handlers.
    own.handlers[:] = [handler]
    own.propagate = False


def arguments(
    argv: list[str],
    names: dict[str, Callable[[str], Any]],
    optional: dict[str, Callable[[str], Any]] | None = None,
) -> dict[str, Any]:
    """Parse `--name value` pairs, as the supervisor passes them.

    Args:
        argv: The arguments.
        names: The required names; the functions convert their values.
        optional: The same for optional names.

    Returns:
        The converted values by name.

    Raises:
        SystemExit: The arguments are others. Only the supervisor starts children.
    """
    flags = {
        key.removeprefix("--"): value for key, value in zip(argv[::2], argv[1::2], strict=False)
    }
    known = names | (optional or {})
    if len(argv) % 2 or not names.keys() <= flags.keys() <= known.keys():
        sys.exit(f"expected {' '.join(f'--{name} VALUE' for name in names)}: {argv}")
    return {name: known[name](value) for name, value in flags.items()}
