"""Signals that end a drill early, so that it removes everything that it made."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Raises KeyboardInterrupt at the first of `SIGNALS`, and ignores those after it.

    For the main thread only.
    """

    def __init__(self) -> None:
        self._is_deferring = False
        self._is_pending = self._is_raised = False

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals meanwhile. A signal that is ignored stays ignored."""
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
    def deferred(self) -> Iterator[None]:
        """Defer an interrupt to the end of this block. Blocks must not be nested."""
        self._is_deferring = True
        try:
            yield
        finally:
            self._is_deferring = False
        if self._is_pending and not self._is_raised:
            self._raise()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._is_pending = True
        if not self._is_deferring and not self._is_raised:
            self._raise()

    def _raise(self) -> None:
        self._is_raised = True
        raise KeyboardInterrupt
