"""Records in the window of a terminal: in columns, and wrapped to its width.

Time, level, logger and message are columns; extras, host and process follow the message. The
further lines of a message, and tracebacks, are indented below. What is wrapped is indented, too.
A long text is shown without its middle, so that a record of ten megabytes is not a thousand
screens. Nothing of this holds for output that goes elsewhere: `fastlog.terminal.render` writes it.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import click

from fastlog.search import Found
from fastlog.terminal import (
    CYAN,
    DIM,
    TRACEBACKS,
    extra_text,
    level_colour,
    level_text,
    one_line,
    origin_text,
    painted,
    several_lines,
)
from fastlog.zone import Zone

LONGEST: Final = 4_000
"""Characters of a message, or of extras, that is shown as a whole."""
LONGEST_TRACEBACK: Final = 20_000
MOST_LINES: Final = 200
"""Lines of a text that is shown as a whole."""
_LONGEST_NAME: Final = 200
_WIDEST_LOGGER: Final = 24
"""Cells of the column of loggers. A longer name moves the message of its record to the right."""
_ROOM: Final = 60
"""Cells that a message needs beside the other columns; else its further lines begin at the left."""
_INDENT: Final = 4
_WIDENS: Final = "\ufe0f"
"""A character that asks for the wide form of the one before."""
_NARROWEST: Final = 20
"""Columns of the narrowest window that text is wrapped for."""


class Piece(NamedTuple):
    """Some text of one line, in a colour."""

    text: str
    code: str = ""


class Window:
    """The window that records are printed in. It knows how wide their columns were so far.

    Args:
        colour: whether to use ANSI colours.
        zone: the zone of times.
        columns: returns the width of the window; 0 if it is not known.
    """

    def __init__(self, colour: bool, zone: Zone, columns: Callable[[], int]) -> None:
        self._colour, self._zone, self._columns = colour, zone, columns
        self._logger_width = 0
        self.whole: Callable[[Found], str] = _query_of
        """Returns the command that prints all of a record."""

    def text(self, found: Found, *, faint: bool = False) -> str:
        """Return a record as lines, without the end of the last.

        Args:
            faint: whether all of it is less bright, if colours are used.
        """
        fields, width = found.record._asdict(), self._columns()
        self._widen(found.record.name, width)
        begin = self._begin(fields)
        message, *more = self._lines(found, found.record.message or "", LONGEST)
        column = sum(_cells(piece.text) for piece in begin)
        hang = column if width - column >= _ROOM else _INDENT
        first = [*begin, message, *_end(fields)]
        lines = _wrapped(first, width, hang)
        for piece in (*more, *self._traceback_lines(found)):
            own = len(piece.text) - len(piece.text.lstrip(" "))
            deeper = min(_INDENT + own + 2, max(_INDENT, width // 2))
            lines += _wrapped([Piece(" " * _INDENT), piece], width, deeper)
        return "\n".join(self._painted(line, faint) for line in lines)

    def measure(self, some: Iterable[Found]) -> None:
        """Make the columns wide enough for records that will be printed."""
        width = self._columns()
        for name in {found.record.name for found in some}:
            self._widen(name, width)

    def _widen(self, name: str | None, width: int) -> None:
        cells = _cells(_name(name or "-"))
        if cells <= min(_WIDEST_LOGGER, width // 4):
            self._logger_width = max(self._logger_width, cells)

    def _begin(self, fields: Mapping[str, Any]) -> list[Piece]:
        """Return the columns before the message, each with the space after it."""
        logger = _name(fields["name"] or "-")
        level = _name(level_text(fields))
        return [
            Piece(self._zone.text(fields["created"]), DIM),
            Piece(" "),
            Piece(level, level_colour(fields["levelno"])),
            Piece(" "),
            Piece(logger, CYAN),
            Piece(" " * (1 + max(0, self._logger_width - _cells(logger)))),
        ]

    def _traceback_lines(self, found: Found) -> Iterator[Piece]:
        fields = found.record._asdict()
        for name in TRACEBACKS:
            if text := fields[name]:
                yield from self._lines(found, text.rstrip("\n"), LONGEST_TRACEBACK)

    def _lines(self, found: Found, text: str, longest: int) -> Iterator[Piece]:
        begin, left_out, end = shortened(text, longest)
        yield from _text_lines(begin)
        if left_out:
            hint = one_line(self.whole(found))
            yield Piece(f"[… {left_out:,} of {len(text):,} characters left out: {hint}]", DIM)
            yield from _text_lines(end)

    def _painted(self, line: Iterable[Piece], faint: bool) -> str:
        return "".join(
            painted(piece.text, DIM if faint else piece.code, self._colour) for piece in line
        )


def window_of_stdout(colour: bool, zone: Zone) -> Window | None:
    """Return the window that stdout is shown in; `None` if it goes elsewhere."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return None
    return Window(colour, zone, _columns_of_stdout)


