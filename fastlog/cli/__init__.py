"""The commands `fastlog` and `fastlog-server`: one file for each, and shared files."""

from __future__ import annotations

import sys

import click

from fastlog.cli.check import check
from fastlog.cli.command import run
from fastlog.cli.drill import drill
from fastlog.cli.journal import journal
from fastlog.cli.migrate import migrate
from fastlog.cli.query import query
from fastlog.cli.send import send
from fastlog.cli.stats import stats
from fastlog.cli.tail import tail
from fastlog.version import __version__


@click.group()
@click.version_option(__version__, message="%(prog)s %(version)s")
def fastlog() -> None:
    """Search, follow and check the log records that fastlog-server stores."""


for _command in (tail, query, stats, send, check, migrate, journal, drill):
    fastlog.add_command(_command)


def main() -> None:
    """Run `fastlog`, or `python -m fastlog`."""
    sys.exit(run(fastlog, "fastlog"))
