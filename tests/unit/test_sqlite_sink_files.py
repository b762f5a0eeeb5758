"""The sqlite sink while its files are locked, full, read for long, or removed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from builders import NODE, messages_of, numbered
from sqlite_stores import make_sink, rows

from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.sinks import day_file


def test_a_locked_file_is_unavailable_and_used_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_file, "BUSY_TIMEOUT", 0.01)
    chain = numbered(2)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])

    with closing(sqlite3.connect(tmp_path / "logs" / "2026-11-23.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SinkUnavailableError, match="locked"):
            sink.apply(chain[1:])
        other.execute("ROLLBACK")
    sink.apply(chain[1:])

    assert rows(tmp_path) == messages_of(chain)


def test_a_full_disk_is_unavailable_and_used_later(tmp_path: Path) -> None:
    chain = numbered(3, per_block=500)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    connection = sink._files.opened(sink._at.file).connection
    connection.execute("PRAGMA max_page_count = 1")  # no page more than there are

    with pytest.raises(SinkUnavailableError, match="full"):
        sink.apply(chain[1:])
    sink.apply(chain[1:])  # it opened the file again, which has room now

    assert rows(tmp_path) == messages_of(chain)


def test_a_long_reader_does_not_stop_the_writer(tmp_path: Path) -> None:
    chain = numbered(40, per_block=50)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])

    with closing(sqlite3.connect(tmp_path / "logs" / "2026-11-23.db")) as reader:
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM records").fetchone()
        for decoded in chain[1:]:
            sink.apply([decoded])
        assert sink.sync() == chain[-1].block.end
        assert reader.execute("SELECT count(*) FROM records").fetchone() == seen

    assert rows(tmp_path) == messages_of(chain)


def test_files_that_are_removed_while_open_are_noticed_and_filled_again(
    tmp_path: Path,
) -> None:
    chain = numbered(2)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain)
    for path in (tmp_path / "logs").iterdir():
        path.unlink()

    with pytest.raises(SinkUnavailableError, match="removed"):
        sink.sync()
    with pytest.raises(SinkConflictError):
        sink.sync()
    assert sink.open(NODE) == 0
    assert sink.missing() == "a day file was removed, emptied or replaced"
    sink.apply(chain)
    assert rows(tmp_path) == messages_of(chain)
