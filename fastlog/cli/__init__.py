"""The commands `fastlog` and `fastlog-server`: one file for each, and shared files."""

from __future__ import annotations

import sys
from importlib import import_module
from keyword import iskeyword

import click

from fastlog.cli.command import Group, run
from fastlog.version import __version__


class Commands(Group):
    """A group whose commands are imported when they are used.

    The command `NAME` is the function `NAME` of `fastlog/cli/NAME.py`; that of a word of Python is
    `NAME_`. A search starts in half of
    the time, since it needs few of the others' libraries.
    """

    NAMES = (
        *("backup", "check", "drill", "erase", "export", "help", "import", "journal", "migrate"),
        *("query", "restore", "send", "stats", "tail", "top", "web"),
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.NAMES:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(import_module(f"fastlog.cli.{name}"), name)
        return command


@click.group(cls=Commands)
@click.version_option(__version__, message="%(prog)s %(version)s")
def fastlog() -> None:
    """Search, follow and check the log records that fastlog-server stores."""


def main() -> None:
    """Run `fastlog`, or `python -m fastlog`."""
    sys.exit(run(fastlog, "fastlog"))
