"""The questions of the README's own section: each command line answers on a running server."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from places import ROOT
from senders import stock_frame
from servers import BIN, Server

SECTION = (ROOT / "README.md").read_text("utf-8").partition("## Ten questions at night\n")[2]
QUESTIONS = re.findall(r"^\| (.+\?) \| `(fastlog .+)` \|$", SECTION.partition("\n## ")[0], re.M)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("night")) as server:
        with server.connect() as client:
            for n in range(20):
                client.sendall(stock_frame(f"request {n}", name="app.web", user=77))
            client.sendall(
                stock_frame(
                    "it failed", level=40, name="app.db", exc_text="ZeroDivisionError: division"
                )
            )
        server.wait_stored(21)
        yield server
        assert server.stop() == 0


def test_there_are_ten_questions() -> None:
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize(("question", "line"), QUESTIONS)
def test_a_question_is_answered(server: Server, question: str, line: str, tmp_path: Path) -> None:
    name, *words = shlex.split(line)
    command = [str(BIN / name), *words, "--data-dir", str(server.data)]
    if "-f" in words:
        assert "it failed" in first_lines(command)
        return
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def first_lines(command: list[str]) -> str:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        line = follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        wait_for(lambda: follower.poll() is not None, "it ends")
    return line
