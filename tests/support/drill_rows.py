"""Rows of the drill's comparison that keep or break its promises."""

from __future__ import annotations

from typing import Any

from fastlog.drill.comparison import Account, Row


def make_row(**fields: Any) -> Row:
    return Row(**{"phase": "kills", "kind": "x", "is_fastlog": True, "clients": 1, **fields})


def kept_rows(**fields: Any) -> list[Row]:
    """Return rows to which every promise applies, all kept; the first has these fields."""
    fine = Account(sent=10, stored=10)
    return [
        make_row(**{"account": fine, **fields}),
        make_row(account=fine, is_fastlog=False, keeps_connection=True, connections=1),
    ]
