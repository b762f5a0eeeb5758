"""`fastlog tail`: print the newest records, and follow."""

from __future__ import annotations

import sys

import click

from fastlog.cli.command import FAILED, INCOMPLETE, OK, Command
from fastlog.cli.data_directory import logs_directory, unread_files
from fastlog.cli.filters import filter_options
from fastlog.cli.options import config_options, style_options
from fastlog.cli.output import Style, printer
from fastlog.cli.unstored import report_unstored
from fastlog.config import Config
from fastlog.query import Node
from fastlog.search import follow, newest


@click.command(cls=Command)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=20,
    metavar="N",
    help="Print the newest N records (default: 20).",
)
@click.option(
    "-f",
    "--follow",
    "live",
    is_flag=True,
    help="Then print new records as they arrive, until interrupted.",
)
@config_options
@filter_options
@style_options
def tail(config: Config, query: Node, style: Style, lines: int, live: bool) -> int:
    """Print the newest records, and with -f new ones as they arrive."""
    logs = logs_directory(config)
    report_unstored(config, at_end=not live)
    write, unread = printer(style), unread_files()
    try:
        records, position = newest(logs, query, lines, unread)
        count = write(records)
        sys.stdout.flush()
        if not live and unread.files:
            return INCOMPLETE
        if not live:
            return OK if count or not lines else FAILED
        for batch in follow(logs, query, position, unread=unread):
            write(batch)
            sys.stdout.flush()
    except KeyboardInterrupt:  # the usual way to end -f
        pass
    return OK
