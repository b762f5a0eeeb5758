"""The documents describe exactly the commands, flags and keys that exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from msgspec import NODEFAULT, Struct
from places import ROOT
from servers import BIN, Server

from fastlog.block import Block, Kind, make_run
from fastlog.cli import fastlog
from fastlog.cli.serve import server
from fastlog.config import Config, ExpireConfig, ListenConfig, RedactConfig, SinkConfig
from fastlog.config.sources import TOP_KEYS
from fastlog.config.tree import SECTIONS
from fastlog.config.units import parse_duration, parse_size
from fastlog.decode import Decoder
from fastlog.query import resolve

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")
SHARED = {"--config", "--data-dir", "--store", "-h", "--help"}
"""Options that are described once, for all commands that have them."""

COMMANDS: dict[str, click.Command] = {}
_context = click.Context(fastlog)
for _name in fastlog.list_commands(_context):
    _command = fastlog.get_command(_context, _name)
    assert _command is not None
    if isinstance(_command, click.Group):
        COMMANDS |= {f"fastlog {_name} {name}": each for name, each in _command.commands.items()}
    else:
        COMMANDS[f"fastlog {_name}"] = _command
COMMANDS["fastlog-server"] = server


def sections(document: str) -> dict[str, str]:
    """Return the text below each heading of the second level."""
    parts = re.split(r"^## (.*)\n", (DOCS / document).read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(text: str) -> dict[str, str]:
    """Return the second column of a section's table by its first."""
    rows = re.findall(r"^\| `([^|]*)` \| *([^|]*?) *\|", text, flags=re.MULTILINE)
    return dict(rows)


def options(command: click.Command) -> set[str]:
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def test_every_command_has_a_section_and_every_section_a_command():
    assert set(sections("commands.md")) == {
        *COMMANDS,
        "Filters",
        "Shell completion",
        "Manual pages",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_the_section_of_a_command_names_its_options_and_no_others(name: str):
    text = re.sub(r"^```.*?^```", "", sections("commands.md")[name], flags=re.M | re.S)
    described = set(re.findall(r"(?<=`)--?[A-Za-z][a-z-]*", text))
    assert described | SHARED == options(COMMANDS[name]) | SHARED


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str):
    assert [
        parameter.name
        for parameter in COMMANDS[name].params
        if isinstance(parameter, click.Option) and not parameter.help
    ] == []


def test_the_examples_use_only_options_and_fields_that_exist():
    text = (DOCS / "commands.md").read_text("utf-8")
    for line in re.findall(r"^\$ (fastlog[^|\n]*)", text, flags=re.MULTILINE):
        name = max((name for name in COMMANDS if f"{line} ".startswith(f"{name} ")), key=len)
        used = set(re.findall(r"(?<= )--?[A-Za-z][a-z-]*", line))
        assert used <= options(COMMANDS[name]), line
        for field in re.findall(r"[ '](\w+(?:\.\w+)*)(?:=|>=)", line):
            resolve(field)  # fails if it is misspelt


def test_the_reasons_in_the_examples_exist():
    text = sections("commands.md")["fastlog stats"]
    shown = re.findall(r"^(malformed \w+: .*?)  +\d", text, flags=re.MULTILINE)
    assert shown
    frames = [b"hello", b"\x80\x04", b'{"msg": ']
    payload = make_run(Kind.STOCK, frames)
    block = Block(0, len(payload), 0, len(frames), 0, memoryview(payload))
    assert {located.notice.reason for located in Decoder().decode(block).notices} == set(shown)


def test_the_filters_are_described():
    shared = {"--json", "--watch", "--color", "--no-color"} | SHARED
    filters = options(COMMANDS["fastlog stats"]) - shared
    described = {first.split()[0] for first in table(sections("commands.md")["Filters"])}
    assert described == {*filters, "QUERY"}


def documented_keys() -> dict[str, dict[str, str]]:
    """Return keys and defaults by section."""
    found = {
        heading.strip("[]"): table(text)
        for heading, text in sections("configuration.md").items()
        if heading.startswith("[")
    }
    found[""] = table(sections("configuration.md")["Keys outside all tables"])
    return found


def test_every_key_is_described_and_every_described_key_exists():
    expected: dict[str, set[str]] = {
        "": set(TOP_KEYS),
        "listen": set(ListenConfig.__struct_fields__),
        "sink": set(SinkConfig.__struct_fields__),
        "redact": set(RedactConfig.__struct_fields__),
        "expire": set(ExpireConfig.__struct_fields__),
        **{name: set(struct.__struct_fields__) for name, struct in SECTIONS.items()},
    }
    assert {name: set(keys) for name, keys in documented_keys().items()} == expected


