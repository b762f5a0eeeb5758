"""`-h`, `fastlog help`, the examples of each help, and suggestions for mistyped words."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click
import pytest
from command_tree import contexts, visible_options
from commands import Run

from fastlog.cli import fastlog
from fastlog.cli.command import run
from fastlog.cli.examples import EXAMPLES
from fastlog.cli.serve import server

pytestmark = pytest.mark.usefixtures("nothing_configured")

CONTEXTS = contexts()


def run_words(words: list[str]) -> int:
    program, *args = words
    return run({"fastlog": fastlog, "fastlog-server": server}[program], program, args)


@pytest.mark.parametrize("name", CONTEXTS)
def test_each_command_has_a_short_and_a_long_option_for_help(
    name: str, capsys: pytest.CaptureFixture[str]
):
    texts = []
    for option in ("-h", "--help"):
        assert run_words([*name.split(), option]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[0].startswith(f"Usage: {name} ")


@pytest.mark.parametrize("name", [name for name in CONTEXTS if name != "fastlog-server"])
def test_help_prints_what_the_option_prints(name: str, command: Run):
    words = name.split()[1:]
    assert command("help", *words) == command(*words, "-h")


@pytest.mark.parametrize("words", [["qurey"], ["journal", "dmp"], ["query", "x"]])
def test_help_of_what_does_not_exist_is_one_line(words: list[str], command: Run):
    result = command("help", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err in (
        "fastlog help: there is no command 'qurey'; did you mean 'query'?\n",
        "fastlog help: there is no command 'dmp'; did you mean 'dump'?\n",
        "fastlog help: fastlog query has no commands: 'x'\n",
    )


# ---- examples ------------------------------------------------------------------------------


def test_each_command_has_two_to_four_examples():
    assert set(EXAMPLES) == set(CONTEXTS)
    assert {name: len(examples) for name, examples in EXAMPLES.items()} == {
        name: min(max(len(examples), 2), 4) for name, examples in EXAMPLES.items()
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_shows_the_examples(name: str):
    text = CONTEXTS[name].get_help()
    shown = text.partition("\nExamples:\n")[2].splitlines()
    expected = [line for each in EXAMPLES[name] for line in (f"# {each.purpose}", each.line)]
    assert [line.strip() for line in shown] == expected
    assert max(map(len, shown)) <= 80


@pytest.mark.parametrize(
    ("name", "line"), [(name, each.line) for name in EXAMPLES for each in EXAMPLES[name]]
)
def test_each_example_is_a_command_line_of_its_command(name: str, line: str):
    words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
    program, *args = words
    assert line.startswith(name)
    ctx = CONTEXTS[program]
    while isinstance(ctx.command, click.Group):
        ctx, args = CONTEXTS[f"{ctx.command_path} {args[0]}"], args[1:]
    assert {word for word in args if word.startswith("-")} <= visible_options(ctx)
    if "-h" not in args:
        ctx.command.make_context(ctx.info_name, args, parent=ctx.parent)


# ---- suggestions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fastlog qurey", "fastlog: there is no command 'qurey'; did you mean 'query'?"),
        ("fastlog server", "fastlog: there is no command 'server'; did you mean 'fastlog-server'?"),
        ("fastlog journal dmp", "fastlog journal: there is no command 'dmp'; did you mean 'dump'?"),
        (
            "fastlog query --lvel error",
            "fastlog query: there is no option '--lvel'; did you mean '--level'?",
        ),
        ("fastlog --verison", "fastlog: there is no option '--verison'; did you mean '--version'?"),
        (
            "fastlog check -z",
            "fastlog check: there is no option '-z'; fastlog check -h lists the options",
        ),
        (
            "fastlog-server --lisen x",
            "fastlog-server: there is no option '--lisen'; did you mean '--listen'?",
        ),
        (
            "fastlog send --level eror hello",
            "fastlog send: there is no level 'eror'; did you mean 'ERROR'?",
        ),
        (
            "fastlog query --level warnign",
            "fastlog query: --level: there is no level 'warnign'; did you mean 'WARNING'?",
        ),
        ("fastlog query --limit", "fastlog query: Option '--limit' requires an argument."),
    ],
)
def test_a_mistyped_word_is_one_line_with_a_suggestion(
    line: str, expected: str, capsys: pytest.CaptureFixture[str]
):
    assert run_words(line.split()) == 2
    assert capsys.readouterr() == ("", expected + "\n")


def test_a_hidden_option_is_not_suggested(capsys: pytest.CaptureFixture[str]):
    assert run(server, "fastlog-server", ["--rehearse"]) == 2
    assert "rehearse-fd" not in capsys.readouterr().err


def test_an_unknown_command_lists_the_commands(command: Run):
    ctx = CONTEXTS["fastlog"]
    assert isinstance(ctx.command, click.Group)
    names = ", ".join(sorted([*ctx.command.list_commands(ctx), "fastlog-server"]))
    assert command("zzz").err == f"fastlog: there is no command 'zzz'; there are {names}\n"


def test_the_module_suggests_too():
    result = subprocess.run(
        [sys.executable, "-m", "fastlog", "qurey"], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "fastlog: there is no command 'qurey'; did you mean 'query'?\n"
