"""What a query says about the rows of a PostgreSQL store as SQL, and what remains to decide.

A condition of SQL is true, false or unknown; a part of a query is true or false. So each condition
here checks for NULL first, and is never unknown: it may be negated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from fastlog.query import EVERYTHING, Node, both
from fastlog.query.fields import NUMBERS, TIMES, Field
from fastlog.query.tree import (
    And,
    Below,
    Compares,
    Contains,
    Equals,
    Exists,
    Leaf,
    Matches,
    Not,
    Or,
    conjuncts,
    forms,
)
from fastlog.sinks.clauses import Clause, all_of, any_of_clauses

_NEVER: Final = Clause("false")
_STAMPS: Final = {"created": "created_at", "received": "received_at"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TEXT: Final = ("node", "extra", *TIMES, *NUMBERS)
"""The columns that are not `text`."""
_WORD: Final = re.compile(r"\(\?is\)\\A([A-Za-z]+)\\z")
"""The pattern of a whole text in any case, as `level:error` has it."""
_FOLDED: Final = frozenset("kKsS")
"""Letters of ASCII that are equal to letters beyond it where case is ignored."""


class PostgresNarrowing:
    """The SQL of one query."""

    def __init__(self, query: Node) -> None:
        parts = conjuncts(query)
        self.rest = both(*(part for part in parts if _exact(part) is None))
        """What is to be decided for each row that meets the condition."""
        some = [_superset(part) for part in parts]
        self.condition = all_of(clause for clause in some if clause is not None)
        """A condition that holds where the query does. It has `%s` for each parameter."""
        self.is_wide = None in some
        """Whether nothing of some part is in the condition: then most rows may be unwanted."""

    @property
    def is_exact(self) -> bool:
        """Whether the condition holds only where the query does."""
        return self.rest == EVERYTHING


def _superset(node: Node) -> Clause | None:
    """Return a condition that holds where a part of the query does; None if none is known."""
    exact = _exact(node)
    if exact is not None:
        return exact
    if isinstance(node, And | Or):
        parts = [_superset(part) for part in node.parts]
        known = [clause for clause in parts if clause is not None]
        if isinstance(node, And):
            return all_of(known)
        return any_of_clauses(known) if len(known) == len(parts) else None
    if isinstance(node, Not):
        return None
    clauses = [_superset_of_column(node, name) for name in node.field.columns]
    known = [clause for clause in clauses if clause is not None]
    return any_of_clauses(known) if len(known) == len(clauses) else None


def _exact(node: Node) -> Clause | None:
    """Return a condition that holds exactly where a part of the query does; None: unknown."""
    if isinstance(node, Not):
        inner = _exact(node.part)
        return inner and Clause(f"NOT {inner.sql}", inner.parameters)
    if isinstance(node, And | Or):
        parts = [_exact(part) for part in node.parts]
    else:
        parts = [_exact_of_column(node, name) for name in node.field.columns]
    known = [clause for clause in parts if clause is not None]
    if len(known) < len(parts):
        return None
    return all_of(known) if isinstance(node, And) else any_of_clauses(known)


def _exact_of_column(leaf: Leaf, name: str) -> Clause | None:
    if leaf.field.path:
        return None
    if isinstance(leaf, Exists):
        return Clause("extra <> '{}'" if name == "extra" else f'"{name}" IS NOT NULL')
    if name in TIMES:
        return _of_time(leaf, name)
    if name in NUMBERS:
        return _of_number(leaf, name)
    return None if name in _NO_TEXT else _of_text(leaf, name)


def _of_time(leaf: Leaf, name: str) -> Clause | None:
    """Return the condition on a time, and on the `timestamptz` beside it, which has an index."""
    if not isinstance(leaf, Compares) or isinstance(leaf.value, str):
        return None
    if not _is_finite(leaf.value) or float(leaf.value) != leaf.value:
        return None
    seconds = float(leaf.value)
    exact = Clause(f"{name} {leaf.operator} %s", (seconds,))
    try:
        stamp = _EPOCH + timedelta(seconds=seconds)
        # More than the difference between a time and its `timestamptz`, both rounded.
        slack = timedelta(seconds=2e-6 + abs(seconds) * 1e-15)
        is_lower = leaf.operator in (">", ">=")
        bound = Clause(
            f"{_STAMPS[name]} {'>=' if is_lower else '<='} %s",
            (stamp - slack if is_lower else stamp + slack,),
        )
    except OverflowError:
        return exact
    return all_of([exact, bound])


def _is_finite(value: float) -> bool:
    """Return whether a float or an integer is finite, and may be a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _of_number(leaf: Leaf, name: str) -> Clause | None:
    if isinstance(leaf, Equals):
        value, operator = leaf.number, "="
    elif isinstance(leaf, Compares) and not isinstance(leaf.value, str):
        value, operator = leaf.value, leaf.operator
    else:
        return None
    if value is None:
        return _NEVER
    if not _is_finite(value):
        return None
    # Not as a float, which would round large integers.
    exact = int(value) if value == int(value) and abs(value) < 1 << 63 else Decimal(value)
    return Clause(f'("{name}" IS NOT NULL AND "{name}" {operator} %s)', (exact,))


