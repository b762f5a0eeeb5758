"""`fastlog tail` in a real terminal: columns, colours, widths, and hostile text as it arrives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from day_files import make_record, write_day
from servers import FASTLOG
from terminals import NEEDS_TMUX, PtyCommand, Screen, clean_environment

pytestmark = NEEDS_TMUX

HOSTILE = "\x1b[31mred\x1b]0;title\x07\x1b[2J\u202e\u200f"
TRACEBACK = 'Traceback (most recent call last):\n  File "/srv/app.py", line 9, in run\n    1 / 0\n'


class Store:
    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._next = 0
        self.add(message="started")

    def add(self, *, day: str = "2023-11-14", **fields: Any) -> None:
        record = make_record(self._next, **fields)
        write_day(self.data_dir / "logs" / f"{day}.db", [record])
        self._next += 1

    def tail(self, *words: object) -> list[object]:
        return [FASTLOG, "tail", "-f", "--utc", "--data-dir", self.data_dir, *words]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    with Screen(tmp_path, columns=120, lines=30) as screen:
        yield screen


def add_errors(store: Store) -> None:
    store.add(
        levelno=40, levelname="ERROR", name="app.db.pool", message="it failed",
        exc_text=TRACEBACK, extra=json.dumps({"user": 77}), process=11,
    )  # fmt: skip
    store.add(levelno=30, levelname="WARNING", message="word " * 30, day="2023-11-15")


def test_what_arrives_is_in_columns_and_tracebacks_are_below(store: Store, screen: Screen) -> None:
    screen.run(store.tail())
    screen.wait_for("started")
    add_errors(store)
    lines = screen.wait_for("WARNING").splitlines()
    assert lines[:7] == [
        "2023-11-14 22:13:20.000+00:00 INFO     app started 127.0.0.1",
        "2023-11-14 22:13:21.000+00:00 ERROR    app.db.pool it failed user=77 127.0.0.1/11",
        "    Traceback (most recent call last):",
        '      File "/srv/app.py", line 9, in run',
        "        1 / 0",
        f"2023-11-14 22:13:22.000+00:00 WARNING  app         {'word ' * 14}".rstrip(),
        f"{'':51}{'word ' * 14}".rstrip(),
    ]
    screen.press("C-c")
    screen.wait_for("ended with 0$")


def test_in_a_narrow_window_lines_are_wrapped_and_indented(store: Store, screen: Screen) -> None:
    screen.resize(50)
    screen.run(store.tail())
    screen.wait_for("started")
    add_errors(store)
    lines = screen.wait_for(r"^    word(?s:.*)127\.0\.0\.1$").splitlines()
    at = lines.index("2023-11-14 22:13:21.000+00:00 ERROR    app.db.pool")
    assert lines[at + 1].startswith("    it failed user=77")
    screen.resize(100)
    store.add(message="word " * 20)
    screen.wait_for(r"^2023-11-14 22:13:23.*word word word word word word")
    screen.press("C-c")
    screen.wait_for("ended with 0$")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_levels_have_colours_unless_no_color_is_set(
    store: Store, screen: Screen, no_color: str
) -> None:
    screen.run(store.tail(), NO_COLOR=no_color)
    add_errors(store)
    screen.wait_for("WARNING")
    text = screen.text(colours=True)
    assert ("\x1b[31mERROR" in text) != bool(no_color)
    assert ("\x1b[33mWARNING" in text) != bool(no_color)
    screen.press("C-c")
    screen.wait_for("ended with 0$")


def test_hostile_text_does_not_reach_the_terminal(store: Store) -> None:
    with PtyCommand(store.tail(), columns=60, env=clean_environment()) as terminal:
        terminal.read_until(b"started")
        store.add(
            message=f"{HOSTILE}\nmore {HOSTILE}", name=HOSTILE, levelname=HOSTILE, levelno=40,
            exc_text=HOSTILE, extra=json.dumps({HOSTILE: HOSTILE}), processName=HOSTILE,
        )  # fmt: skip
        store.add(message="x" * 10_000_000, exc_text="y" * 10_000_000)
        store.add(message="the last one")
        printed = terminal.read_until(b"the last one").decode().replace("\r\n", "\n")
    assert not re.search("[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202e\u200f]", printed)
    assert set(re.findall(r"\x1b.[^m]*m?", printed)) <= {
        *("\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[36m")
    }
    joined = re.sub(r"\x1b\[\d*m", "", re.sub(r"\s+", "", printed))
    assert "[…9,996,000of10,000,000charactersleftout:" in joined
    assert f"fastlogquery--data-dir{store.data_dir}offset=2idx=0|less]" in joined
    assert len(printed) < 100_000
