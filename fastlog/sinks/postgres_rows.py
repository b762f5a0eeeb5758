"""Columns of a PostgreSQL store as other stores have them, and as queries expect them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


def key_of(name: str) -> str:
    """Return the SQL of a column that rows may be grouped by."""
    return "replace(node::text, '-', '')" if name == "node" else f'"{name}"'


def selected(name: str) -> str:
    """Return the SQL of a column for a SELECT."""
    return "extra::text" if name == "extra" else key_of(name)


def with_compact(row: Sequence[Any], extra: int) -> Sequence[Any]:
    """Return a row whose `extra` is compact JSON.

    Args:
        extra: Where it is in the row.
    """
    text = row[extra]
    if text == "{}":
        return row
    return (*row[:extra], msgspec.json.format(text, indent=-1), *row[extra + 1 :])
