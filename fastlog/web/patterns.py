"""Patterns: what records of one problem have in common, and the query that finds them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from fastlog.record import Record

LONGEST: Final = 300
"""Characters of a message that the pattern is made of."""
_VARIABLE: Final = re.compile(
    r"""(?P<text>"[^"\n]*"|'[^'\n]*'|`[^`\n]*`)"""
    r"|(?P<id>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    r"|\b0[xX][0-9a-fA-F]+\b"
    r"|\b(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{6,}\b)"
    r"|(?P<number>\d+(?:[.,:]\d+)*)"
)
"""A text in quotes, an id, or a number: what differs between messages of one kind."""
_SHOWN: Final = {"text": "…", "id": "<id>", "number": "<n>"}
_FRAME: Final = re.compile(r'^  File "(.*)", line \d+, in (.*)$', re.MULTILINE)
_EXCEPTION: Final = re.compile(r"^([^\W\d][\w.]*)(?::|$)")
_FRAMES: Final = 100
_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$/]")


class Pattern(NamedTuple):
    """What records of one problem have in common."""

    kind: Literal["traceback", "message"]
    text: str
    """A message with its variable parts masked; or exception and frames."""
    query: str


def pattern_of(record: Record) -> Pattern:
    """Return the pattern of a record."""
    if record.exc_text and (frames := _FRAME.findall(record.exc_text)):
        return _of_traceback(exception_of(record.exc_text), tuple(frames[-_FRAMES:]))
    return _of_message(record.message[:LONGEST], len(record.message) > LONGEST)


def title_of(record: Record) -> str:
    """Return a line for the problem that a record is an example of."""
    if record.exc_text and _FRAME.search(record.exc_text):
        for line in reversed(record.exc_text.rstrip().split("\n")):
            if _EXCEPTION.match(line):
                return masked(line[:LONGEST])
    return masked(record.message[:LONGEST])


def masked(text: str) -> str:
    """Return a text without what differs between records of one problem."""

    def mask(match: re.Match[str]) -> str:
        kind = match.lastgroup or "text"
        quote = match[0][0] if kind == "text" else ""
        return quote + _SHOWN[kind] + quote

    return _VARIABLE.sub(mask, text)


def exception_of(traceback: str) -> str:
    """Return the name of the exception that a traceback ends with; "" if there is none."""
    for line in reversed(traceback.rstrip().split("\n")):
        if (match := _EXCEPTION.match(line)) is not None:
            return match[1]
    return ""


@lru_cache(maxsize=4096)
def _of_traceback(exception: str, frames: tuple[tuple[str, str], ...]) -> Pattern:
    file, function = frames[-1]
    name = exception or "traceback"
    text = "\n".join([name, *(f"{path} in {inner}" for path, inner in frames)])
    frame = rf'File "{escape(file)}", line \d+, in {escape(function)}'
    end = rf"(?s).*\n{escape(exception)}(:|\n|\z)" if exception else ""
    return Pattern("traceback", text, f"traceback:/{frame}{end}/")


@lru_cache(maxsize=65_536)
def _of_message(message: str, is_cut: bool) -> Pattern:
    expression, at = "", 0
    for match in _VARIABLE.finditer(message):
        before = message[at : match.start()]
        kind = match.lastgroup or "text"
        quote = match[0][0] if kind == "text" else ""
        expression += escape(before) + quote + (r"[^\n]*" if quote else r"[\w.,:-]+") + quote
        at = match.end()
    expression += escape(message[at:]) + ("" if is_cut else r"\z")
    text = masked(message) + ("…" if is_cut else "")
    return Pattern("message", text, rf"message:/\A{expression}/ -traceback:*")


def escape(text: str) -> str:
    """Return the regular expression of a text, as it is written between slashes in a query."""
    return _SPECIAL.sub(lambda match: "\\" + match[0], text).replace("\n", "\\n")
