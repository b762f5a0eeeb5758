"""Completion in real shells, set up as docs/commands.md says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT
from servers import BIN
from typed_shells import END, HOME, TypedShell

LINES = {
    "fastlog qu": "fastlog query",
    "fastlog query --lev": "fastlog query --level",
    "fastlog query --level W": "fastlog query --level WARNING",
    "fastlog send --level crit": "fastlog send --level CRITICAL",
    "fastlog query --where levelna": "fastlog query --where levelname=",
    "fastlog query log": "fastlog query logger=",
    "fastlog tail funcN": "fastlog tail funcName=",
    "fastlog journal du": "fastlog journal dump",
    "fastlog help journal du": "fastlog help journal dump",
    "fastlog stats --data-dir here": "fastlog stats --data-dir here-is-data/",
    "fastlog check --config here": "fastlog check --config here-is-data/",
    "fastlog-server --lis": "fastlog-server --listen",
}
"""What is typed, and what it is after the Tab key."""

START = {
    "bash": (["bash", "--noprofile", "--norc", "-i"], ""),
    "zsh": (["zsh", "-f", "-i"], "bindkey -e; autoload -U compinit; compinit -u -D\n"),
}
"""The command line of an interactive shell, and what must precede our lines."""


def documented(shell: str) -> str:
    """Return the lines of the documentation for a shell."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    [lines] = re.findall(rf"^```{shell}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert lines.count("\n") == 2
    return str(lines)


def environment(home: Path) -> dict[str, str]:
    (home / "here-is-data").mkdir()
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(home),
        "TERM": "dumb",
        "PS1": "$ ",
        "LC_ALL": "C.UTF-8",
    }


def test_nothing_is_completed_behind_a_command_that_does_not_exist() -> None:
    done = subprocess.run(
        [BIN / "fastlog"],
        env={**os.environ, "_FASTLOG_COMPLETE": "bash_complete", "COMP_CWORD": "2",
             "COMP_WORDS": "fastlog\nqurey\n--l"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", START)
def test_the_tab_key_completes(shell: str, tmp_path: Path) -> None:
    lines = documented(shell)
    words, before = START[shell]
    with TypedShell(words, environment(tmp_path)) as terminal:
        terminal.type(f"cd '{tmp_path}'\n{before}{lines}echo is''ready\n")
        terminal.wait("(isready)")
        for typed, completed in LINES.items():
            # The line becomes the argument of `echo`, so that the shell prints all of it.
            terminal.type(f"{typed}\t{HOME}echo '<{END}>'\n")
            printed = terminal.wait(r"\n<(.*)>\r")
            # bash and zsh add a space; zsh removes the slash after a directory again.
            assert printed.rstrip(" /") == completed.rstrip("/")


def test_the_tab_key_completes_in_fish(tmp_path: Path) -> None:
    lines = documented("fish")
    for typed, completed in LINES.items():
        home = tmp_path / typed
        home.mkdir()
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"{lines}complete -C '{typed}'"],
            cwd=home, env=environment(home), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        candidates = [line.partition("\t")[0] for line in done.stdout.splitlines()]
        assert completed.rpartition(" ")[2] in candidates
