"""Write the manual pages of the programs: `python -m fastlog.cli.manual DIRECTORY`.

The pages `fastlog.1` and `fastlog-server.1` have what `--help` of each command prints, in roff.
"""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from fastlog.cli import fastlog
from fastlog.cli.command import Command, full_name, run
from fastlog.cli.examples import EXAMPLES
from fastlog.cli.serve import server
from fastlog.errors import ConfigError
from fastlog.version import __version__

PROGRAMS: Final[dict[str, click.Command]] = {"fastlog": fastlog, "fastlog-server": server}

_WIDTH: Final = 60
"""Of a line in the page's source, without escapes."""
_ESCAPES: Final = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
)
_EXIT_STATUS: Final = {
    "0": "Success.",
    "1": "Failure, or nothing was found, as with grep.",
    "2": "Wrong usage or configuration.",
    "3": "The answer is incomplete, because something could not be read.",
    "130": "Interrupted.",
}
_ENVIRONMENT: Final = {
    "FASTLOG_CONFIG": "The configuration to read, unless --config names one.",
    "FASTLOG_SECTION_KEY": "Any key of the configuration, such as FASTLOG_DATA_DIR.",
    "FASTLOG_PAGER": "The pager for long output, instead of PAGER or less.",
    "FASTLOG_TOKEN": "The token that --url sends.",
    "NO_COLOR": "Use no colours.",
}
_FILES: Final = {
    "fastlog.toml": "The configuration, in the current directory.",
    "fastlog-data": "The data of the server, unless it is configured elsewhere.",
}


def page(program: str, date: str) -> str:
    """Return the manual page of a program, in roff.

    Args:
        program: a key of `PROGRAMS`.
        date: of the page, such as `2026-11-23`.
    """
    ctx = _context(PROGRAMS[program], program, None)
    other = next(name for name in PROGRAMS if name != program)
    lines = [
        f'.TH {_escape(program.upper())} 1 {date} "fastlog {__version__}" "User Commands"',
        ".SH NAME",
        f"{_escape(program)} \\- {_escape(_title(ctx.command))}",
        ".SH SYNOPSIS",
        *_synopsis(ctx),
        ".SH DESCRIPTION",
        *_paragraphs(ctx.command),
        ".SH OPTIONS",
        *_options(ctx),
    ]
    commands = list(_commands(ctx))
    if commands:
        lines.append(".SH COMMANDS")
    for command in commands:
        lines += [f".SS {_escape(full_name(command))}", *_synopsis(command), ".PP"]
        lines += [*_paragraphs(command.command), *_options(command)]
        lines += [".PP", "\\fBExamples\\fR", ".PP", *_examples(command)]
    lines += [".SH EXAMPLES", *_examples(ctx)]
    for heading, terms in (
        ("EXIT STATUS", _EXIT_STATUS),
        ("ENVIRONMENT", _ENVIRONMENT),
        ("FILES", _FILES),
    ):
        lines += [f".SH {heading}", *_terms(terms.items())]
    lines += [".SH SEE ALSO", f".BR {_escape(other)} (1)"]
    return "\n".join(lines) + "\n"


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return command.make_context(name, [], parent=parent, resilient_parsing=True)


def _commands(ctx: click.Context) -> Iterator[click.Context]:
    """Yield the contexts of the commands of a group, and of those of its groups."""
    group = ctx.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is not None and not command.hidden:
            inner = _context(command, name, ctx)
            yield inner
            yield from _commands(inner)


def _title(command: click.Command) -> str:
    """Return the first sentence of the help, as a part of a sentence."""
    sentence = " ".join((command.help or "").split("\n\n")[0].split()).rstrip(".")
    return sentence[:1].lower() + sentence[1:]


def _synopsis(ctx: click.Context) -> list[str]:
    pieces = " ".join(ctx.command.collect_usage_pieces(ctx))
    return [f"\\fB{_escape(full_name(ctx))}\\fR {_escape(pieces)}"]


def _paragraphs(command: click.Command) -> Iterator[str]:
    for at, text in enumerate((command.help or "").split("\n\n")):
        if at:
            yield ".PP"
        yield from _text(text)


def _options(ctx: click.Context) -> Iterator[str]:
    records = [parameter.get_help_record(ctx) for parameter in ctx.command.get_params(ctx)]
    yield from _terms([record for record in records if record is not None])


def _terms(terms: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in terms:
        yield from (".TP", f"\\fB{_escape(term)}\\fR", *_text(text))


def _examples(ctx: click.Context) -> Iterator[str]:
    for at, example in enumerate(EXAMPLES.get(full_name(ctx), ())):
        if at:
            yield ".PP"
        yield from (*_text(example.purpose), ".PP", ".RS 4", ".nf")
        yield from (_escape(example.line), ".fi", ".RE")


def _text(text: str) -> list[str]:
    """Return running text, in lines: a manual page is text that people read, too."""
    words = " ".join(text.split())
    return [_escape(line) for line in textwrap.wrap(words, _WIDTH, break_on_hyphens=False)]


def _escape(text: str) -> str:
    """Return text as roff, which prints it as it is."""
    text = text.translate(_ESCAPES)
    text = "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in text)
    return f"\\&{text}" if text.startswith(".") else text


def _date() -> str:
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = time.gmtime(time.time() if seconds is None else int(seconds))
    except (ValueError, OverflowError):
        expected = "expected seconds since the epoch"
        raise ConfigError(f"SOURCE_DATE_EPOCH: {expected}, got {seconds!r}") from None
    return time.strftime("%Y-%m-%d", moment)


@click.command("fastlog.cli.manual", cls=Command)
@click.argument("directory", type=click.Path(path_type=Path))
def manual(directory: Path) -> None:
    """Write the manual pages of fastlog and fastlog-server into DIRECTORY, and print their paths.

    Makes the directory. man searches share/man/man1 beside each bin of the PATH. The pages have
    today's date, or that of SOURCE_DATE_EPOCH.
    """
    date = _date()
    directory.mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        path = directory / f"{program}.1"
        path.write_text(page(program, date), "ascii")
        click.echo(path)


if __name__ == "__main__":
    sys.exit(run(manual, "python -m fastlog.cli.manual"))
