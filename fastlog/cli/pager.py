"""The pager: a program that shows output longer than the terminal, as `git` uses one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final

DEFAULT: Final = "less"
SETTINGS: Final = {"LESS": "FRX", "LV": "-c"}
"""Variables of pagers, where they are not set: less ends if all fits on the screen, shows colours,
and leaves the text on the screen."""


def find_pager(environment: Mapping[str, str]) -> str | None:
    """Return the command line of the pager; `None` if output is to be printed directly.

    It is the first of `FASTLOG_PAGER`, `PAGER` and `less` that is set or installed. Output that
    goes to no terminal, or to one that cannot move its cursor, needs none.
    """
    if not sys.stdout.isatty() or environment.get("TERM", "dumb") == "dumb":
        return None
    for name in ("FASTLOG_PAGER", "PAGER"):
        if (command := environment.get(name)) is not None:
            return command if command.strip() not in ("", "cat") else None
    import shutil  # output to files and pipes starts without it

    return DEFAULT if shutil.which(DEFAULT) else None


class Pager:
    """A running pager.

    Args:
        command: its command line, which a shell interprets.
        on_exit: called in a thread when the pager ends before its output does, since nobody reads
            the rest.
    """

    def __init__(self, command: str, on_exit: Callable[[], object]) -> None:
        import subprocess  # most output needs no pager

        self._process = subprocess.Popen(  # noqa: S602 the user's own command, as in PAGER
            command,
            shell=True,
            stdin=subprocess.PIPE,
            text=True,
            encoding=sys.stdout.encoding,
            errors=sys.stdout.errors,
            env={**SETTINGS, **os.environ},
        )
        self._is_closed = False
        self._on_exit = on_exit
        threading.Thread(target=self._watch, daemon=True).start()

    def write(self, text: str) -> None:
        """Pass some text to the pager.

        Raises:
            BrokenPipeError: It has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def close(self) -> None:
        """Wait until the user has left the pager. Ctrl-C is the pager's meanwhile."""
        assert self._process.stdin is not None
        self._is_closed = True
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()
        finally:
            signal.signal(signal.SIGINT, before)

    def _watch(self) -> None:
        self._process.wait()
        if not self._is_closed:
            self._on_exit()
