"""How a drill is ended early, without anything being left behind."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Makes a KeyboardInterrupt of the first signal that asks for the end; further ones do nothing.

    In the main thread only.
    """

    def __init__(self) -> None:
        self._is_held = False
        self._has_come = self._is_raised = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Take the signals over; those that are ignored stay so."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing interrupt this; afterwards is time enough. Not to be nested."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._has_come and not self._is_raised:
            self._raise()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._has_come = True
        if not self._is_held and not self._is_raised:
            self._raise()

    def _raise(self) -> None:
        self._is_raised = True
        raise KeyboardInterrupt
