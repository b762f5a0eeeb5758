"""The commands `fastlog` and `fastlog-server`: one file for each, and shared files."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from fastlog.cli.command import Group, run
from fastlog.version import __version__


class Commands(Group):
    """A group whose commands are imported when they are used.

    The command `NAME` is the function `NAME` of `fastlog/cli/NAME.py`. A search starts in half of
    the time, since it needs few of the others' libraries.
    """

    NAMES = (
        *(
            "check",
            "drill",
            "erase",
            "help",
            "journal",
            "migrate",
            "query",
            "send",
            "stats",
            "tail",
        ),
        *("top", "web"),
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.NAMES:
            return None
        command: click.Command = getattr(import_module(f"fastlog.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=Commands)
@click.version_option(__version__, message="%(prog)s %(version)s")
def fastlog() -> None:
    """Search, follow and check the log records that fastlog-server stores."""


def main() -> None:
    """Run `fastlog`, or `python -m fastlog`."""
    sys.exit(run(fastlog, "fastlog"))
