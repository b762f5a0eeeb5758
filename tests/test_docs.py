"""The documents name every command, flag and key that there is, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from msgspec import NODEFAULT, Struct

from fastlog.block import Block, Kind, make_run
from fastlog.cli import fastlog
from fastlog.cli.serve import server
from fastlog.config import Config, ListenConfig, SinkConfig
from fastlog.config.sources import TOP_KEYS
from fastlog.config.tree import SECTIONS
from fastlog.config.units import parse_duration, parse_size
from fastlog.decode import Decoder
from fastlog.query import COLUMNS

DOCS = Path(__file__).parent.parent / "docs"
SHARED = {"--config", "--data-dir", "--help"}
"""Described once, above all commands."""

COMMANDS = {f"fastlog {name}": command for name, command in fastlog.commands.items()}
COMMANDS["fastlog-server"] = server


def sections(document: str) -> dict[str, str]:
    """The text below each heading of the second level."""
    parts = re.split(r"^## (.*)\n", (DOCS / document).read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(text: str) -> dict[str, str]:
    """The second column of a section's table by its first."""
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
    assert set(sections("commands.md")) == {*COMMANDS, "Filters"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_section_of_a_command_names_its_options_and_no_others(name: str):
    text = re.sub(r"^```.*?^```", "", sections("commands.md")[name], flags=re.M | re.S)
    described = set(re.findall(r"(?<=`)--?[a-z][a-z-]*", text))
    assert described | SHARED == options(COMMANDS[name]) | SHARED


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str):
    assert [
        parameter.name
        for parameter in COMMANDS[name].params
        if isinstance(parameter, click.Option) and not parameter.help
    ] == []


def test_the_examples_use_only_options_and_fields_that_there_are():
    text = (DOCS / "commands.md").read_text("utf-8")
    for line in re.findall(r"^\$ (fastlog[^|\n]*)", text, flags=re.MULTILINE):
        name = line.split()[0] if line.startswith("fastlog-server") else " ".join(line.split()[:2])
        used = set(re.findall(r"(?<= )--?[a-z][a-z-]*", line))
        assert used <= options(COMMANDS[name]), line
        for field in re.findall(r"[ '](\w+(?:\.\w+)*)(?:=|>=)", line):
            assert field.split(".")[0] in (*COLUMNS, "extra"), line


def test_the_reasons_in_the_examples_are_reasons_that_there_are():
    text = sections("commands.md")["fastlog stats"]
    shown = re.findall(r"^(malformed \w+: .*?)  +\d", text, flags=re.MULTILINE)
    assert shown
    frames = [b"hello", b"\x80\x04", b'{"msg": ']
    payload = make_run(Kind.STOCK, frames)
    block = Block(0, len(payload), 0, len(frames), 0, memoryview(payload))
    assert {located.note.reason for located in Decoder().decode(block).notes} == set(shown)


def test_the_filters_are_described():
    shared = {"--json", "--color", "--no-color"} | SHARED
    filters = options(COMMANDS["fastlog stats"]) - shared
    described = {first.split()[0] for first in table(sections("commands.md")["Filters"])}
    assert described == {*filters, "FIELD=VALUE"}


def documented_keys() -> dict[str, dict[str, str]]:
    """Keys and defaults by section."""
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
    """The text, if it means the default; else the default."""
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
