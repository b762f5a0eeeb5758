"""Values that could not be read as their field: validation keeps them in `extra`, with a note."""

from __future__ import annotations

from typing import Any, Final

from fastlog.query.fields import NOTES

_SENT_AS: Final = {"message": ("msg", "args"), "exc_text": ("exc_info",)}
"""Attributes in which a client sends a field, beside its own name. What could not be read as the
field is an extra of that name."""


def remove_unreadable(extra: dict[str, Any], name: str) -> bool:
    """Remove from `extra` what belongs to a column; return whether there was anything."""
    found = False
    names = (name, *_SENT_AS.get(name, ()))
    for each in names:
        found = extra.pop(each, None) is not None or found
    notes = extra.get(NOTES)
    if isinstance(notes, list):
        kept = [note for note in notes if str(note).partition(": ")[0] not in names]
        found = found or kept != notes
        extra[NOTES] = kept
        if not kept:
            del extra[NOTES]
    return found