def _columns_of_stdout() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 0


def _query_of(found: Found) -> str:
    """Return the command that prints a record of the files that this command reads."""
    context = click.get_current_context(silent=True)
    words = ["fastlog", "query"]
    for option, name in (("--config", "config_file"), ("--data-dir", "data_dir")):
        value = None if context is None else context.params.get(name)
        words += [] if value is None else [option, str(value)]
    place = (f"offset={found.record.offset}", f"idx={found.record.idx}")
    return f"{shlex.join([*words, *place])} | less"


def shortened(text: str, longest: int) -> tuple[str, int, str]:
    """Return the start and the end of a text, and how many characters between them are left out.

    A text that is short enough is its own start.
    """
    if len(text) <= longest and text.count("\n") < MOST_LINES:
        return text, 0, ""
    half = min(longest, len(text)) // 2
    begin = "\n".join(text[:half].split("\n")[: MOST_LINES // 2])
    end = "\n".join(text[-half:].split("\n")[-MOST_LINES // 2 :])
    return begin, len(text) - len(begin) - len(end), end


def _text_lines(text: str) -> Iterator[Piece]:
    for line in several_lines(text).split("\n"):
        yield Piece(line.expandtabs())


def _end(fields: Mapping[str, Any]) -> Iterator[Piece]:
    """Yield what follows the first line of the message, each with the space before it."""
    if extra := extra_text(fields["extra"]):
        begin, left_out, end = shortened(extra, LONGEST)
        text = f"{begin} [… {left_out:,} characters left out] {end}" if left_out else extra
        yield Piece(f" {text}", DIM)
    yield Piece(f" {_name(origin_text(fields))}", DIM)


def _name(text: object) -> str:
    """Return a text as one line that is short enough for a column."""
    line = one_line(str(text)[: _LONGEST_NAME + 1])
    return line if len(line) <= _LONGEST_NAME else f"{line[:_LONGEST_NAME]}…"


def _cells(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # few texts need it

    return cell_len(text)


def _wrapped(pieces: list[Piece], width: int, hang: int) -> list[list[Piece]]:
    """Return the pieces of a line as lines that fit into a width.

    Args:
        hang: spaces before each line but the first.
    """
    text = "".join(piece.text for piece in pieces)
    if width < _NARROWEST or _cells(text) <= width:
        return [pieces]
    lines: list[list[Piece]] = []
    begin = 0
    for end in (*_breaks(text, width, hang), len(text)):
        indent = [Piece(" " * hang)] if begin else []
        lines.append([*indent, *_part(pieces, begin, begin + len(text[begin:end].rstrip(" ")))])
        begin = end
    return lines


def _breaks(text: str, width: int, hang: int) -> Iterator[int]:
    """Yield where the lines of a wrapped text begin, but for the first."""
    at, room = 0, width
    while (end := _fitting(text, at, room)) < len(text):
        space = text.rfind(" ", at, end + 1)
        # A word that would leave most of the line empty is broken, too.
        at = space + 1 if space > at + room // 2 else end
        yield at
        room = max(_NARROWEST // 2, width - hang)


def _fitting(text: str, at: int, room: int) -> int:
    """Return the end of what fits into some cells from a place on: at least one character."""
    end = at + room
    if text[at:end].isascii():
        return min(end, len(text))
    used, end = 0, at
    while end < len(text):
        used += 1 if text[end] == _WIDENS else _cells(text[end])
        if used > room:
            break
        end += 1
    return max(end, at + 1)


def _part(pieces: list[Piece], begin: int, end: int) -> Iterator[Piece]:
    """Yield the characters of a line from `begin` to `end`."""
    at = 0
    for piece in pieces:
        part = piece.text[max(0, begin - at) : max(0, end - at)]
        if part:
            yield Piece(part, piece.code)
        at += len(piece.text)
