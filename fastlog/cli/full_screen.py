"""The whole screen of a terminal: shown anew at each change, left as it was at the end."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live

_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)
_REDRAWS: Final = (signal.SIGWINCH, signal.SIGCONT)


class FullScreen:
    """A screen that `run` fills. Keys are read as they are pressed, and are not echoed.

    Args:
        console: of the terminal on stdout.
        next_view: returns what to show when it has changed; called after each `changed`.
    """

    def __init__(self, console: Console, next_view: Callable[[], RenderableType]) -> None:
        self._next_view = next_view
        self._live = Live(
            console=console, screen=True, auto_refresh=False,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._awoken, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        self._is_suspended = False
        self._ended_by: int | None = None

    def changed(self) -> None:
        """Have the screen shown anew; from any thread."""
        with suppress(BlockingIOError):  # it is full of such messages
            os.write(self._wakeup, b"\0")

    def run(self, ends: str) -> None:
        """Show the screen until Ctrl-C, or one of the keys `ends`, is pressed."""
        with self._signals(), suppress(KeyboardInterrupt):
            while self._ended_by is None:
                with _keys() as keys, self._live:
                    self._show(keys, ends)
                if not self._is_suspended:
                    break
                self._is_suspended = False
                os.kill(os.getpid(), signal.SIGSTOP)  # the shell goes on, and perhaps continues us
        if self._ended_by is not None:
            signal.signal(self._ended_by, signal.SIG_DFL)
            os.kill(os.getpid(), self._ended_by)

    def _show(self, keys: int | None, ends: str) -> None:
        """Show the screen until a key or a signal ends it, or suspends it."""
        watched = [self._awoken, *([] if keys is None else [keys])]
        self._live.update(self._next_view(), refresh=True)
        while True:
            ready, _, _ = select.select(watched, [], [])
            if keys in ready:
                assert keys is not None
                typed = os.read(keys, 100)
                if not typed or any(key in ends.encode() for key in typed):
                    return
            if self._awoken in ready:
                os.read(self._awoken, 4096)
                if self._ended_by is not None or self._is_suspended:
                    return
                self._live.update(self._next_view(), refresh=True)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle the signals that end, suspend and resize the screen."""
        handlers: dict[int, Callable[[int, FrameType | None], object]] = {
            **dict.fromkeys(_ENDS, self._end),
            **dict.fromkeys(_REDRAWS, self._redraw),
            signal.SIGTSTP: self._suspend,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, _: FrameType | None) -> None:
        self._ended_by = number
        self.changed()

    def _redraw(self, _: int, __: FrameType | None) -> None:
        self.changed()

    def _suspend(self, _: int, __: FrameType | None) -> None:
        self._is_suspended = True
        self.changed()


@contextmanager
def _keys() -> Iterator[int | None]:
    """Read keys as they are pressed; the body gets the descriptor, or `None` if there is none."""
    if not sys.stdin.isatty():
        yield None
        return
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    tty.setcbreak(keys)
    try:
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
