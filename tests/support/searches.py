"""Searches of a folder of day files, and what they find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastlog.query import Filters
from fastlog.search import search

EVERYTHING = Filters()


def messages(logs: Path, filters: Filters = EVERYTHING, **options: Any) -> list[str]:
    return [found.record.message for found in search(logs, filters, **options)]
