"""Terminals: commands that run in a pseudo-terminal, and screens of tmux."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from conditions import wait_for

NEEDS_TMUX = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
CTRL_C = b"\x03"


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment without what configures fastlog, colours, or pagers."""
    unwanted = ("FASTLOG_", "NO_COLOR", "FORCE_COLOR", "PAGER", "LESS", "COLUMNS", "LINES", "TMUX")
    own = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**own, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **more}


class PtyCommand:
    """A command whose terminal is a pseudo-terminal of this test.

    Args:
        stdout: where its stdout goes instead of the terminal.
    """

    def __init__(
        self,
        command: Sequence[object],
        *,
        columns: int = 80,
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
    ) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

        def take_terminal() -> None:
            kept = os.dup(1)
            os.login_tty(slave)
            if stdout is not None:
                os.dup2(kept, 1)
            os.close(kept)

        self.process = subprocess.Popen(
            [str(word) for word in command],
            env=clean_environment() if env is None else dict(env),
            stdout=stdout,
            preexec_fn=take_terminal,
        )
        os.close(slave)
        self.output = b""
        """All that the terminal has received."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def read_until(self, pattern: bytes, timeout: float = 60.0) -> bytes:
        """Read until the output has the pattern, and return all output."""
        end = time.monotonic() + timeout
        while not re.search(pattern, self.output):
            assert time.monotonic() < end, self.output[-3000:]
            if not self._read():
                break
        assert re.search(pattern, self.output), self.output[-3000:]
        return self.output

    def read_to_end(self) -> bytes:
        """Read until the command has ended, and return all output."""
        while self._read():
            pass
        self.process.wait(60)
        return self.output

    def type(self, text: bytes) -> None:
        os.write(self._master, text)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the last process has closed the terminal
            return False
        self.output += data
        return bool(data)


class Screen:
    """A terminal with a screen: a server of tmux of its own, with one window and a shell in it."""

    def __init__(self, directory: Path, *, columns: int = 80, lines: int = 24) -> None:
        self.directory = directory
        """The directory that the shell is in."""
        self._socket = directory / "tmux.socket"
        self._environment = clean_environment(HOME=str(directory))
        size = ["-x", str(columns), "-y", str(lines)]
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", *size, "-c", str(directory), "sh", start=True
        )
        wait_for(lambda: self.text().strip(), "the prompt of the shell")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")

    def run(self, command: Sequence[object], **env: str) -> None:
        """Type a command, which prints `ended with CODE` at its end."""
        settings = [f"{name}={value}" for name, value in env.items()]
        line = shlex.join([*(["env", *settings] if settings else []), *map(str, command)])
        self.type(f"clear; {line}; echo ended with $?")
        self.press("Enter")

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys by their names in tmux, such as `C-c`."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int = 24) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def text(self, *, colours: bool = False) -> str:
        """Return what is on the screen, without trailing spaces."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def wait_for(self, pattern: str) -> str:
        """Wait until the screen has the pattern, and return the screen."""
        wait_for(lambda: re.search(pattern, self.text(), re.MULTILINE))
        return self.text()

    def wait_for_end(self) -> tuple[str, int]:
        """Wait until the command has ended, and return the screen and the exit code."""
        text = self.wait_for(r"^ended with \d+$")
        ended = re.search(r"^ended with (\d+)$", text, re.MULTILINE)
        assert ended is not None
        return text[: ended.start()], int(ended[1])

    def _tmux(self, *words: str, start: bool = False) -> str:
        return subprocess.run(
            ["tmux", "-S", str(self._socket), *words],
            env=self._environment,
            capture_output=True, text=True, check=True, timeout=60, start_new_session=start,
        ).stdout  # fmt: skip


def interrupt_and_time(process: subprocess.Popen[bytes]) -> float:
    """Send SIGINT to a process, and return the seconds until it has ended."""
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(60)
    return time.monotonic() - begin
