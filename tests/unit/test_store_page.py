"""The page on the store: its queries run, and its columns are those of a real file."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from day_files import make_record, write_day
from places import ROOT

from fastlog.sinks import day_chunks
from fastlog.sinks.day_schema import ERASURES, LAST_ID, VERSION

PAGE = (ROOT / "docs" / "store.md").read_text("utf-8")
QUERIES = [
    query.strip()
    for block in re.findall(r"^```sql\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    for query in block.split(";")
    if query.strip()
]
NOON = datetime(2026, 11, 23, 14, 30, tzinfo=UTC).timestamp()


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Write two days; open the later one, in their directory."""
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 4)
    monkeypatch.chdir(tmp_path)
    for name in ("2026-11-22.db", "2026-11-23.db"):
        write_day(
            tmp_path / name,
            [
                make_record(
                    n, created=NOON + n, levelno=40, levelname="ERROR", name="app.db.pool",
                    extra='{"user":77}',
                )
                for n in range(10)
            ],
        )  # fmt: skip
    with closing(sqlite3.connect("2026-11-23.db", isolation_level=None)) as connection:
        yield connection


def test_each_query_runs_and_finds_what_it_should(day: sqlite3.Connection) -> None:
    assert len(QUERIES) > 8
    for query in QUERIES:
        rows = day.execute(query).fetchall()
        assert rows or query.startswith("ATTACH"), query
        assert all(None not in row for row in rows if "lineno" not in query), query


def test_the_counts_and_what_they_do_not_cover_are_all_records(day: sqlite3.Connection) -> None:
    by_level, not_counted = (
        query for query in QUERIES if "site_counts" in query or "last_id" in query
    )
    assert day.execute(by_level).fetchall() == [("ERROR", "app.db.pool", 8)]
    assert day.execute(not_counted).fetchall() == [(2,)]


def described(heading: str) -> list[str]:
    """Return the names in the first column of the table below a heading."""
    section = PAGE.split(f"### {heading}\n")[1].split("\n#")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def test_every_table_and_column_is_described_and_no_other(day: sqlite3.Connection) -> None:
    tables = [
        name
        for (name,) in day.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    ]
    headings = re.findall(r"^### (\w+)$", PAGE, flags=re.MULTILINE)
    assert sorted(headings) == sorted(tables)
    for table in {*tables} - {"meta"}:
        columns = [row[1] for row in day.execute(f"PRAGMA table_info({table})")]
        assert sorted(described(table)) == sorted(columns), table
    keys = {key for (key,) in day.execute("SELECT key FROM meta")}
    of_erasures = {ERASURES, LAST_ID}
    assert set(described("meta")) == keys | of_erasures


def test_the_indexes_and_the_version_are_described(day: sqlite3.Connection) -> None:
    indexes = day.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    assert all(f"`{name}`" in PAGE for (name,) in indexes)
    assert f"in version {VERSION} of the schema" in PAGE
    assert re.findall(r"^\| (\d) \|", PAGE.split("## Versions")[1], flags=re.MULTILINE) == [
        str(version) for version in range(1, VERSION + 1)
    ]
