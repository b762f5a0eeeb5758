"""Searches that take long: what a terminal shows meanwhile, and how Ctrl-C ends them."""

from __future__ import annotations

import array
import fcntl
import random
import re
import signal
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from conditions import wait_for
from day_files import make_record, write_day, write_old_day
from servers import FASTLOG
from terminals import CTRL_C, NEEDS_TMUX, PtyCommand, Screen, clean_environment, interrupt_and_time

SLOW = "a[ab]{20}c"
"""RE2 needs some milliseconds to see that a long text of these letters does not match."""
SOON = 5.0
"""Seconds. Without interrupts, the searches of these tests take more than a minute."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in whose oldest and newest 3 records a search finds something quickly."""
    letters = random.Random(1)
    records = [
        make_record(at, message="a" * 20 + "bc" if at < 3 or at >= 1997 else text(letters))
        for at in range(2000)
    ]
    directory = tmp_path_factory.mktemp("store")
    write_old_day(directory / "logs" / "2023-11-14.db", records)  # it has no chunks
    return directory


@pytest.fixture(scope="module")
def chunked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose records are in chunks of some megabytes."""
    letters = random.Random(2)
    records = [make_record(at, message=text(letters, 9000)) for at in range(3000)]
    directory = tmp_path_factory.mktemp("chunked")
    write_day(directory / "logs" / "2023-11-14.db", records, per_block=500)
    return directory


def text(letters: random.Random, length: int = 25_000) -> str:
    return letters.randbytes(length).translate(b"ab" * 128).decode()


def slow(store: Path, *words: object) -> list[object]:
    return [FASTLOG, "query", "--data-dir", store, "--regex", SLOW, *words]


def created(printed: bytes) -> list[str]:
    """Return the seconds of the printed records, of which each has an own one."""
    return re.findall(r"^[\d-]{10} [\d:]{6}(\d\d)\.000", printed.decode(), re.MULTILINE)


def without_bar(printed: bytes) -> bytes:
    return re.sub(rb".*\x1b\[K", b"", printed)


def assert_found(expected: list[str], printed: list[str], *, newest: bool = False) -> None:
    """Assert that these were printed; perhaps not the last one that was found.

    SQLite's module of Python returns a row when it has found the next one.
    """
    assert len(printed) >= 2
    assert printed == (expected[-len(printed) :] if newest else expected[: len(printed)])


def test_ctrl_c_ends_a_search_with_what_was_found_so_far(store: Path) -> None:
    env = clean_environment(TZ="UTC", PAGER="cat")
    with PtyCommand(slow(store, "--no-color"), env=env) as terminal:
        terminal.read_until(rb"% read")
        terminal.type(CTRL_C)
        printed = terminal.read_to_end()
        assert terminal.process.returncode == 130
    assert_found(["37", "38", "39"], created(without_bar(printed)), newest=True)
    assert b"fastlog query: interrupted; the answer is incomplete" in printed
    assert b"Traceback" not in printed
    assert b"user-defined function" not in printed


def test_a_search_without_a_limit_prints_at_once_what_it_finds(store: Path) -> None:
    env = clean_environment(TZ="UTC", PAGER="cat")
    with PtyCommand(slow(store, "--limit", "0", "--no-color"), env=env) as terminal:
        terminal.read_until(rb"% read  [23] matches")
        assert_found(["20", "21", "22"], created(without_bar(terminal.output)))
        terminal.type(CTRL_C)
        terminal.read_to_end()
        assert terminal.process.returncode == 130


@pytest.mark.parametrize(
    "words",
    [
        ("--limit", "0"),
        ("--oldest",),
        ("--count",),
        ("--by", "level"),
        ("--histogram",),
        ("-C", "2"),
        ("--json",),
    ],
    ids=" ".join,
)
def test_an_interrupt_ends_every_kind_of_answer(store: Path, words: tuple[str, ...]) -> None:
    command = list(map(str, slow(store, *words)))
    with subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_for(lambda: is_searching(process))
        assert interrupt_and_time(process) < SOON
        assert process.returncode == 130
        assert process.stderr is not None
        error = process.stderr.read()
        assert error.startswith(b"fastlog query: interrupted; the answer is incomplete")
        assert error.count(b"\n") == 1


@pytest.mark.parametrize("words", [("--limit", "0"), ("--count",), ("--by", "level")], ids=" ".join)
def test_an_interrupt_ends_a_search_of_chunks(chunked: Path, words: tuple[str, ...]) -> None:
    command = list(map(str, slow(chunked, *words)))
    with subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_for(lambda: is_searching(process))
        assert interrupt_and_time(process) < SOON
        assert process.returncode == 130


def test_ctrl_c_ends_the_first_search_of_tail(store: Path) -> None:
    command = [FASTLOG, "tail", "--data-dir", store, "--regex", SLOW, "--no-color"]
    with PtyCommand(command, env=clean_environment(TZ="UTC")) as terminal:
        terminal.read_until(rb"% read")
        terminal.type(CTRL_C)
        printed = terminal.read_to_end()
        assert terminal.process.returncode == 130
    assert_found(["37", "38", "39"], created(without_bar(printed)), newest=True)


def is_searching(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the process has a day file open."""
    directory = Path(f"/proc/{process.pid}/fd")
    try:
        return any(fd.readlink().name == "2023-11-14.db" for fd in directory.iterdir())
    except OSError:
        return False


