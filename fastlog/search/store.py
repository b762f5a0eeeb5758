"""Stores of records, by their URLs."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fastlog.config import nearest
from fastlog.errors import ConfigError
from fastlog.search.day_store import DayStore
from fastlog.search.record_store import RecordStore

__all__ = ["POSTGRES", "RecordStore", "open_store"]

POSTGRES: Final = ("postgresql", "postgres")
"""The schemes of PostgreSQL's URLs."""


def open_store(url: str, keep: int = 0) -> RecordStore:
    """Return the store that a URL names, without any I/O.

    Args:
        keep: How many connections to a database may stay open between two questions.

    Raises:
        ConfigError: It names none that can be searched.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and parts.path.startswith("/") and not parts.netloc:
        return DayStore(Path(parts.path))
    if parts.scheme in POSTGRES:
        try:
            from fastlog.search.postgres import PostgresStore  # psycopg takes a while to import
        except ImportError as error:
            raise ConfigError(f"{parts.scheme}: {error}") from None
        return PostgresStore(parts, keep)
    hint = nearest(parts.scheme, ("sqlite", *POSTGRES))
    expected = "expected sqlite:///directory or postgresql://user@host/database"
    raise ConfigError(f"{expected}, got {url!r}{hint}")
