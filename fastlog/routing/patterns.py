"""Patterns: rules of redaction that replace what an expression matches in the texts of a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from fastlog.query.evaluate import text_of_value
from fastlog.query.expressions import compile_regex
from fastlog.query.fields import NUMBERS, Field
from fastlog.record import Record
from fastlog.routing.paths import change

MASK: Final = "***"
MOST: Final = 1000
"""Matches in one record, beyond which all of its texts are replaced as a whole: each match costs
some microseconds, and a frame can have a million."""
_ALL: Final = tuple(
    name for name in Record._fields if name not in ("created", "received", "host", *NUMBERS)
)
"""Where a pattern is looked for that names no fields."""
_NUL: Final = "\0"
"""It is in no text of a record."""


class _TooManyError(Exception):
    """There are more matches than `MOST`."""


class PatternRule:
    """Replaces what an expression matches.

    Args:
        pattern: Of RE2.
        replacement: What stands in the place of a match: plain text.
        fields: Where it is looked for; empty: everywhere.
    """

    def __init__(self, pattern: str, replacement: str, fields: Sequence[Field]) -> None:
        self._expression: Any = compile_regex(pattern)
        self._replacement = replacement
        names = [field.columns[0] for field in fields if not field.path] if fields else _ALL
        self._columns = [name for name in names if name not in ("extra", *NUMBERS)]
        self._places = [Record._fields.index(name) for name in self._columns]
        self._paths = [field.path for field in fields if field.path]
        self._has_extra = "extra" in names
        self._searches_extra = self._has_extra or bool(self._paths)
        # In several texts at once, an expression is found wherever it is found in one of them. But
        # one that may ask for the start or the end of a text is not.
        self._has_anchor = any(each in pattern for each in ("^", "$", r"\A", r"\z", r"\Q"))

    def apply(self, record: Record) -> Record:
        """Return the record without what matches; the same object if nothing does."""
        if not self._may_match(record):
            return record
        extra = None
        if self._searches_extra and record.extra != "{}":
            extra = msgspec.json.decode(record.extra)
        parts = [] if extra is None else self._parts(extra)
        columns = [(name, text) for name in self._columns if (text := getattr(record, name))]
        texts = [text for _, text in columns]
        for value in parts:
            texts += _texts(value)
        try:
            new = self._replaced(texts)
        except _TooManyError:
            return self._blank(record, [name for name, _ in columns])
        if new == texts:
            return record
        changes: dict[str, Any] = {
            name: changed
            for (name, text), changed in zip(columns, new[: len(columns)], strict=True)
            if text != changed
        }
        if extra is not None and new[len(columns) :] != texts[len(columns) :]:
            changes["extra"] = self._rebuilt(extra, iter(new[len(columns) :]))
        return record._replace(**changes)

    def _may_match(self, record: Record) -> bool:
        # JSON has escapes, so that the text of `extra` may lack what its values have.
        if self._has_anchor or (self._searches_extra and "\\" in record.extra):
            return True
        texts = [record[at] for at in self._places if record[at]]
        if self._searches_extra:
            texts.append(record.extra)
        return bool(self._expression.search(_NUL.join(map(str, texts))))

    def _parts(self, extra: Any) -> list[Any]:
        """Return the parts of `extra` in which the pattern is looked for."""
        if self._has_extra:
            return [extra]
        parts: list[Any] = []
        for path in self._paths:
            change(extra, path, lambda owner, name: parts.append(owner[name]))
        return parts

    def _rebuilt(self, extra: Any, new: Iterator[str]) -> str:
        """Return `extra` with other texts, in the order of `_parts`."""
        if self._has_extra:
            extra = _with_texts(extra, new)
        else:

            def replace(owner: dict[str, Any], name: str) -> None:
                owner[name] = _with_texts(owner[name], new)

            for path in self._paths:
                change(extra, path, replace)
        return msgspec.json.encode(extra).decode()

    def _replaced(self, texts: list[str]) -> list[str]:
        """Return the texts without what matches.

        Raises:
            _TooManyError: There are too many matches.
        """
        if not self._has_anchor:
            joined, number = self._substituted(_NUL.join(texts), MOST)
            parts = joined.split(_NUL)
            if not number or len(parts) == len(texts):
                return parts if number else texts
            # A match goes over several texts: each has to be searched by itself.
        new, left = list[str](), MOST
        for text in texts:
            changed, number = self._substituted(text, left)
            left -= number
            new.append(changed if number else text)
        return new

    def _substituted(self, text: str, most: int) -> tuple[str, int]:
        if not self._expression.search(text):
            return text, 0
        changed, number = self._expression.subn(self._replacement, text, most + 1)
        if number > most:
            raise _TooManyError
        return changed, number

    def _blank(self, record: Record, columns: list[str]) -> Record:
        changes: dict[str, Any] = dict.fromkeys(columns, self._replacement)
        if self._searches_extra and record.extra != "{}":
            what = f"[over {MOST} matches of a pattern]"
            changes["extra"] = msgspec.json.encode({"!redacted": what}).decode()
        return record._replace(**changes)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts, names and numbers in a value of JSON. It is not deeper than the bounds of a
    record allow."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif value is not None and not isinstance(value, bool):
        yield text_of_value(value)  # a number may be that of a card


def _with_texts(value: Any, new: Iterator[str]) -> Any:
    """Return a value of JSON with other texts, in the order of `_texts`."""
    if isinstance(value, str):
        return next(new)
    if isinstance(value, list):
        return [_with_texts(inner, new) for inner in value]
    if isinstance(value, dict):
        return _with_names(value, new)
    if value is None or isinstance(value, bool):
        return value
    text = next(new)
    return value if text == text_of_value(value) else text


def _with_names(value: dict[str, Any], new: Iterator[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    repeats: Counter[str] = Counter()
    for old, inner in value.items():
        name = text = next(new)
        while name in result or (name != old and name in value):  # two names have become one
            repeats[text] += 1
            name = f"{text} ({repeats[text] + 1})"
        result[name] = _with_texts(inner, new)
    return result