def test_a_deadline_ends_a_search_with_3_and_reports_it(store: Path) -> None:
    command = list(map(str, slow(store, "--deadline", "1s")))
    ended = subprocess.run(command, env=clean_environment(), capture_output=True, timeout=60)
    assert ended.returncode == 3
    assert ended.stdout.count(b"\n") in (2, 3)
    assert ended.stderr == b"fastlog query: the deadline has passed; the answer is incomplete\n"


def test_there_is_no_progress_where_stderr_is_no_terminal(store: Path) -> None:
    command = list(map(str, slow(store, "--deadline", "3s", "--count")))
    ended = subprocess.run(command, env=clean_environment(), capture_output=True, timeout=60)
    assert ended.stderr == b"fastlog query: the deadline has passed; the answer is incomplete\n"


def test_output_to_a_file_leaves_the_bar_in_the_terminal(store: Path) -> None:
    command = slow(store, "--limit", "0", "--deadline", "4s")
    with PtyCommand(command, stdout=subprocess.PIPE) as terminal:
        terminal.read_to_end()
        assert terminal.process.stdout is not None
        printed = terminal.process.stdout.read()
    assert re.search(rb"% read  [23] matches", terminal.output)
    assert printed.count(b"\n") in (2, 3)
    assert b"\x1b" not in printed


@NEEDS_TMUX
@pytest.mark.parametrize("columns", [25, 50, 120])
def test_the_bar_fits_into_the_terminal_and_is_erased(
    store: Path, tmp_path: Path, columns: int
) -> None:
    with Screen(tmp_path, columns=columns) as screen:
        screen.run(slow(store, "--count"))
        bar = next(line for line in screen.wait_for(r"\d+% read").splitlines() if "% read" in line)
        assert ("█" in bar or "░" in bar) == (columns > 25)
        assert len(bar) < columns
        screen.press("C-c")
        text, code = screen.wait_for_end()
        assert "% read" not in text
        assert text.splitlines()[0] in ("2", "3")
        assert code == 130


@NEEDS_TMUX
def test_the_bar_gives_way_to_output_in_a_terminal(store: Path, tmp_path: Path) -> None:
    with Screen(tmp_path, columns=60) as screen:
        screen.run([*slow(store, "--limit", "0"), "--no-pager", "--fields", "message"])
        lines = screen.wait_for(r"% read").splitlines()
        assert lines[:2] == ["a" * 20 + "bc"] * 2
        assert any(line.startswith("searching") for line in lines[2:4])
        screen.press("C-c")
        text, code = screen.wait_for_end()
        assert "searching" not in text
        assert code == 130
        screen.run([*slow(store), "--no-pager", "--fields", "message"])
        screen.wait_for(r"% read")
        screen.press("C-c")
        text, _ = screen.wait_for_end()
        assert text.splitlines()[:2] == ["a" * 20 + "bc"] * 2


@NEEDS_TMUX
def test_leaving_the_pager_ends_a_search_that_continues(store: Path, tmp_path: Path) -> None:
    with Screen(tmp_path, columns=60) as screen:
        command = slow(store, "--limit", "0", "--fields", "message")
        screen.run(command, PAGER="less -X", LESS="")
        screen.wait_for("^aaaa")
        screen.press("C-c", "q")
        screen.wait_for_end()


def test_a_pager_that_ends_early_ends_the_search_with_0(store: Path) -> None:
    env = clean_environment(PAGER="head -n 1", TZ="UTC")
    with PtyCommand(slow(store, "--limit", "0", "--no-color"), env=env) as terminal:
        printed = terminal.read_to_end()
        assert terminal.process.returncode == 0
    assert created(without_bar(printed)) == ["20"]
    assert b"incomplete" not in printed


def test_a_second_ctrl_c_ends_at_once(store: Path) -> None:
    command = list(map(str, slow(store, "--count")))
    with subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_for(lambda: is_searching(process))
        process.send_signal(signal.SIGINT)
        assert interrupt_and_time(process) < SOON
        assert process.returncode == 130
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_ctrl_c_ends_output_that_nobody_reads(store: Path) -> None:
    with unread(store, "--limit", "9999") as process:
        assert interrupt_and_time(process) < SOON
        assert process.returncode == 130


def test_more_ctrl_c_end_a_search_whose_output_nobody_reads(store: Path) -> None:
    with unread(store, "--limit", "0") as process:

        def has_ended() -> bool:
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        wait_for(has_ended)
        assert process.returncode in (130, -signal.SIGINT)  # one may come at the very end


@contextmanager
def unread(store: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a query that has filled the pipe to which it prints."""
    command = [str(FASTLOG), "query", "--data-dir", str(store), *words]
    with subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        wait_for(lambda: is_filled(process.stdout))
        yield process


def is_filled(pipe: IO[bytes] | None) -> bool:
    """Return whether a pipe has so much that the next record does not fit into it."""
    assert pipe is not None
    waiting = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, waiting)
    return waiting[0] > fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) // 2
