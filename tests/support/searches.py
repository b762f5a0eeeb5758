"""Searches of a folder of day files, and what they find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from queries import parsed

from fastlog.search import Totals, count_totals, search


def messages(logs: Path, query: str = "", **options: Any) -> list[str]:
    return [found.record.message for found in search(logs, parsed(query), **options)]


def totals(logs: Path, query: str = "") -> Totals:
    return count_totals(logs, parsed(query))
