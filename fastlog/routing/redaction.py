"""Redaction: removes or masks what no sink may store, and counts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from fastlog.config import RedactConfig
from fastlog.query.fields import NOTES, NUMBERS, Field
from fastlog.record import Record
from fastlog.routing.checks import parse_stored
from fastlog.routing.paths import change, remove
from fastlog.routing.patterns import MASK, PatternRule

_EMPTY: Final = {"message": "", "host": "", "extra": "{}"}
_SENT_AS: Final = {"message": ("msg", "args")}
"""Attributes in which a client sends a field, beside its own name. What could not be read as the
field is an extra of that name."""

Rule = Callable[[Record], Record]


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
        rules = [PatternRule(rule.pattern, replacement, fields).apply]

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


def _encoded(extra: Any) -> str:
    return msgspec.json.encode(extra).decode()
