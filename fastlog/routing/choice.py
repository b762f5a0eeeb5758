"""The choice of fields: what of a record a sink stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fastlog.query.evaluate import decode_extra
from fastlog.query.fields import Field
from fastlog.record import Record
from fastlog.routing.checks import ALWAYS, parse_field, parse_stored
from fastlog.routing.paths import add, find_all, remove
from fastlog.routing.unreadable import remove_unreadable

_BLANKS: Final = {"message": "", "host": "", "extra": "{}"}
"""What stands in the place of a field that is never null."""


class FieldChoice:
    """Removes what a sink does not store.

    Args:
        fields: The fields that it stores; empty: all.
        without: Those that it does not.
    """

    def __init__(self, fields: Sequence[str], without: Sequence[str]) -> None:
        chosen = [field for name in fields for field in parse_field(name)]
        excluded = [field for name in without for field in parse_stored(name)]
        self._paths = None if not fields else [field.path for field in chosen if field.path]
        """What of `extra` is stored; None: all but the following."""
        self._excluded = [field.path for field in excluded if field.path]
        self._excluded_columns = [field.columns[0] for field in excluded if not field.path]
        self.columns = _columns(chosen, excluded)
        """The columns that are stored, in order."""
        if "extra" in [field.name for field in chosen]:
            self._paths = None
        self._blank = {
            name: _BLANKS.get(name) for name in Record._fields if name not in self.columns
        }

    def apply(self, record: Record) -> Record:
        """Return the record with the other fields blank."""
        changes: dict[str, Any] = dict(self._blank)
        if "extra" in self.columns and record.extra != "{}":
            changes["extra"] = self._extra(record.extra)
        return record._replace(**changes)

    def _extra(self, text: str) -> str:
        if self._paths is None and not self._excluded and not self._excluded_columns:
            return text
        if self._paths is not None:
            kept: dict[str, Any] = {}
            extra = decode_extra(text)
            for path in self._paths:
                for way, value in find_all(extra, path):
                    add(kept, way, value)
        else:
            kept = msgspec.json.decode(text)
            for name in self._excluded_columns:
                remove_unreadable(kept, name)
            for path in self._excluded:
                remove(kept, path)
        return msgspec.json.encode(kept).decode()


def _columns(chosen: Sequence[Field], excluded: Sequence[Field]) -> tuple[str, ...]:
    if chosen:
        names = {field.columns[0] for field in chosen} | {*ALWAYS}
        return tuple(name for name in Record._fields if name in names)
    gone = {field.columns[0] for field in excluded if not field.path}
    return tuple(name for name in Record._fields if name not in gone)
