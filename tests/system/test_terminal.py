"""`fastlog query` in a terminal: colours, pager, widths, and escapes of what was logged."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from day_files import make_record, write_day
from servers import FASTLOG
from terminals import NEEDS_TMUX, PtyCommand, Screen, clean_environment

HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202e\u200f[bold]"
"""Text that would change a terminal."""
LEVELS = ((10, "DEBUG"), (20, "INFO"), (30, "WARNING"), (40, "ERROR"), (50, "CRITICAL"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with 300 records of ten hours, and one with hostile text."""
    directory = tmp_path_factory.mktemp("store")
    records = [
        make_record(
            at,
            created=1_700_000_000.0 + 120 * at,
            levelno=LEVELS[at % 5][0],
            levelname=LEVELS[at % 5][1],
        )
        for at in range(300)
    ]
    hostile = make_record(
        300,
        created=1_700_036_000.0,
        levelno=41,
        levelname=HOSTILE,
        name=HOSTILE,
        message=f"hostile {HOSTILE}",
        threadName=HOSTILE,
        exc_text=HOSTILE,
        extra='{"key\\u001b[32m": "\\u001b[33m"}',
    )
    write_day(directory / "logs" / "2023-11-14.db", [*records, hostile])
    return directory


def query(store: Path, *words: object) -> list[object]:
    return [FASTLOG, "query", "--data-dir", store, *words]


def in_terminal(command: list[object], columns: int = 80) -> str:
    with PtyCommand(command, columns=columns, env=clean_environment(PAGER="cat")) as terminal:
        return terminal.read_to_end().decode().replace("\r\n", "\n")


def through_pipe(command: list[object]) -> str:
    return subprocess.run(
        list(map(str, command)), env=clean_environment(), capture_output=True, text=True, timeout=60
    ).stdout


ANSWERS = [
    ("--limit", "5"),
    ("--limit", "5", "--fields", "time,level,name,message"),
    ("--histogram", "1h"),
    ("--by", "level"),
    ("-C", "1", "--limit", "2"),
]


@pytest.mark.parametrize("words", ANSWERS, ids=" ".join)
def test_there_are_colours_in_a_terminal_and_none_through_a_pipe(
    store: Path, words: tuple[str, ...]
) -> None:
    assert "\x1b[" in in_terminal(query(store, *words))
    assert "\x1b" not in in_terminal(query(store, *words, "--no-color"))
    piped = through_pipe(query(store, *words))
    assert piped
    assert "\x1b" not in piped


@pytest.mark.parametrize(
    "words",
    [
        *ANSWERS,
        ("--format", "{level} {name} {message} {threadName} {exc_text} {extra}"),
        ("--by", "level,name,threadName"),
        ("--by", "extra", "--json"),
        ("--histogram", "1h", "--csv"),
        ("--fields", "level,message,extra", "--csv"),
    ],
    ids=" ".join,
)
def test_text_from_records_does_not_reach_the_terminal(store: Path, words: tuple[str, ...]) -> None:
    printed = in_terminal(query(store, *words, "levelno=41"))
    assert printed
    assert not re.search("[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202e\u200f]", printed)
    assert set(re.findall(r"\x1b.[^m]*m?", printed)) <= {
        *("\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[35m", "\x1b[36m")
    }


@pytest.mark.parametrize("columns", [20, 40, 80, 250])
def test_a_histogram_fits_into_the_width_of_the_terminal(store: Path, columns: int) -> None:
    printed = in_terminal(query(store, "--histogram", "1h", "levelno=40"), columns)
    bars = re.sub(r"\x1b\[[^m]*m", "", printed).splitlines()
    assert len(bars) == 13
    longest = max(map(len, bars))
    assert longest <= max(columns, 22)
    assert columns <= 22 or longest > 0.9 * columns


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    with Screen(tmp_path, columns=100, lines=20) as screen:
        yield screen


@NEEDS_TMUX
def test_long_output_is_shown_in_less(store: Path, screen: Screen) -> None:
    screen.run(query(store, "--fields", "message"))
    first = screen.wait_for("^:").splitlines()
    assert first[:2] == ["message 201", "message 202"]
    screen.press("G")
    screen.wait_for(r"^message 299$")
    screen.press("q")
    assert screen.wait_for_end()[1] == 0


@NEEDS_TMUX
def test_the_line_about_the_limit_comes_after_the_pager(store: Path, screen: Screen) -> None:
    screen.run(query(store, "--fields", "message", "--limit", "50"))
    assert "printed the newest" not in screen.wait_for("^:")
    screen.press("q")
    text, _ = screen.wait_for_end()
    assert "fastlog query: printed the newest 50 records; --limit N prints more" in text


@NEEDS_TMUX
def test_less_shows_colours(store: Path, screen: Screen) -> None:
    screen.run(query(store, "levelno=40", "--limit", "40"))
    screen.wait_for("^:")
    assert re.search(r"\x1b\[31mERROR", screen.text(colours=True))
    screen.press("q")
    screen.wait_for_end()


@NEEDS_TMUX
def test_output_that_fits_on_the_screen_stays_there_without_a_pager(
    store: Path, screen: Screen
) -> None:
    screen.run(query(store, "--fields", "message", "--limit", "3", "levelno=40"))
    text, code = screen.wait_for_end()
    assert (text.splitlines()[:3], code) == (["message 288", "message 293", "message 298"], 0)


@NEEDS_TMUX
def test_no_pager_prints_all(store: Path, screen: Screen) -> None:
    screen.run(query(store, "--fields", "message", "--no-pager"))
    text, code = screen.wait_for_end()
    assert "message 299" in text
    assert code == 0


@NEEDS_TMUX
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PAGER": "sed s/^/one:/"}, "one:message 299"),
        ({"PAGER": "sed s/^/one:/", "FASTLOG_PAGER": "sed s/^/two:/"}, "two:message 299"),
        ({"PAGER": "cat"}, "message 299"),
        ({"PAGER": "less", "FASTLOG_PAGER": ""}, "message 299"),
        ({"TERM": "dumb"}, "message 299"),
    ],
    ids=str,
)
def test_the_environment_chooses_the_pager(
    store: Path, screen: Screen, variables: dict[str, str], expected: str
) -> None:
    screen.run(query(store, "--fields", "message"), **variables)
    text, code = screen.wait_for_end()
    assert expected in text.splitlines()
    assert code == 0


@NEEDS_TMUX
def test_a_pager_that_cannot_be_started_loses_no_answer_silently(
    store: Path, screen: Screen
) -> None:
    screen.run(query(store, "--limit", "0"), PAGER="no-such-pager")
    assert "no-such-pager" in screen.wait_for_end()[0]


@NEEDS_TMUX
def test_tail_uses_no_pager(store: Path, screen: Screen) -> None:
    screen.run([FASTLOG, "tail", "--data-dir", store, "-n", "60", "--fields", "message"])
    text, code = screen.wait_for_end()
    assert "message 299" in text
    assert code == 0