@pytest.mark.parametrize("section", SECTIONS)
def test_the_described_defaults_are_the_defaults(section: str):
    described = documented_keys()[section]
    fields = msgspec.structs.fields(SECTIONS[section])
    assert {field.encode_name: described[field.name].strip("`") for field in fields} == {
        field.name: shown_default(SECTIONS[section], field, described[field.name].strip("`"))
        for field in fields
    }


def shown_default(struct: type[Struct], field: Any, text: str) -> str:
    """Return the text if it means the default; else the default."""
    default = field.default
    if default is NODEFAULT:
        default = str(field.default_factory())
    for read in (str, parse_size, parse_duration):
        try:
            if read(text) == default:
                return text
        except ValueError:
            continue
    return str(default)


def test_the_described_defaults_outside_tables_are_the_defaults():
    described, default = documented_keys()[""], Config()
    assert described["data_dir"] == f"`{default.data_dir}`"
    assert described["listen"] == f'`["{default.listen[0].url}"]`'
    assert described["sink"] == f'`["{default.sinks[0].url}"]`'


# ---- the first steps -----------------------------------------------------------------------


def fenced(text: str, language: str = "") -> list[str]:
    """Return the code blocks of a document in this language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [code for marked, code in blocks if marked == language]


def make(*arguments: str) -> str:
    """Return the commands that `make` would run."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=ROOT, env=clean, capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("*/README.md")]


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_between_the_documents_has_a_target():
    broken = []
    for path in documents():
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
            if not link.startswith("http"):
                name, _, anchor = link.partition("#")
                target = path.parent / name if name else path
                if not target.exists() or (anchor and anchor not in anchors(target)):
                    broken.append(f"{path.name}: {link}")
    assert broken == []


def test_every_make_target_in_the_documents_exists():
    named = {
        target
        for path in documents()
        for code in re.findall(r"`([^`\n]+)`|^(make .*)$", path.read_text("utf-8"), re.MULTILINE)
        for target in re.findall(r"^make ([a-z]+)\b", "".join(code))
    }
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {"run", "test", "package", "bench"} <= named <= set(targets)


def test_the_readme_begins_with_what_make_run_does_and_prints():
    first, typed = fenced(README)[:2]
    assert first == "make run\n"
    *_, printing, started = make("run", "VENV=.venv").replace("\\\n", "").splitlines()
    assert started == ".venv/bin/fastlog-server --web http://127.0.0.1:9080"
    shown = subprocess.run(["sh", "-c", printing], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in shown.stdout.splitlines() if line.startswith("  ")]
    assert lines == typed.replace("/path/to/fastlog", str(ROOT)).splitlines()
    assert "open http://127.0.0.1:9080 in a browser" in shown.stdout


FAILING = """
import sys
import logging, logging.handlers

logging.basicConfig(handlers=[logging.handlers.SocketHandler("127.0.0.1", int(sys.argv[1]))])
logger = logging.getLogger("app")

try:
    1 / 0
except ZeroDivisionError:
    logger.exception("oops")
"""
"""A program whose ninth line fails, as that of the README does."""


def test_the_samples_of_the_readme_are_what_the_commands_print(tmp_path: Path) -> None:
    """The ready line and both queries; only times, the port and process ids differ."""
    [client] = fenced(README, "python")
    [session] = [block for block in fenced(README) if "$ fastlog-server\n" in block]
    samples = re.findall(r"^\$ (fastlog query .*)\n((?:[^$\n].*\n)+)", session, flags=re.MULTILINE)
    assert len(samples) == 2
    (tmp_path / "app.py").write_text(FAILING)
    with Server(tmp_path) as server:
        code = client.replace("9020", str(server.port))
        assert code != client
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        program = [sys.executable, "app.py", str(server.port)]
        subprocess.run(program, cwd=tmp_path, check=True, timeout=60)
        server.wait_stored(2)
        for command, expected in samples:
            name, *arguments = shlex.split(command)
            printed = subprocess.run(
                [BIN / name, *arguments, "--data-dir", server.data],
                capture_output=True, text=True, timeout=60, check=True,
            ).stdout  # fmt: skip
            assert masked(printed) == masked(expected)
        ready = re.search(r"^\$ fastlog-server\n(.*)\n", session, flags=re.MULTILINE)
        assert ready is not None
        shown = ready[1].replace("9020", str(server.port)).replace("fastlog-data", str(server.data))
        assert server.ready_line.strip() == shown


def masked(output: str) -> str:
    """Return printed records without the parts that differ from run to run."""
    output = re.sub(r"^\d{4}-\d\d-\d\d [\d:.]+", "TIME", output.strip(), flags=re.MULTILINE)
    output = re.sub(r'(?<=File ").*/(?=app\.py")', "", output)
    return re.sub(r"(?<=127\.0\.0\.1/)\d+", "PID", output)
