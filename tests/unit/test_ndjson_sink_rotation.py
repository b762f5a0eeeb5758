"""The ndjson sink rotates its file by size and by time, with any clock."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import DAY, MONDAY, NODE, Clock, messages_of, numbered
from ndjson_files import all_messages, lines, make_sink


def test_it_rotates_by_size_and_keeps_the_configured_number(tmp_path: Path) -> None:
    chain = numbered(6, per_block=4)
    sink = make_sink(tmp_path, "?rotate_size=1000&keep=2")
    sink.open(NODE)
    for decoded in chain:
        sink.apply([decoded])

    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["app.ndjson", "app.ndjson.000005", "app.ndjson.000006"]
    assert all_messages(tmp_path) == messages_of(chain[4:])
    assert sink.sync() == chain[-1].block.end


def test_it_rotates_by_time_but_never_an_empty_file(tmp_path: Path) -> None:
    clock = Clock()
    chain = numbered(2)
    sink = make_sink(tmp_path, "?rotate_every=1d", clock=clock, steady=clock)
    sink.open(NODE)
    sink.apply(chain[:1])
    clock.now = MONDAY + DAY - 1
    sink.tick()
    assert len(lines(tmp_path)) == 3
    clock.now = MONDAY + DAY
    sink.tick()
    sink.tick()
    clock.now += 5 * DAY
    sink.tick()
    sink.apply(chain[1:])

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "app.ndjson",
        "app.ndjson.000001",
    ]
    assert all_messages(tmp_path) == messages_of(chain)


@pytest.mark.parametrize("jump", [1000 * DAY, -1000 * DAY, 5.0])
def test_a_clock_that_is_set_neither_rotates_nor_stops_the_rotation(
    tmp_path: Path, jump: float
) -> None:
    clock, steady = Clock(), Clock()
    sink = make_sink(tmp_path, "?rotate_every=1d&keep=1", clock=clock, steady=steady)
    sink.open(NODE)
    sink.apply(numbered(1))
    clock.now += jump
    sink.tick()
    clock.now += DAY - 10
    steady.now += DAY - 10
    sink.tick()
    assert len(lines(tmp_path)) == 3
    clock.now += 10
    steady.now += 10
    sink.tick()
    assert lines(tmp_path) == []


def test_a_file_of_a_clock_that_was_ahead_before_a_restart_is_rotated_in_time(
    tmp_path: Path,
) -> None:
    wrong = Clock(MONDAY + 1000 * DAY)
    sink = make_sink(tmp_path, "?rotate_every=1d", clock=wrong, steady=wrong)
    sink.open(NODE)
    sink.apply(numbered(1))
    sink.sync()
    sink.close()
    clock = Clock()
    sink = make_sink(tmp_path, "?rotate_every=1d", clock=clock, steady=clock)
    sink.open(NODE)
    sink.tick()
    clock.now += DAY
    sink.tick()
    assert lines(tmp_path) == []
