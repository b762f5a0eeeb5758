"""What the supervisor's children share: how they get their config, and how they hold to it.

A child is started with two file descriptors. One holds the config as JSON. The other is a Unix
stream socket to the supervisor, which carries JSON objects, one a line, and to the child also
descriptors; when it ends, the supervisor is gone, and the child ends too. What a child logs goes to
stderr.
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
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import msgspec

from fastlog.config import Config, from_json
from fastlog.errors import ConfigError, FastlogError, JournalDamagedError
from fastlog.files import Access, set_access

Message = dict[str, Any]

_ROOM = socket.CMSG_LEN(8 * array.array("i").itemsize)
_PACKAGE = __name__.partition(".")[0]


class LostError(Exception):
    """The supervisor is gone: end at once. Not a `FastlogError`, which may be caught and shown."""


class Child:
    """The child's end of the contract."""

    def __init__(self, config: Config, control: socket.socket) -> None:
        self.config = config
        self._control = control
        self._unread = b""
        self._fds = array.array("i")
        self._ended = False

    @classmethod
    def from_fds(cls, config_fd: int, control_fd: int) -> Child:
        """Take both over: `config_fd` is read and closed, `control_fd` is kept.

        Raises:
            SystemExit: the config cannot be read, which the supervisor has been told.
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
            wrong = FastlogError(f"another version of fastlog wrote the configuration: {error}")
        except FastlogError as error:  # a group that has been removed
            wrong = error
        cls(Config(), control).fail(wrong)
        raise SystemExit(1)

    def fileno(self) -> int:
        """Becomes readable when there is a message, or when the supervisor is gone."""
        return self._control.fileno()

    def send(self, message: Message) -> None:
        """Send one message. If the supervisor is gone, nothing happens; `lost` will tell."""
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except ConnectionError:
            self._ended = True

    def fail(self, error: Exception) -> None:
        """Tell the supervisor why this process cannot go on; a wrong config exits with 2."""
        config, damage = (isinstance(error, kind) for kind in (ConfigError, JournalDamagedError))
        self.send({"type": "fatal", "text": str(error), "config": config, "damage": damage})

    def receive(self) -> list[Message]:
        """The messages that have arrived; never waits."""
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
        data, ancillary, _, _ = self._control.recvmsg(65536, _ROOM, flags)
        for _, _, content in ancillary:
            self._fds.frombytes(content)
        return data

    def take_fd(self) -> int:
        """The descriptor that came with a message, or with several: the oldest not taken yet."""
        return self._fds.pop(0)

    def lost(self) -> bool:
        """Whether the supervisor is gone; never waits. Messages that arrived are kept."""
        if not self._ended:
            try:
                self._ended = not self._control.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            except BlockingIOError:
                return False
            except ConnectionError:
                self._ended = True
        return self._ended

    def signals(self) -> Signals:
        """Take over the process's signals; to be used as a context, in the main thread."""
        return Signals(self)


class Signals:
    """SIGTERM and the end of the supervisor, noticed while waiting. HUP and INT are ignored.

    An interrupt at a terminal reaches the whole process group; the supervisor then asks each child
    to stop when its turn has come.
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
        """Let a readable `fd` end a wait, which calls `woken` to read it."""
        self._watched[fd] = woken
        self._poll.register(fd, select.POLLIN)

    def stopping(self) -> bool:
        """Whether SIGTERM has arrived."""
        return self._stopping

    def filenos(self) -> tuple[int, int]:
        """Become readable when `wait` has something to do, for who waits elsewhere."""
        return self._woken, self._child.fileno()

    def wait(self, seconds: float) -> list[Message]:
        """Wait so long, or until something happens.

        Returns:
            What the supervisor has said.

        Raises:
            LostError: the supervisor is gone.
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
    """Let nobody that this process may start inherit what it was given: the lock, the listeners."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own has been closed meanwhile
            if int(entry.name) > 2:
                os.set_inheritable(int(entry.name), False)


def log_to_stderr(role: str, level: str) -> None:
    """Send what this process logs to stderr, one line an event.

    Args:
        role: what the process is, such as `receiver` or `worker[sqlite]`.
        level: the name of the least level that is shown.
    """
    role = role.replace("%", "%%")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {role}: %(message)s"))
    root, own = logging.getLogger(), logging.getLogger(_PACKAGE)
    root.handlers[:] = [handler]
    root.setLevel(level)
    # The sink `logging` gives the root logger to the user's handlers: what fastlog itself has to
    # say must not go there, least of all what it says about them.
    own.handlers[:] = [handler]
    own.propagate = False


def arguments(
    argv: list[str],
    names: dict[str, Callable[[str], Any]],
    optional: dict[str, Callable[[str], Any]] | None = None,
) -> dict[str, Any]:
    """The values of `--name value` pairs, as the supervisor gives them.

    Returns:
        All of `names`, and of the optional ones those that were given.

    Raises:
        SystemExit: something else was given; only the supervisor starts children.
    """
    flags = {
        key.removeprefix("--"): value for key, value in zip(argv[::2], argv[1::2], strict=False)
    }
    known = names | (optional or {})
    if len(argv) % 2 or not names.keys() <= flags.keys() <= known.keys():
        sys.exit(f"expected {' '.join(f'--{name} VALUE' for name in names)}: {argv}")
    return {name: known[name](value) for name, value in flags.items()}
