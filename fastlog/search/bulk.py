"""Bulk expressions: what filters are searched for as in the whole text of a chunk.

A bulk expression matches in the text of a chunk wherever the filter matches in a text of an entry,
and perhaps elsewhere.
"""

from __future__ import annotations

import re
from typing import Final

from fastlog.errors import ConfigError
from fastlog.query import Filters
from fastlog.query.conditions import parse_number
from fastlog.query.expressions import Expression, compile_regex, compile_text
from fastlog.query.filters import Condition

_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ANCHORS: Final = {r"\A": "^", r"\z": "$"}
_UNSAFE: Final = re.compile(r"\\Q|\(\?\w*-")
"""Quoted text, in which `\\A` is no anchor, and flags that are switched off."""
_PLAIN: Final = re.compile(r"[\w .:@'+-]+", re.ASCII)
"""Text that every writer of JSON writes as it is."""
_WORDS: Final = ("true", "false", "null")


def bulk_expressions(filters: Filters) -> list[Expression]:
    """Return the expressions that an entry must match in bulk; none if no filter gives one."""
    patterns = [*map(_of_condition, filters.where), *map(_of_regex, filters.regex)]
    expressions = [compile_text(text) for text in filters.grep]
    for pattern in patterns:
        if pattern is not None and (expression := _compiled(pattern)):
            expressions.append(expression)
    return expressions


def _of_regex(pattern: str) -> str | None:
    """Return a pattern that matches wherever this one matches in one text of an entry.

    Each text is between two line feeds. None if there is no certain one.
    """
    if _UNSAFE.search(pattern):
        return None
    return "(?m)" + _ESCAPE.sub(lambda match: _ANCHORS.get(match[0], match[0]), pattern)


def _of_condition(condition: Condition) -> str | None:
    """Return a pattern for what `extra` has where the condition holds; None if none is certain.

    For `extra.a.b=77` that is `"b":77` or `"b":"77"`, or the same with the name `a.b`.
    """
    field, operator, value, _ = condition
    if not field.startswith("extra.") or operator == "!=":
        return None
    name = field.removeprefix("extra.")
    names = {name.rpartition(".")[2], name}
    if not all(map(_PLAIN.fullmatch, names)):
        return None
    pattern = f'"(?:{"|".join(map(re.escape, sorted(names)))})":'
    return pattern + (_of_value(value) if operator == "=" else "")


def _of_value(text: str) -> str:
    """Return a pattern for what is behind the name of an attribute that equals this value."""
    if not _PLAIN.fullmatch(text):
        return ""
    number = parse_number(text)
    if number is None and text not in _WORDS:
        return rf'\s*"{re.escape(text)}"'
    if number is not None and not _is_written_in_one_way(number, text):
        return ""
    return rf'\s*"?{re.escape(text)}\b'


def _is_written_in_one_way(number: float, text: str) -> bool:
    """Return whether JSON has this text for each number that equals this one, perhaps with `.0`.

    0 is also -0.0 and false, and 1 is true. Large numbers may have an exponent.
    """
    is_whole = isinstance(number, float) and number.is_integer()
    return repr(number) == text and 1 < abs(number) < 1e15 and not is_whole


def _compiled(pattern: str) -> Expression | None:
    try:
        return compile_regex(pattern)
    except ConfigError:  # too large, with what was added
        return None
