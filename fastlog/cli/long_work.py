"""Long work: a search that shows its progress, prints as it finds, and ends early at Ctrl-C.

    with LongWork(progress, pager=command) as work:
        for found in work.counted(search(logs, query, progress=progress)):
            work.write(line(found))
    return work.exit_code(...)

A bar on stderr, output on stdout and a pager may share one terminal. So all of them are written
here, one at a time.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Final, Self, TextIO, TypeVar

import click

from fastlog.cli.command import FAILED, INCOMPLETE, INTERRUPTED, OK
from fastlog.cli.pager import Pager
from fastlog.cli.progress_bar import ProgressBar
from fastlog.cli.safe_text import print_line
from fastlog.search import Progress

QUIET: Final = 1.0
"""Seconds without output after which a bar shows the progress."""
_FRAME: Final = 0.1
"""Seconds between two drawings of the bar."""

T = TypeVar("T")


class LongWork:
    """A search and its output. A context manager, used once, in the main thread.

    Args:
        progress: of the search. Ctrl-C interrupts it. A second Ctrl-C, and the first one when the
            search is over, raises `KeyboardInterrupt`, and no more is printed.
        pager: the command line of a pager, which starts with the first output.
        verb: what is done, for the bar.
    """

    def __init__(
        self, progress: Progress, pager: str | None = None, verb: str = "searching"
    ) -> None:
        self._progress, self._command = progress, pager
        self._pager: Pager | None = None
        self._left_pager = False
        self._is_over = False
        self._terminal = sys.stderr
        can_erase = _can_erase(sys.stderr)
        self._bar = ProgressBar(progress, self._terminal, verb) if can_erase else None
        self._shares_terminal = sys.stdout.isatty()
        self._lock = threading.RLock()
        self._last_output = time.monotonic()
        self._end = threading.Event()
        self._drawing = threading.Thread(target=self._draw, daemon=True)
        self._notes: list[str] = []

    def __enter__(self) -> Self:
        self._before = _handle_interrupts(self._interrupt)
        if self._bar is not None:
            sys.stderr = _Stderr(self._terminal, self._note)
            self._drawing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop_bar()
        try:
            if self._pager is not None:
                self._pager.close()
            elif kind is None:
                sys.stdout.flush()
        finally:
            self._pager = None
            if self._before is not None:
                signal.signal(signal.SIGINT, self._before)
            if isinstance(sys.stderr, _Stderr):
                sys.stderr = self._terminal
            self._terminal.write("".join(self._notes))
            self._terminal.flush()

    def counted(self, found: Iterable[T]) -> Iterator[T]:
        """Yield the same, and count it as matches."""
        for at, each in enumerate(found, 1):
            if self._bar is not None:
                self._bar.matches = at
            yield each

    def show(self, count: int) -> None:
        """Show a number of records in the bar."""
        if self._bar is not None:
            self._bar.matches = count

    def write(self, text: str) -> None:
        """Write some whole lines to stdout, or to the pager.

        Raises:
            BrokenPipeError: Nobody reads any more.
        """
        if not text:
            return
        if self._command is None and (self._bar is None or not self._shares_terminal):
            sys.stdout.write(text)
            return
        with self._without_bar():
            if self._command is not None and self._pager is None:
                sys.stdout.flush()
                self._pager = Pager(self._command, self._leave_pager)
            (self._pager or sys.stdout).write(text)

    def end_search(self) -> None:
        """Say that only output is left."""
        self._is_over = True

    def stop_bar(self) -> None:
        """Erase the bar, and show it no more."""
        self._end.set()
        if self._drawing.is_alive():
            self._drawing.join()
        if self._bar is not None:
            self._bar.erase()

    def exit_code(self, *, is_any: bool, is_complete: bool = True, cursor: str = "") -> int:
        """Return the exit code, and report on stderr why an answer is incomplete.

        Args:
            is_any: whether anything was found.
            is_complete: whether everything that was searched could be read.
            cursor: what continues the answer, for the report.
        """
        stopped = None if self._left_pager else self._progress.stopped
        if stopped is not None:
            reason = "interrupted" if stopped == "interrupt" else "the deadline has passed"
            report(f"{reason}; the answer is incomplete{cursor}")
            return INTERRUPTED if stopped == "interrupt" else INCOMPLETE
        if not is_complete:
            return INCOMPLETE
        return OK if is_any or self._left_pager else FAILED

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        if self._is_over or self._progress.stopped == "interrupt":
            raise KeyboardInterrupt
        self._progress.interrupt()

    def _leave_pager(self) -> None:
        self._left_pager = True
        self._progress.interrupt()

    def _draw(self) -> None:
        while not self._end.wait(_FRAME):
            with self._lock:
                is_quiet = time.monotonic() - self._last_output >= QUIET
                if self._bar is not None and self._pager is None and is_quiet:
                    self._bar.draw()

    @contextmanager
    def _without_bar(self) -> Iterator[None]:
        with self._lock:
            if self._bar is not None:
                self._bar.erase()
            yield
            self._last_output = time.monotonic()

    def _note(self, text: str) -> None:
        """Write to stderr what others print there; after the pager, if that has the terminal."""
        with self._without_bar():
            if self._pager is not None:
                self._notes.append(text)
            else:
                self._terminal.write(text)


class _Stderr(io.TextIOBase):
    """What `sys.stderr` is while a bar may be drawn."""

    def __init__(self, terminal: TextIO, write: Callable[[str], None]) -> None:
        self._terminal, self._write = terminal, write

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._terminal.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._terminal.errors

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"expected text, got {type(text).__name__}")
        self._write(text)
        return len(text)

    def flush(self) -> None:
        self._terminal.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._terminal.fileno()


def report(text: str) -> None:
    """Print one line about the answer to stderr."""
    print_line(f"{click.get_current_context().command_path}: {text}", err=True)


def _can_erase(stream: TextIO) -> bool:
    """Return whether a stream is a terminal with a cursor that moves."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _handle_interrupts(
    handler: Callable[[int, FrameType | None], None],
) -> Callable[[int, FrameType | None], object] | int | None:
    """Set the handler of SIGINT, and return the one before; `None` in a thread that cannot."""
    with suppress(ValueError):
        return signal.signal(signal.SIGINT, handler)
    return None
