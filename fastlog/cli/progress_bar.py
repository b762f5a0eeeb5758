"""The progress bar: how much of the store a search has read, as one line of a terminal."""

from __future__ import annotations

import os
from typing import Final, TextIO

from fastlog.search import Progress

_ERASE: Final = "\r\x1b[K"
_LONGEST: Final = 40
"""Cells of the longest bar."""
_SHORTEST: Final = 5


class ProgressBar:
    """One line at the cursor of a terminal. It can be drawn again and erased.

    Args:
        terminal: a stream to a terminal, at the start of a line.
        verb: what is done.
    """

    def __init__(self, progress: Progress, terminal: TextIO, verb: str = "searching") -> None:
        self.matches: int | None = None
        """Matches so far; `None`: they are not counted yet."""
        self._progress, self._terminal, self._verb = progress, terminal, verb
        self._is_drawn = False

    def draw(self) -> None:
        """Draw the bar as it is now. It fits the present width of the terminal."""
        encoding, width = self._terminal.encoding, self._width() - 1
        text = bar_text(self._progress, self.matches, width, encoding, self._verb)
        self._terminal.write(f"{_ERASE}{text}\r")  # what others print then overwrites it
        self._terminal.flush()
        self._is_drawn = True

    def erase(self) -> None:
        """Leave the line as it was before the bar."""
        if self._is_drawn:
            self._terminal.write(_ERASE)
            self._terminal.flush()
            self._is_drawn = False

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._terminal.fileno()).columns or 80
        except OSError:
            return 80


def bar_text(
    progress: Progress, matches: int | None, width: int, encoding: str, verb: str = "searching"
) -> str:
    """Return the line of a progress bar, with as much as fits into a width."""
    share = min(1.0, progress.read / progress.total) if progress.total else 0.0
    one, many = ("match", "matches") if verb == "searching" else ("record", "records")
    found = "" if matches is None else f"  {matches:,} {one if matches == 1 else many}"
    text = f"{share:4.0%} read{found}"
    cells = min(_LONGEST, width - len(text) - len(verb) - 2)
    if cells < _SHORTEST:
        return text[:width]
    full, empty = _cells(encoding)
    done = round(share * cells)
    return f"{verb} {full * done}{empty * (cells - done)} {text}"


def _cells(encoding: str) -> tuple[str, str]:
    """Return the characters of a bar that an encoding has."""
    try:
        "█░".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "#", "."
    return "█", "░"
