"""A record as text for a terminal: one line, then its traceback indented.

A logged text must not control the terminal: control characters, escape sequences, and the
characters that reorder text are shown as escapes. The further lines of a message are indented, so
that they cannot look like another record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from fastlog.record import Record
from fastlog.zone import LOCAL, Zone

_RESET = "\x1b[0m"
DIM = "\x1b[2m"
CYAN = "\x1b[36m"
_LEVELS = ((50, "\x1b[1;97;41m"), (40, "\x1b[31m"), (30, "\x1b[33m"), (20, "\x1b[32m"))
"""A level has the colour of the first level here that it reaches."""

TRACEBACKS = ("exc_text", "stack_info")
"""The fields that are printed below a record."""
_INDENT = "\n    "
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    # A joiner that joins nothing: it would join what is printed beside the text.
    r"|(?<![^\s\u200d])\u200d|\u200d(?![^\s\u200d])"
)
_BARE = re.compile(r'[^\s"=]+')


def render(
    record: Record | Mapping[str, Any], colour: bool, zone: Zone = LOCAL, *, faint: bool = False
) -> str:
    """Return the record as terminal text, without a line end after the last line.

    Args:
        record: a record, or any mapping with the record's names. Missing names count as None;
            `extra` is JSON text or an object.
        colour: whether to use ANSI colours.
        zone: the zone of the time.
        faint: whether all of it is less bright, if colours are used.
    """
    if faint and colour:
        lines = render(record, False, zone).split("\n")
        return "\n".join(painted(line, DIM, colour) for line in lines)  # pagers colour each line
    fields: Mapping[str, Any] = record._asdict() if isinstance(record, Record) else record
    get = fields.get
    message, *more = several_lines(get("message") or "").split("\n")
    parts = [
        painted(zone.text(get("created")), DIM, colour),
        painted(level_text(fields), level_colour(get("levelno")), colour),
        painted(one_line(get("name") or "-"), CYAN, colour),
        painted(origin_text(fields), DIM, colour),
        message,
    ]
    extra = extra_text(get("extra"))
    if extra:
        parts.append(painted(extra, DIM, colour))
    lines = [" ".join(parts), *more]
    for name in TRACEBACKS:
        if text := get(name):
            lines += several_lines(text).rstrip("\n").split("\n")
    return _INDENT.join(lines)


def painted(text: str, code: str, colour: bool) -> str:
    """Return the text in a colour, if colours are used."""
    return f"{code}{text}{_RESET}" if colour and code else text


def level_colour(levelno: object) -> str:
    """Return the code of a level's colour; "" if the level is unknown."""
    if not isinstance(levelno, int):
        return ""
    return next((code for least, code in _LEVELS if levelno >= least), DIM)


def level_text(fields: Mapping[str, Any]) -> str:
    """Return the level, on one line and padded to the width of the usual ones."""
    level = fields.get("levelname") or fields.get("levelno")
    return one_line("-" if level is None else level).ljust(8)


def origin_text(fields: Mapping[str, Any]) -> str:
    """Return `host/process`, as far as they are known, on one line."""
    process = fields.get("processName")
    number = fields.get("process")
    if process in (None, "MainProcess"):
        process = number
    elif number is not None:
        process = f"{process}[{number}]"
    host = fields.get("host") or "-"
    return one_line(host if process is None else f"{host}/{process}")


def extra_text(extra: object) -> str:
    """Return extras, given as JSON text or an object, as `name=value` on one line."""
    if not extra or extra == "{}":
        return ""
    if isinstance(extra, str | bytes):
        extra = msgspec.json.decode(extra)
    if not isinstance(extra, Mapping):
        return one_line(extra)
    return " ".join(f"{one_line(key)}={_value(value)}" for key, value in extra.items())


def _value(value: object) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return one_line(value)
    return one_line(msgspec.json.encode(value).decode())


def _escaped(text: object) -> str:
    """Return the text with unprintable characters escaped, except line ends and tabs.

    A Windows line end counts as a line end.
    """
    return _UNSAFE.sub(_escape, str(text).replace("\r\n", "\n"))


def one_line(text: object) -> str:
    """Return the text as one line, with unprintable characters, line ends and tabs escaped."""
    return _escaped(text).replace("\n", "\\n").replace("\t", "\\t")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def several_lines(text: object) -> str:
    """Return the text with unprintable characters escaped; line ends and tabs stay."""
    return _escaped(text)


def escape_json(text: str) -> str:
    """Return JSON without line ends so that a terminal can show it; the values do not change."""
    if text.isascii() and "\x7f" not in text:  # JSON itself escapes the other control characters
        return text
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
