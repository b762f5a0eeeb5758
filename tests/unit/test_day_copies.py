"""Copies of day files, made while the sink stores and moves from file to file."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from builders import DAY, MONDAY, NODE, make_chain
from sqlite_stores import make_sink

from fastlog.search import Unread
from fastlog.transfer import day_copies
from fastlog.transfer.day_copies import DayCopies

WAYS = {
    "one day": [0] * 30,
    "midnight": [0] * 15 + [1] * 15,
    "a day each": [*range(9)],
    "the clock is set back": [0, 1, 0, 1, 1, 0, 2, 0, 1, 2] * 2,
}
"""The days of the blocks."""


def messages_in(folder: Path) -> list[str]:
    found = []
    for path in folder.glob("*.db"):
        with closing(sqlite3.connect(path)) as connection:
            found += connection.execute("SELECT offset, idx, message FROM records").fetchall()
    return [message for _, _, message in sorted(found)]


def no_reuse(*_: object) -> bool:
    return False


@pytest.mark.parametrize("way", WAYS)
def test_copies_have_each_block_below_their_offset_once_and_no_other(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_copies, "PAGES", 1)
    chain = make_chain(
        ([f"{n}.{k}" for k in range(3)], MONDAY + day * DAY) for n, day in enumerate(WAYS[way])
    )
    dice = random.Random(way)
    for at in range(3):
        home = tmp_path / str(at)
        sink = make_sink(home)
        sink.open(NODE)
        rest = iter(chain)
        sink.apply(list(itertools.islice(rest, 4 * at)))

        def step(_: int, rest=rest, sink=sink) -> None:
            """Store some blocks between two pages of a copy."""
            for block in itertools.islice(rest, dice.choice((0, 0, 1, 1, 3))):
                sink.apply([block])

        (copies := home / "copies").mkdir()
        unread = Unread(lambda line: None)
        end = DayCopies(home / "logs", copies, NODE, no_reuse, step, unread).make()
        below = [block for block in chain if block.block.offset < end]
        assert messages_in(copies) == [r.message for block in below for r in block.records]
        assert not unread.files
        assert {path.suffix for path in copies.iterdir()} <= {".db"}
        (home / "restored").mkdir()
        copies.rename(home / "restored" / "logs")
        again = make_sink(home / "restored")
        assert again.open(NODE) == end
        again.apply([block for block in chain if block.block.offset >= end])
        assert messages_in(home / "restored" / "logs") == [
            record.message for block in chain for record in block.records
        ]


def test_a_file_in_the_state_of_an_earlier_copy_is_not_copied(tmp_path: Path) -> None:
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(make_chain([(["old"], MONDAY), (["new"], MONDAY + DAY)]))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    unread = Unread(lambda line: None)

    def copies(name: str, reuse: Callable[..., bool]) -> DayCopies:
        return DayCopies(tmp_path / "logs", tmp_path / name, NODE, reuse, no_reuse, unread)

    first = copies("one", no_reuse)
    first.make()
    states = {path.name: state for path, state in first.sources.items()}
    assert states["2026-11-23.db"] is not None
    assert states["2026-11-24.db"] is None  # the sink has it open
    asked = []

    def reuse(target: Path, state: object) -> bool:
        asked.append(target.name)
        assert state == states[target.name]
        (tmp_path / "one" / target.name).rename(target)
        return True

    copies("two", reuse).make()
    assert asked == ["2026-11-23.db"]


def test_copies_have_a_state_of_each_node_of_a_central(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several nodes pass midnight, one after another, while the files are copied."""
    monkeypatch.setattr(day_copies, "PAGES", 1)
    chain = make_chain(
        ([f"{n}.{k}" for k in range(3)], MONDAY + day * DAY)
        for n, day in enumerate([0] * 12 + [1] * 12)
    )
    nodes = [f"{number:032x}" for number in range(5)]
    for at in range(8):
        dice = random.Random(at)
        home = tmp_path / str(at)
        own = make_sink(home)
        sinks = {node: own.sibling(node) for node in nodes}
        for node, sink in sinks.items():
            sink.open(node)
            sink.apply(chain[: dice.randrange(1, 12)])

        def step(_: int, sinks=sinks, dice=dice) -> None:
            for sink in sinks.values():
                rest = [block for block in chain if block.block.offset >= sink.cursor()]
                for block in rest[: dice.choice((0, 0, 1, 2))]:
                    sink.apply([block])

        (copies := home / "copies").mkdir()
        DayCopies(home / "logs", copies, nodes[0], no_reuse, step, Unread(lambda _: None)).make()
        (home / "restored").mkdir()
        copies.rename(home / "restored" / "logs")
        again = make_sink(home / "restored")
        for node in nodes:
            sink = again.sibling(node)
            end = sink.open(node)
            sink.apply([block for block in chain if block.block.offset >= end])
        wanted = sorted(r.message for block in chain for r in block.records for _ in nodes)
        assert sorted(messages_in(home / "restored" / "logs")) == wanted
