"""Expressions: what `--grep` and `--regex` search for, compiled by RE2.

RE2 takes time linear in the text, whatever the pattern is. All of this is about UTF-8: the texts
are bytes, and so are the positions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from fastlog.errors import ConfigError


class Match(Protocol):
    """A place where an expression matches."""

    def start(self) -> int:
        """Return where the match begins."""

    def end(self) -> int:
        """Return the position after the match."""


class Expression(Protocol):
    """A compiled expression."""

    def search(self, text: bytes, pos: int, endpos: int) -> Match | None:
        """Return the first match that begins and ends between two positions."""


@lru_cache
def compile_regex(pattern: str) -> Expression:
    """Compile a regular expression.

    Raises:
        ConfigError: It is none; the text gives the reason.
    """
    return _compile(pattern, "not a regular expression")


@lru_cache
def compile_text(text: str) -> Expression:
    """Compile a plain text whose case is ignored.

    Letters are equal if Unicode's simple case folding makes them equal: `k`, `K` and the Kelvin
    sign, but not `ß` and `ss`.

    Raises:
        ConfigError: It cannot be searched for; the text gives the reason.
    """
    return _compile(text, "not a text to search for", literal=True, case_sensitive=False)


def matches(expression: Expression, text: str) -> bool:
    """Return whether an expression matches anywhere in a text."""
    data = text.encode()
    return expression.search(data, 0, len(data)) is not None


def _compile(pattern: str, failure: str, **options: bool) -> Expression:
    import re2  # most queries search for no text, and the import takes a while

    chosen = re2.Options()
    chosen.log_errors = False
    chosen.never_capture = True
    for name, value in options.items():
        setattr(chosen, name, value)
    try:
        compiled: Expression = re2.compile(pattern, chosen)
    except UnicodeEncodeError as error:
        reason = str(error)
    except re2.error as error:
        [reason] = error.args
        reason = str(reason, "utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    else:
        return compiled
    raise ConfigError(f"{failure}: {pattern!r}: {reason}")
