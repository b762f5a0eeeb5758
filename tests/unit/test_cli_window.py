"""Records in the window of a terminal: columns, wrapped lines, and texts without their middle."""

from __future__ import annotations

import json
import re
from datetime import UTC
from typing import Any

import pytest
from day_files import make_record
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from fastlog.cli.window import LONGEST, LONGEST_TRACEBACK, MOST_LINES, Window, shortened
from fastlog.search import Found
from fastlog.terminal import several_lines
from fastlog.zone import Zone

CODES = re.compile(r"\x1b\[[\d;]*m")
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
TRACEBACK = 'Traceback:\n  File "/srv/app.py", line 9\n    1 / 0\nZeroDivisionError: by zero\n'
BEGIN = "2023-11-14 22:13:20.000+00:00 INFO     "


def window(columns: int, *, colour: bool = False) -> Window:
    return Window(colour, Zone(UTC), lambda: columns)


def found(**fields: Any) -> Found:
    return Found(make_record(0, **fields), "ab")


def shown(columns: int, **fields: Any) -> str:
    return window(columns).text(found(**fields))


def test_message_extras_and_origin_follow_the_columns():
    text = shown(200, message="slow", extra=json.dumps({"user": 77, "text": "a b"}), process=11)
    assert text == f'{BEGIN}app slow user=77 text="a b" 127.0.0.1/11'


def test_messages_are_aligned_with_those_of_the_longest_logger_so_far():
    lines = window(200)
    names = ["app", "app.db.pool", "app", "x" * 60, "app"]
    texts = [lines.text(found(name=name)) for name in names]
    assert [text.index("message 0") for text in texts] == [43, 51, 51, 100, 51]


def test_records_that_are_known_are_aligned_from_the_first_on():
    lines = window(200)
    some = [found(name="app"), found(name="app.db.pool")]
    lines.measure(some)
    assert [lines.text(each).index("message 0") for each in some] == [51, 51]


def test_a_wrapped_line_of_a_traceback_goes_on_deeper_than_it_begins():
    lines = shown(60, exc_text="Traceback:\n    " + "word " * 20).splitlines()
    assert {line.index("word") for line in lines if "word" in line} == {8, 10}
    assert max(map(len, lines)) <= 60


def test_a_long_message_goes_on_below_its_begin_where_there_is_room():
    first, *more = shown(120, message="word " * 40).splitlines()
    assert first.startswith(f"{BEGIN}app word word")
    assert {line.index("word") for line in more[:-1]} == {43}
    assert {len(line) for line in (first, *more[:-1])} == {117}


def test_in_a_narrow_window_it_goes_on_at_the_left():
    first, *more = shown(80, message="word " * 40).splitlines()
    assert more[0].startswith("    word word")
    assert max(map(len, (first, *more))) <= 80


def test_tracebacks_and_further_lines_are_indented_below():
    lines = shown(200, message="one\n\ttwo", exc_text=TRACEBACK).splitlines()
    assert lines[0].startswith(f"{BEGIN}app one")
    assert lines[1:] == [
        "            two",
        "    Traceback:",
        '      File "/srv/app.py", line 9',
        "        1 / 0",
        "    ZeroDivisionError: by zero",
    ]


def test_each_line_is_coloured_by_itself():
    text = window(80, colour=True).text(
        found(levelno=40, levelname="ERROR", extra=json.dumps({"text": "word " * 40}))
    )
    lines = text.splitlines()
    assert "\x1b[31mERROR   \x1b[0m" in lines[0]
    assert len(lines) > 2
    assert all(line.startswith("    \x1b[2m") for line in lines[1:])
    assert all(line.endswith("\x1b[0m") for line in lines)
    assert CODES.sub("", text) == window(80).text(
        found(levelno=40, levelname="ERROR", extra=json.dumps({"text": "word " * 40}))
    )


def test_a_record_around_a_match_is_less_bright_as_a_whole():
    text = window(80, colour=True).text(found(exc_text=TRACEBACK), faint=True)
    assert set(CODES.findall(text)) == {"\x1b[2m", "\x1b[0m"}


@pytest.mark.parametrize(
    ("fields", "left_out"),
    [
        ({"message": "x" * 10_000_000}, 10_000_000 - LONGEST),
        ({"exc_text": "y" * 30_000}, 30_000 - LONGEST_TRACEBACK),
    ],
    ids=["message", "traceback"],
)
def test_a_long_text_is_shown_without_its_middle(fields: dict[str, str], left_out: int):
    text = shown(100, **fields)
    [whole] = fields.values()
    kept = re.sub(r"\s+", "", text.replace("less]", "")).count(whole[0])
    assert kept - (len(whole) - left_out) in (0, 1)  # "query" has a y
    assert f"[… {left_out:,} of {len(whole):,} characters left out:" in text
    joined = re.sub(r"\s+", " ", text)
    assert "fastlog query offset=0 idx=0 | less]" in joined
    assert len(text) < 30_000


def test_a_text_of_many_lines_is_shown_without_its_middle():
    lines = [f"line {at}" for at in range(1000)]
    begin, left_out, end = shortened("\n".join(lines), LONGEST_TRACEBACK)
    assert begin.split("\n") == lines[: MOST_LINES // 2]
    assert end.split("\n") == lines[-MOST_LINES // 2 :]
    assert left_out == len("\n".join(lines)) - len(begin) - len(end)


def test_long_names_do_not_push_the_message_away():
    text = shown(200, name="n" * 1_000_000, levelname="l" * 1_000_000, host="h" * 1_000_000)
    assert len(text) < 1_000
    assert "message 0" in text


HOSTILE = st.text(
    st.sampled_from("ab \n\t\r\x1b\x07\x9b\u202e\u2066e\u0301日本👩\u200d👧\ufe0fא\x7f\u2028\\\"'"),
    max_size=300,
)


@settings(deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, st.integers(20, 150))
def test_any_text_is_escaped_whole_and_fits_the_window(
    name: str, message: str, traceback: str, columns: int
):
    text = shown(columns, name=name, message=message, exc_text=traceback)
    assert not UNSAFE.search(text)
    assert max(cell_len(line) for line in text.split("\n")) <= columns
    for part in (message, traceback.rstrip("\n")):
        for line in several_lines(part).split("\n"):
            assert re.sub(r"\s+", "", line) in re.sub(r"\s+", "", text)


@pytest.mark.parametrize("columns", [0, 1, 19])
def test_without_a_width_nothing_is_wrapped(columns: int):
    assert shown(columns, message="word " * 40).count("\n") == 0
