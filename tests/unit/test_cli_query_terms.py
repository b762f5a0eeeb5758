"""Terms of a query that begin as options do: `-timeout`."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Run

pytestmark = pytest.mark.usefixtures("nothing_configured")


def numbers(command: Run, *words: object) -> list[int]:
    """Return the numbers of the messages that a query prints."""
    printed = command("query", "--format", "{user}", *words)
    assert printed.err == ""
    return [int(line) for line in printed.out.split()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-level:info"], [1, 5, 9]),
        (["--level", "warning", "-user=5"], [1, 9]),
        (["-user=5", "level:warning"], [1, 9]),
        (["user=1", "OR", "-level:info", "user>5"], [1, 9]),
        (["-(level:info OR user=5)"], [1, 9]),
        (['-"message 5"', "-level:info"], [1, 9]),
        (["-Another", "-Cart", "user=3"], [3]),
        (["user=3", "--", "-level:warning"], [3]),
        (["-message:7", "user>5", "--limit", "100"], [6, 8, 9]),
        (["--grep", "-7"], []),
        (["--where", "-level:info", "-user=5"], [1, 9]),
    ],
    ids=str,
)
def test_a_term_with_a_minus_excludes_records(
    command: Run, data: Path, words: list[str], expected: list[int]
):
    assert numbers(command, *words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["-A1"], [5, 6]), (["-B", "1"], [4, 5]), (["-C1"], [4, 5, 6])],
    ids=str,
)
def test_options_with_one_letter_stay_options(
    command: Run, tmp_path: Path, data: Path, words: list[str], expected: list[int]
):
    context = ["--context-by", "process"]
    assert numbers(command, "user=5", *context, *words) == expected


def test_tail_takes_terms_and_its_own_short_options(command: Run, data: Path):
    assert command("tail", "-n2", "-level:info", "--fields", "user").out == "5\n9\n"
    assert command("tail", "-n", "1", "-user=9", "--fields", "user").out == "8\n"


def test_stats_takes_terms(command: Run, data: Path):
    assert command("stats", "-level:info").out.startswith("3 records")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("-limit", "there is no option '-limit'; did you mean '--limit'?"),
        ("-json", "there is no option '-json'; did you mean '--json'?"),
        ("--jsn", "there is no option '--jsn'; did you mean '--json'?"),
        ("-5", "there is no option '-5'"),
    ],
)
def test_a_mistyped_option_is_no_term(command: Run, data: Path, word: str, message: str):
    wrong = command("query", word)
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    assert wrong.err.startswith(f"fastlog query: {message}")