def _of_text(leaf: Leaf, name: str) -> Clause | None:
    if isinstance(leaf, Equals):
        return _about(name, f'"{name}" = %s', leaf.text)
    if isinstance(leaf, Compares) and isinstance(leaf.value, str):
        # The order of code points, which Python has, too.
        return _about(name, f'"{name}" COLLATE "C" {leaf.operator} %s', leaf.value)
    if isinstance(leaf, Matches) and (word := _WORD.fullmatch(leaf.pattern)) is not None:
        # As RE2 ignores case: of ASCII, only k and s have an equal letter beyond it.
        folded = f"lower(translate(\"{name}\", '\u212a\u017f', 'ks') COLLATE \"C\")"
        return _about(name, f"{folded} = %s", word[1].lower())
    if isinstance(leaf, Below):
        sql = f'("{name}" = %s OR starts_with("{name}", %s))'
        return _about(name, sql, leaf.name, f"{leaf.name}.")
    return None


def _about(name: str, sql: str, *texts: str) -> Clause | None:
    if not all(map(_is_storable, texts)):
        return None
    return Clause(f'("{name}" IS NOT NULL AND {sql})', texts)


def _is_storable(text: str) -> bool:
    """Return whether PostgreSQL takes a text as a parameter."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _superset_of_column(leaf: Leaf, name: str) -> Clause | None:
    exact = _exact_of_column(leaf, name)
    if exact is not None:
        return exact
    if leaf.field.path:
        return _of_attribute(leaf)
    if isinstance(leaf, Contains) and (name == "extra" or name not in _NO_TEXT):
        source = "extra::text" if name == "extra" else f'"{name}"'
        patterns = [_pattern(form, of_json=name == "extra") for form in forms(leaf)]
        if all(map(_is_storable, patterns)):
            parts = [Clause(f'{source} COLLATE "C" ILIKE %s', (each,)) for each in patterns]
            return all_of([Clause(f'"{name}" IS NOT NULL'), any_of_clauses(parts)])
    return None


def _pattern(text: str, *, of_json: bool) -> str:
    """Return a pattern of ILIKE that matches wherever the text is found, and perhaps elsewhere.

    Args:
        of_json: It is looked for in a `jsonb`, which is printed with spaces behind `:` and `,`.
    """
    return f"%{''.join(_piece(character, of_json=of_json) for character in text)}%"


def _piece(character: str, *, of_json: bool) -> str:
    if of_json and character in ":,":
        return f"{character}%"
    if character in "\\%_":
        return f"\\{character}"
    return character if character.isascii() and character not in _FOLDED else "_"


def _of_attribute(leaf: Leaf) -> Clause | None:
    """Return a condition that holds where an attribute of `extra` may be there, and be the value.

    For `extra.a.b` that is `b` inside `a`, or the attribute whose name is `a.b`.
    """
    names = list(_leading_names(leaf.field))
    if not all(map(_is_storable, names)):
        return None
    if not names:
        return _NEVER
    exists = Clause("jsonb_exists_any(extra, %s::text[])", (names,))
    if not isinstance(leaf, Equals) or len(leaf.field.path) > 1 or not _is_storable(leaf.text):
        return exists
    value = "jsonb_extract_path(extra, %s)"
    number = leaf.number
    if number is None or not _is_finite(number):
        as_number = Clause("false")
    else:  # what Python has read as a float is near it
        exact = Decimal(number)
        as_number = Clause(
            f"abs(({value})::numeric - %s) <= %s", (names[0], exact, abs(exact) / 1_000_000)
        )
    text = Clause("jsonb_extract_path_text(extra, %s) = %s", (names[0], leaf.text))
    return all_of(
        [
            exists,
            Clause(
                f"CASE jsonb_typeof({value}) WHEN 'string' THEN {text.sql}"
                f" WHEN 'number' THEN {as_number.sql} ELSE true END",
                (names[0], *text.parameters, *as_number.parameters),
            ),
        ]
    )


def _leading_names(field: Field) -> Iterator[str]:
    """Yield the names that an attribute of `extra` may have on the way of a path."""
    joined = ""
    for step in field.path:
        if isinstance(step, int):
            return
        joined = f"{joined}.{step}" if joined else step
        yield joined
