"""Redaction: removes or masks what no sink may store, and counts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from fastlog.config import RedactConfig
from fastlog.query.evaluate import text_of_value
from fastlog.query.expressions import compile_regex
from fastlog.query.fields import NOTES, NUMBERS, Field
from fastlog.record import Record
from fastlog.routing.checks import parse_stored
from fastlog.routing.paths import change, remove

MASK: Final = "***"
_EMPTY: Final = {"message": "", "host": "", "extra": "{}"}
_ALL_TEXTS: Final = tuple(
    name for name in Record._fields if name not in ("created", "received", "host", *NUMBERS)
)
"""Where a pattern is looked for that names no fields."""
_SENT_AS: Final = {"message": ("msg", "args")}
"""Attributes in which a client sends a field, beside its own name. What could not be read as the
field is an extra of that name."""

Rule = Callable[[Record], Record]


class _Expression(Protocol):
    """What an expression of RE2 can do, beside searching."""

    def search(self, text: str) -> object | None:
        """Return the first match."""

    def sub(self, replacement: str, text: str) -> str:
        """Return the text with all matches replaced."""


class Redaction:
    """Applies the rules of `[[redact]]`, in order."""

    def __init__(self, rules: Sequence[RedactConfig]) -> None:
        self._rules = [(_name(rule, at), _compile(rule)) for at, rule in enumerate(rules, 1)]

    def apply(self, record: Record, counts: Counter[str]) -> Record:
        """Return the record without what must not be stored.

        Args:
            counts: gets one more for each rule that has changed the record.
        """
        for name, rule in self._rules:
            changed = rule(record)
            if changed is not record:
                counts[name] += 1
                record = changed
        return record


def _name(rule: RedactConfig, number: int) -> str:
    """Return what a rule is called. A pattern may itself be personal, so it is no name."""
    return rule.name or rule.field or f"pattern-{number}"


def _compile(rule: RedactConfig) -> Rule:
    if rule.field:
        rules = [_field_rule(field, rule.action) for field in parse_stored(rule.field)]
    else:
        replacement = MASK if rule.action == "mask" else ""
        fields = [field for name in rule.fields for field in parse_stored(name)]
        rules = [_pattern_rule(rule.pattern, replacement, fields)]

    def apply(record: Record) -> Record:
        for each in rules:
            record = each(record)
        return record

    return apply


# ---- a field ----


def _field_rule(field: Field, action: str) -> Rule:
    [name] = field.columns

    def mask(owner: dict[str, Any], key: str) -> None:
        owner[key] = MASK

    def of_path(record: Record) -> Record:
        if record.extra == "{}":
            return record
        extra = msgspec.json.decode(record.extra)
        found = change(extra, field.path, mask) if action == "mask" else remove(extra, field.path)
        return record._replace(extra=_encoded(extra)) if found else record

    def of_extra(record: Record) -> Record:
        if record.extra == "{}":
            return record
        masked = dict.fromkeys(msgspec.json.decode(record.extra), MASK)
        return record._replace(extra=_encoded(masked) if action == "mask" else "{}")

    if field.path:
        return of_path
    if name == "extra":
        return of_extra
    blank = _EMPTY.get(name)
    new = MASK if action == "mask" and name not in NUMBERS else blank

    def of_column(record: Record) -> Record:
        value = getattr(record, name)
        record = _without_leftovers(record, name)
        changes: dict[str, Any] = {name: new}
        return record if value in (None, blank, new) else record._replace(**changes)

    return of_column


def _without_leftovers(record: Record, name: str) -> Record:
    """Return the record without what validation has put into `extra` of the value of a field."""
    if record.extra == "{}":
        return record
    extra = msgspec.json.decode(record.extra)
    found = False
    for each in (name, *_SENT_AS.get(name, ())):
        found = extra.pop(each, None) is not None or found
    notes = extra.get(NOTES)
    if isinstance(notes, list):
        kept = [note for note in notes if not str(note).startswith(f"{name}: ")]
        found = found or kept != notes
        extra[NOTES] = kept
        if not kept:
            del extra[NOTES]
    return record._replace(extra=_encoded(extra)) if found else record


# ---- a pattern ----


def _pattern_rule(pattern: str, replacement: str, fields: Sequence[Field]) -> Rule:
    expression: Any = compile_regex(pattern)
    columns = [field.columns[0] for field in fields if not field.path]
    paths = [field.path for field in fields if field.path]
    names = columns if fields else list(_ALL_TEXTS)
    texts = [name for name in names if name not in ("extra", *NUMBERS)]
    searches_extra = bool("extra" in names or paths)
    # In all texts at once, an expression is found wherever it is found in one of them. But that is
    # not so of one that may ask for the begin or the end of a text, and of escapes in JSON.
    has_anchor = any(each in pattern for each in ("^", "$", r"\A", r"\z", r"\Q"))
    places = [Record._fields.index(name) for name in texts]

    def may_match(record: Record) -> bool:
        if has_anchor or (searches_extra and "\\" in record.extra):
            return True
        some = [str(record[at]) for at in places if record[at]]
        if searches_extra:
            some.append(record.extra)
        return bool(expression.search("\0".join(some)))

    def apply(record: Record) -> Record:
        if not may_match(record):
            return record
        changes = {
            name: expression.sub(replacement, text)
            for name in texts
            if (text := getattr(record, name)) and expression.search(text)
        }
        if record.extra != "{}" and searches_extra:
            where = None if "extra" in names else paths
            text = _redacted_extra(record.extra, expression, replacement, where)
            if text is not None:
                changes["extra"] = text
        return record._replace(**changes) if changes else record

    return apply


def _redacted_extra(
    text: str, expression: _Expression, replacement: str, paths: Sequence[Any] | None
) -> str | None:
    """Return `extra` without what the expression matches in its texts, names and numbers.

    Args:
        paths: Where it is looked for; None: everywhere.

    Returns:
        None if it matches nowhere.
    """
    extra = msgspec.json.decode(text)
    walk = _Walk(expression, replacement)
    if paths is None:
        extra = walk.value(extra)
    else:

        def redact(owner: dict[str, Any], name: str) -> None:
            owner[name] = walk.value(owner[name])

        for path in paths:
            change(extra, path, redact)
    return _encoded(extra) if walk.found else None


class _Walk:
    """Walks through values of JSON, which are not deeper than the bounds of a record allow."""

    def __init__(self, expression: _Expression, replacement: str) -> None:
        self._expression, self._replacement = expression, replacement
        self.found = False

    def value(self, value: Any) -> Any:
        """Return a value without what the expression matches."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            return [self.value(each) for each in value]
        if value is None or isinstance(value, bool):
            return value
        text = text_of_value(value)  # a number may be that of a card
        changed = self._text(text)
        return value if changed is text else changed

    def _text(self, text: str) -> str:
        if not self._expression.search(text):
            return text
        self.found = True
        return self._expression.sub(self._replacement, text)

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        repeats: Counter[str] = Counter()
        for key, inner in value.items():
            name = new = self._text(key)
            while name in result or (name != key and name in value):  # two names have become one
                repeats[new] += 1
                name = f"{new} ({repeats[new] + 1})"
            result[name] = self.value(inner)
        return result


def _encoded(extra: Any) -> str:
    return msgspec.json.encode(extra).decode()
