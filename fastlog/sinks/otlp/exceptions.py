"""Type and message of an exception, out of the text of its traceback.

A record has the text that a formatter made of the exception, not the exception. The text of a
message is not marked in it, so a message can look like anything; what is found here is right for
what `traceback` prints, and for messages that do not imitate it.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec

_SEPARATOR: Final = re.compile(
    r"\n\n(?:The above exception was the direct cause of the following exception"
    r"|During handling of the above exception, another exception occurred):\n\n"
)
"""Between the exceptions of a chain. The last one is the exception that was logged."""
_HEADER: Final = re.compile(
    r"^(?:Traceback \(most recent call last\)|  \+ Exception Group Traceback \(most recent call "
    r"last\)):[ \t]*$",
    re.MULTILINE,
)
_GROUP: Final = "  + Exception Group Traceback"
_MARGIN: Final = "  | "
_NAME: Final = r"(?:[^\W\d]\w*|<locals>)"
_TYPE: Final = re.compile(rf"({_NAME}(?:\.{_NAME})*)(?:: ?|$)")
"""A qualified name, alone or before a colon."""


class ExceptionText(NamedTuple):
    """What is known of an exception; None where the text does not say it."""

    type: str | None
    message: str | None


NOTHING: Final = ExceptionText(None, None)


def parse(text: str) -> ExceptionText:
    """Return type and message of the exception that a traceback is about.

    Args:
        text: A traceback as Python prints it: of a chain, the last exception counts; of a group,
            the group itself. Notes are a part of the message, since the text does not mark them.
            A JSON text of structlog's `dict_tracebacks` is read too.
    """
    if text.startswith(("[", "{")) and (found := _parse_json(text)) is not None:
        return found
    last = text[_end_of_last_separator(text) :]
    header = _HEADER.search(last)
    if header is None:
        return _without_header(last)
    lines = last[header.end() :].removeprefix("\n").split("\n")
    if last.startswith(_GROUP, header.start()):
        lines = _lines_of_group(lines)
    for at, line in enumerate(lines):
        if line and not line[0].isspace():  # frames and their source are indented
            return _split(line, lines[at + 1 :])
    return NOTHING


def _end_of_last_separator(text: str) -> int:
    """Return where the last exception of a chain begins; 0 if there is no chain.

    What stands behind a separator in a message is no traceback, and does not look like an
    exception.
    """
    ends = [match.end() for match in _SEPARATOR.finditer(text)]
    for end in reversed(ends):
        if _HEADER.match(text, end) or _TYPE.match(text, end, _end_of_line(text, end)):
            return end
    return 0


def _end_of_line(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _lines_of_group(lines: list[str]) -> list[str]:
    """Return the lines of a group's own traceback, without the margin and what the group has."""
    own: list[str] = []
    for line in lines:
        if not line.startswith("  |"):
            break
        own.append(line.removeprefix(_MARGIN) if line.startswith(_MARGIN) else "")
    return own


def _without_header(text: str) -> ExceptionText:
    """Read a text that is no traceback: `ValueError: no`, as an exception without frames."""
    first, *rest = text.strip("\n").split("\n")
    return _split(first, rest) if _TYPE.match(first) else NOTHING


def _split(line: str, rest: list[str]) -> ExceptionText:
    match = _TYPE.match(line)
    if match is None:
        return ExceptionText(None, "\n".join([line, *rest]).rstrip("\n"))
    # Behind a name without a colon there is no message, only notes.
    first = [line[match.end() :]] if ":" in line else []
    message = "\n".join([*first, *rest]).rstrip("\n")
    return ExceptionText(match[1], message or None)


def _parse_json(text: str) -> ExceptionText | None:
    """Read a list of stacks, of which the first is the exception that was logged."""
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return None
    kind, message = first.get("exc_type"), first.get("exc_value")
    if not isinstance(kind, str):
        return None
    return ExceptionText(kind, message if isinstance(message, str) else None)
