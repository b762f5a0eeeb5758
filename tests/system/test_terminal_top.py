"""`fastlog top` in a real terminal: what it shows of a real server, and what it leaves behind."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conditions import wait_for
from day_files import make_record
from servers import FASTLOG, Server
from terminals import NEEDS_TMUX, PtyCommand, Screen, clean_environment
from web_sites import ANY_PORT, make_store, reserved_url, serving, site_of

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")

HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202e[bold]"
SENDER = """
import logging, logging.handlers, sys
handler = logging.handlers.SocketHandler("127.0.0.1", int(sys.argv[1]))
for line in sys.stdin:
    name, level = eval(line)
    record = logging.LogRecord(name, level, "/srv/app.py", 7, "a message", (), None)
    handler.emit(record)
    print(flush=True)
"""
"""A program with a stock handler: it logs what its input asks for."""


class Sender:
    def __init__(self, server: Server) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SENDER, str(server.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(60) == 0

    def log(self, name: str, level: int, count: int = 1) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        for _ in range(count):
            print((name, level), file=self._process.stdin, flush=True)
            self._process.stdout.readline()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the records of three loggers, one of whose names is hostile."""
    with Server(tmp_path_factory.mktemp("server"), web=ANY_PORT) as server:
        with Sender(server) as sender:
            sender.log("app.db", logging.ERROR, 30)
            sender.log("app.web", logging.INFO, 20)
            sender.log(HOSTILE, logging.DEBUG, 10)
        with server.connect(b"GET / HTTP/1.1\r\n\r\n") as client:
            client.recv(100)
        server.wait_stored(60)
        wait_for(lambda: server.status().get("rejected"))
        yield server


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    with Screen(tmp_path, columns=100, lines=30) as screen:
        yield screen


def top(server: Server, *words: object) -> list[object]:
    return [FASTLOG, "top", "--data-dir", server.data, "--every", "0.5", *words]


def rate_of(screen: Screen, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} +([\d.]+) ", screen.text(), re.MULTILINE)
    return float(found[1]) if found else 0.0


@NEEDS_TMUX
def test_it_shows_rates_sinks_and_losses_of_a_server_that_receives(
    server: Server, screen: Screen
) -> None:
    screen.run(top(server))
    text = screen.wait_for(r"^app\.db .*█")
    assert re.search(r"^\d+\.\d records/s  60 in 30 minutes .*█", text, re.MULTILINE)
    assert "lost 0, rejected 1 in the last 5 minutes; journal" in text
    assert "sink sqlite: 0 records, 0 s behind" in text
    assert re.findall(r"^(?:ERROR|INFO|DEBUG) +[\d.]+ +(\d+)", text, re.MULTILINE) == [
        *("30", "20", "10")
    ]
    assert re.search(r"^\\x1b\[31mred\\x1b\]0;title\\x07\\u202e\[bold\] +[\d.]+ +10 ", text, re.M)
    assert re.search(r"^127\.0\.0\.1 +[\d.]+ +60 ", text, re.MULTILINE)
    wait_for(lambda: rate_of(screen, "app.db") == 0.0, "the rate of a server that gets nothing")
    with Sender(server) as sender:
        wait_for(lambda: sender.log("app.db", 50) or rate_of(screen, "app.db") > 0.5)
        # Rates fall as soon as nothing is sent, so it is sent until the screen has this one, too.
        critical = re.compile(r"^CRITICAL +[1-9<]", re.MULTILINE)
        wait_for(lambda: sender.log("app.db", 50) or critical.search(screen.text()))
    assert rate_of(screen, "app.web") == 0.0


@NEEDS_TMUX
@pytest.mark.parametrize("key", ["q", "C-c"])
def test_the_terminal_is_as_before_when_it_has_ended(
    server: Server, screen: Screen, key: str
) -> None:
    screen.type("echo before; stty -g > modes")
    screen.press("Enter")
    screen.wait_for(r"^before\n[#$]")
    screen.type(f"{' '.join(map(str, top(server)))}; echo ended with $?; stty -g > after")
    screen.press("Enter")
    screen.wait_for("records/s")
    assert "before" not in screen.text()
    screen.press(key)
    text, code = screen.wait_for_end()
    assert code == 0
    assert "before" in text
    assert "records/s" not in text
    home = screen.directory
    wait_for(lambda: (home / "after").exists() and (home / "after").read_text())
    assert (home / "after").read_text() == (home / "modes").read_text()


