"""A message and its arguments, merged as `LogRecord.getMessage` does: `"%s has %d" % ("user", 7)`.

`SocketHandler` sends them merged. A handler with its own `makePickle` may send both. Merging costs
no more than the bytes of the result: widths and precisions are bounded, and so is the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from fastlog.decode.inert_tree import is_dict, is_object
from fastlog.decode.renderer import Normal
from fastlog.decode.texts import clean, text_of

WIDEST = 1000
"""The largest width, and the largest precision."""

_FIELD: Final = re.compile(
    r"%(?:\(([^()]{0,256})\))?([#0 +-]*)(\*|[0-9]*)(?:(\.)(\*|[0-9]*))?[hlL]?(.)?", re.DOTALL
)
_INTEGERS: Final = "diu"
_BASES: Final = "oxX"
_FLOATS: Final = "eEfFgG"
_TEXTS: Final = "sra"

Render = Callable[[Any], Normal]
Show = Callable[[Normal], str]


class CannotMergeError(Exception):
    """The message does not fit its arguments; the text is the reason."""


def merge_args(message: str, args: Any, room: int, render: Render, show: Show) -> str:
    """Return the message with its arguments in it.

    Args:
        message: In normal form.
        args: The inert value of the attribute `args`: a sequence, a dict or a single value.
        room: Characters that the result may have.
        render: Returns the normal form of an argument.
        show: Returns the JSON text of a normal form.

    Raises:
        CannotMergeError: They do not fit, or the result would be too long.
    """
    values = _Arguments(args, room, render, show)
    parts: list[str] = []
    at = 0
    for found in _FIELD.finditer(message):
        text = message[at : found.start()]
        at = found.end()
        if found[0] == "%%":
            text += "%"
        else:
            text += _field(found, values)
        room -= len(text)
        if room < 0:
            raise CannotMergeError("the result is too long")
        parts.append(text)
    values.finish()
    parts.append(message[at:])
    if len(parts[-1]) > room:
        raise CannotMergeError("the result is too long")
    return "".join(parts)


class _Arguments:
    """The arguments, by position or by name."""

    def __init__(self, args: Any, room: int, render: Render, show: Show) -> None:
        self._render, self._show = render, show
        self._room = room
        """Characters of texts that may still be formatted, before a precision cuts them."""
        self._named: dict[str, Any] | None = None
        self._positions: Iterator[Any] | None = None
        if is_dict(args):
            flat = args["pairs"]
            self._named = {
                text_of(key) if type(key) is bytes else key: value
                for key, value in zip(flat[::2], flat[1::2], strict=True)
                if type(key) in (str, bytes)
            }
            self._whole = args
        else:
            self._positions = iter(args if isinstance(args, (list, tuple)) else (args,))

    def next(self) -> Any:
        """Return the next argument."""
        if self._positions is None:  # a dict is also a single argument: "%s" % {"a": 1}
            self._positions = iter((self._whole,))
        for value in self._positions:
            return value
        raise CannotMergeError("not enough arguments for the message")

    def named(self, name: str) -> Any:
        """Return the argument of a name."""
        if self._named is None or name not in self._named:
            raise CannotMergeError(f"no argument {name[:40]!r}")
        return self._named[name]

    def finish(self) -> None:
        """Check that all were used; a dict may have more than the message names."""
        if self._named is None and next(iter(self._positions or ()), self) is not self:
            raise CannotMergeError("not all arguments fit into the message")

    def text(self, node: Any) -> str:
        """Return the text that `%s` gives."""
        if type(node) is str or type(node) is bytes:
            self._room -= len(node)
            if self._room < 0:
                raise CannotMergeError("the arguments are too long for so many conversions")
            return text_of(node) if isinstance(node, bytes) else clean(node)
        if node is None or type(node) in (bool, float):
            return str(node)
        value = self._render(node)
        return value if type(value) is str else self._show(value)

    def number(self, node: Any) -> int | float:
        """Return the number for `%d` and `%f`. A Decimal, and others that are text in normal form,
        count as numbers."""
        if type(node) in (int, float, bool):
            return node  # type: ignore[no-any-return]
        value = self._render(node) if is_object(node) else None
        if type(value) is str and len(value) <= 64:
            try:
                value = float(value) if "." in value or "e" in value.lower() else int(value)
            except ValueError:
                value = None
        if type(value) not in (int, float):
            raise CannotMergeError("an argument is no number")
        return value  # type: ignore[return-value]


def _field(found: re.Match[str], values: _Arguments) -> str:
    """Return the text of one conversion, as the operator `%` writes it."""
    name, flags, width, point, precision, kind = found.groups()
    width, precision = _size(width, values), _size(precision, values)
    if width.startswith("-"):
        flags, width = flags + "-", width[1:]
    form = f"%{flags[-8:]}{width}{point or ''}{precision}"
    if kind == "%":
        return "%"
    if kind is None or kind not in _INTEGERS + _BASES + _FLOATS + _TEXTS + "c":
        raise CannotMergeError(f"{found[0][:40]!r} is no conversion")
    node = values.next() if name is None else values.named(name)
    try:
        if kind in _TEXTS:
            text = values.text(node)
            if kind != "s" and type(node) in (str, bytes):
                text = repr(text) if kind == "r" else ascii(text)
            return f"{form}s" % text
        if kind == "c":
            return clean(f"{form}c" % node)
        number = values.number(node)
        if kind in _BASES and type(number) is float:
            raise CannotMergeError("an argument is no integer")
        return f"{form}{kind}" % number
    except (TypeError, ValueError, OverflowError):
        raise CannotMergeError("an argument does not fit its conversion") from None


def _size(text: str | None, values: _Arguments) -> str:
    """Return a width or a precision, as digits."""
    if not text:
        return ""
    size = values.next() if text == "*" else int(text) if len(text) <= 4 else WIDEST + 1
    if type(size) is not int or abs(size) > WIDEST:
        raise CannotMergeError("a width or a precision is too large")
    return str(size)
