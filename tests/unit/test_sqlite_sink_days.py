"""The sqlite sink chooses the day file of each block, by its date and by the size of the file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from builders import (
    DAY,
    MONDAY,
    NODE,
    make_chain,
    make_context,
    make_decoded,
    messages_of,
    numbered,
)
from columns import with_records
from sqlite_stores import files, make_sink, rows, value

from fastlog.errors import ConfigError
from fastlog.sinks.day_directory import DayFileName, day_of, parse_name
from fastlog.sinks.sqlite import SqliteSink


def test_a_block_goes_whole_into_the_day_of_its_stamp(tmp_path: Path) -> None:
    chain = make_chain(
        [
            (["last of monday", "too"], MONDAY + DAY - 1e-6),
            (["first of tuesday"], MONDAY + DAY),
            (["thursday"], MONDAY + 3 * DAY + 5),
        ]
    )
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain)

    assert files(tmp_path) == ["2026-11-23.db", "2026-11-24.db", "2026-11-26.db"]
    assert value(tmp_path, "2026-11-23.db", "SELECT count(*) FROM records") == (2,)
    assert value(tmp_path, "2026-11-23.db", "SELECT sealed FROM cursor") == ("2026-11-24.db",)
    assert value(tmp_path, "2026-11-26.db", "SELECT offset, sealed FROM cursor") == (
        chain[-1].block.end,
        None,
    )
    assert rows(tmp_path) == messages_of(chain)


def test_a_file_states_its_smallest_and_largest_created(tmp_path: Path) -> None:
    decoded = make_decoded(["a", "b", "c"])
    times = [MONDAY - 100.0, MONDAY + 7.5, MONDAY + 1.0]
    records = [r._replace(created=t) for r, t in zip(decoded.records, times, strict=True)]
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply([with_records(decoded, records)])
    sink.apply([make_decoded(["d"], offset=decoded.block.end)])

    with closing(sqlite3.connect(tmp_path / "logs" / "2026-11-23.db")) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
    assert (meta["min_created"], meta["max_created"]) == (MONDAY - 100.0, MONDAY + 7.5)


def test_a_stamp_of_an_earlier_day_goes_into_the_file_of_that_day(tmp_path: Path) -> None:
    """The clock was ahead, then right, then set back a little: the cursor moves both ways."""
    days = [0, 1, 0, 5000, 0, 1, -1, 1]
    chain = make_chain([([f"{n}"], MONDAY + day * DAY) for n, day in enumerate(days)])
    sink = make_sink(tmp_path)
    sink.open(NODE)
    for decoded in chain:
        sink.apply([decoded])
        assert make_sink(tmp_path).open(NODE) == decoded.block.end

    assert files(tmp_path) == ["2026-11-22.db", "2026-11-23.db", "2026-11-24.db", "2040-08-01.db"]
    assert rows(tmp_path) == messages_of(chain)
    monday = value(tmp_path, "2026-11-23.db", "SELECT group_concat(message) FROM records")
    assert monday == ("0,2,4",)
    where = value(tmp_path, "2026-11-24.db", "SELECT offset, sealed, step, frames FROM cursor")
    assert where == (chain[-1].block.end, None, 8, 8)


def test_past_its_limit_a_day_continues_in_another_file(tmp_path: Path) -> None:
    chain = numbered(5, per_block=200)
    sink = make_sink(tmp_path, limit=100_000)
    sink.open(NODE)
    for decoded in chain:
        sink.apply([decoded])
    sink.close()

    assert files(tmp_path)[:2] == ["2026-11-23.1.db", "2026-11-23.2.db"]
    assert rows(tmp_path) == messages_of(chain)
    assert make_sink(tmp_path, limit=100_000).open(NODE) == chain[-1].block.end


def test_the_url_can_set_the_directory_and_the_file_size(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/elsewhere?file_size=1"
    sink = SqliteSink(make_context(tmp_path, url))
    sink.open(NODE)
    for decoded in numbered(2):
        sink.apply([decoded])

    assert (tmp_path / "elsewhere" / "2026-11-23.1.db").exists()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("sqlite:relative", "expected sqlite:"),
        ("sqlite://host/dir", "expected sqlite:"),
        ("sqlite:?file_siz=1", "did you mean 'file_size'"),
        ("sqlite:?file_size=big", "a size such as"),
    ],
)
def test_a_wrong_url_is_explained(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        SqliteSink(make_context(tmp_path, url))


def test_names_of_day_files_are_parsed_and_formatted() -> None:
    day = day_of(int(MONDAY * 1e6))
    first = DayFileName(day)
    assert [str(first), str(first.successor())] == ["2026-11-23.db", "2026-11-23.1.db"]
    assert parse_name("2026-11-23.db") == first
    assert parse_name("2026-11-23.12.db") == DayFileName(day, 12)
    others = ("2026-11-31.db", "2026-11-23.0.db", "2026-11-23.db-wal", "x.db", "2026-11-23")
    assert [parse_name(text) for text in others] == [None] * 5