@NEEDS_TMUX
def test_it_can_be_suspended_and_continued(server: Server, screen: Screen) -> None:
    screen.type(" ".join(map(str, top(server))))
    screen.press("Enter")
    screen.wait_for("records/s")
    screen.press("C-z")
    screen.wait_for("Stopped")
    assert "records/s" not in screen.text()
    screen.type("fg")
    screen.press("Enter")
    screen.wait_for("records/s")
    screen.press("q")
    wait_for(lambda: "records/s" not in screen.text())


@NEEDS_TMUX
def test_it_fits_into_any_window_and_follows_its_size(server: Server, screen: Screen) -> None:
    screen.run(top(server))
    screen.wait_for("records/s")
    for columns, lines in ((30, 24), (20, 5), (200, 50), (60, 12)):
        screen.resize(columns, lines)
        wait_for(partial(fits, screen, columns, lines), f"a screen of {columns}x{lines}")
    screen.press("q")
    screen.wait_for_end()


def fits(screen: Screen, columns: int, lines: int) -> bool:
    text = screen.text().rstrip("\n").split("\n")
    has_clock = re.search(r"\d\d:\d\d$", text[0]) is not None
    has_bars = "█" in screen.text()
    return (
        len(text) <= lines
        and max(map(len, text)) <= columns
        and text[0].startswith("fastlog top")
        and text[1].split()[1].startswith("records/s")
        and (has_clock, has_bars) == (columns >= 40, columns >= 40)
    )


@NEEDS_TMUX
@pytest.mark.parametrize("no_color", ["", "1"])
def test_levels_are_coloured_unless_no_color_is_set(
    server: Server, screen: Screen, no_color: str
) -> None:
    screen.run(top(server), NO_COLOR=no_color)
    screen.wait_for("^ERROR")
    coloured = re.findall(r"\x1b\[[\d;]*\b3[1-7]m", screen.text(colours=True))
    assert bool(coloured) != bool(no_color)
    screen.press("q")
    screen.wait_for_end()


@NEEDS_TMUX
def test_it_shows_what_a_page_has(server: Server, screen: Screen) -> None:
    url = site_of(server).url
    screen.run([FASTLOG, "top", "--url", url, "--every", "0.5", "--level", "ERROR"])
    text = screen.wait_for(r"^app\.db .*█")
    assert "app.web" not in text
    assert "rejected 1" in text
    assert "sink sqlite: 0 records" in text
    screen.press("q")
    assert screen.wait_for_end()[1] == 0


@NEEDS_TMUX
def test_it_keeps_the_last_numbers_while_a_page_is_gone(tmp_path: Path, screen: Screen) -> None:
    records = [make_record(at, created=time.time()) for at in range(7)]
    data_dir = make_store(tmp_path / "data", records)
    with reserved_url() as url:
        with serving(data_dir, url=url):
            screen.run([FASTLOG, "top", "--url", url, "--every", "0.5"])
            screen.wait_for(r"^app +[\d.]+ +7 ")
        text = screen.wait_for("^not read since then: .*Connection refused")
        assert re.search(r"^app +[\d.]+ +7 ", text, re.MULTILINE)
        with serving(data_dir, url=url):
            wait_for(lambda: "not read since then" not in screen.text())
            screen.press("q")
            assert screen.wait_for_end()[1] == 0


def test_where_there_is_no_terminal_it_prints_once(server: Server) -> None:
    result = subprocess.run(
        list(map(str, top(server, "--logger", "app.web"))),
        env=clean_environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"^app\.web +[\d.]+ +20 ", result.stdout, re.MULTILINE)
    assert "app.db" not in result.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout)


def test_a_signal_that_ends_it_restores_the_terminal(server: Server) -> None:
    with PtyCommand(top(server)) as terminal:
        terminal.read_until(rb"records/s")
        terminal.process.terminate()
        output = terminal.read_to_end()
    assert terminal.process.returncode == -15
    assert output.count(b"\x1b[?1049h") == output.count(b"\x1b[?1049l") == 1
    assert output.rindex(b"\x1b[?25h") > output.rindex(b"\x1b[?25l")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--data-dir", "nowhere"], "the data directory nowhere does not exist"),
        (["--url", "http://127.0.0.1:1"], "Connection refused"),
        (["--every", "0"], "0.5"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_no_screen(words: list[str], error: str, tmp_path: Path) -> None:
    with PtyCommand([FASTLOG, "top", *words]) as terminal:
        output = terminal.read_to_end()
    assert terminal.process.returncode == 2
    assert b"\x1b" not in output
    assert output.count(b"\n") == 1
    assert error.encode() in output
