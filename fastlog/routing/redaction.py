"""Redaction: removes or masks what no sink may store, and counts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from fastlog.config import RedactConfig
from fastlog.query.fields import NUMBERS, Field
from fastlog.record import Record
from fastlog.routing.checks import parse_stored
from fastlog.routing.paths import change, remove
from fastlog.routing.patterns import MASK, PatternRule
from fastlog.routing.unreadable import remove_unreadable

_EMPTY: Final = {"message": "", "host": "", "extra": "{}"}

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
            if changed is not record and changed != record:  # it may be redacted already
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
        changes: dict[str, Any] = {} if value in (None, blank, new) else {name: new}
        if record.extra != "{}":
            extra = msgspec.json.decode(record.extra)
            if remove_unreadable(extra, name):
                changes["extra"] = _encoded(extra)
        return record._replace(**changes) if changes else record

    return of_column


def _encoded(extra: Any) -> str:
    return msgspec.json.encode(extra).decode()
