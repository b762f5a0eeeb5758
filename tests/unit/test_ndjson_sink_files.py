"""The ndjson sink and files that others have written, cut, renamed or replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders import NODE, make_context, messages_of, numbered, rest_of
from ndjson_files import all_messages, lines, make_sink

from fastlog.errors import ConfigError, SinkUnavailableError
from fastlog.sinks.ndjson import NdjsonSink


def test_the_lines_of_an_existing_file_stay(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "app.ndjson").write_bytes(b'{"message": "old"}\n{"message": "cut"}')
    chain = numbered(2)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain)
    sink.close()  # killed before it was synced

    again = make_sink(tmp_path)
    again.apply(rest_of(chain, again.open(NODE)))
    assert all_messages(tmp_path) == ["old", "cut", *messages_of(chain)]


def test_a_file_that_became_shorter_is_neither_truncated_nor_filled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = numbered(3)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:2])
    sink.sync()
    sink.close()
    path = tmp_path / "out" / "app.ndjson"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])

    again = make_sink(tmp_path)
    assert again.open(NODE) == chain[1].block.end
    again.apply(chain[2:])

    assert all_messages(tmp_path) == ["0", *messages_of(chain[2:])]
    assert "is shorter" in caplog.text


def test_another_file_with_the_same_inode_number_is_not_truncated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """File systems give the number of a deleted file to the next one."""
    chain = numbered(2)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    sink.sync()
    sink.close()
    path = tmp_path / "out" / "app.ndjson"
    other = '{"message": "other"}\n' * 100
    with path.open("r+") as file:
        file.write(other)

    again = make_sink(tmp_path)
    again.open(NODE)
    again.apply(chain[1:])

    assert all_messages(tmp_path) == ["other"] * 100 + messages_of(chain[1:])
    assert "in the same place" in caplog.text


def test_after_logrotate_it_continues_in_the_new_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = numbered(3)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    (tmp_path / "out" / "app.ndjson").rename(tmp_path / "out" / "app.ndjson.1")
    sink.apply(chain[1:2])
    sink.sync()
    sink.apply(chain[2:])
    sink.sync()

    assert [line["message"] for line in lines(tmp_path, "app.ndjson.1")] == messages_of(chain[:2])
    assert [line["message"] for line in lines(tmp_path)] == messages_of(chain[2:])
    assert "was moved or replaced" in caplog.text


def test_killed_after_logrotate_the_renamed_file_is_truncated_and_nothing_is_doubled(
    tmp_path: Path,
) -> None:
    chain = numbered(3)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    sink.sync()
    sink.apply(chain[1:2])
    (tmp_path / "out" / "app.ndjson").rename(tmp_path / "out" / "app.ndjson.1")
    (tmp_path / "out" / "app.ndjson").touch()

    again = make_sink(tmp_path)
    again.apply(rest_of(chain, again.open(NODE)))

    assert all_messages(tmp_path) == messages_of(chain)


def test_a_file_that_copytruncate_has_cut_is_logged_and_still_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = numbered(2)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    sink.sync()
    os.truncate(tmp_path / "out" / "app.ndjson", 0)
    sink.apply(chain[1:])
    sink.sync()
    sink.close()

    assert make_sink(tmp_path).open(NODE) == chain[1].block.end
    assert all_messages(tmp_path) == messages_of(chain[1:])
    assert "another program writes it" in caplog.text


def test_a_path_that_is_no_regular_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "app.ndjson")
    with pytest.raises(SinkUnavailableError, match="not a regular file"):
        make_sink(tmp_path).open(NODE)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("ndjson:", "expected ndjson:///path"),
        ("ndjson://host/file", "expected ndjson:///path"),
        ("ndjson:///dir/", "expected ndjson:///path"),
        ("ndjson:///f?rotate_sise=1", "did you mean 'rotate_size'"),
        ("ndjson:///f?rotate_every=soon", "a time such as 1d"),
        ("ndjson:///f?keep=0", "keep is a number"),
        ("ndjson:///f?keep=1&keep=2", "given twice"),
    ],
)
def test_a_wrong_url_is_explained(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        NdjsonSink(make_context(tmp_path, url))
