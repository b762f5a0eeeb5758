"""`fastlog tail`: print the newest records, and follow."""

from __future__ import annotations

import sys

import click

from fastlog.cli.command import OK
from fastlog.cli.filters import filter_options
from fastlog.cli.long_work import LongWork
from fastlog.cli.options import config_options, output_options, store_option
from fastlog.cli.output import Output, prepare_stdout
from fastlog.cli.query_command import QueryCommand
from fastlog.cli.standard_output import sleep_while_read
from fastlog.cli.unread import unread_files
from fastlog.cli.unstored import report_unstored
from fastlog.config import Config
from fastlog.query import Node
from fastlog.search import Progress
from fastlog.status.record_stores import choose_store


@click.command(cls=QueryCommand)
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
@store_option
@config_options
@filter_options
@output_options
def tail(
    config: Config, query: Node, output: Output, lines: int, live: bool, store: str | None
) -> int:
    """Print the newest records, and with -f new ones as they arrive."""
    chosen, unread, progress = choose_store(config, store), unread_files(), Progress()
    report_unstored(config, chosen.sink, at_end=not live)
    prepare_stdout(output.style)
    with LongWork(progress) as work:
        records, position = chosen.store.newest(query, lines, unread, progress)
        work.write(output.header())
        for found in records:
            work.write(output.line(found))
    if not live or progress.stopped:
        is_any = bool(records) or not lines
        return work.exit_code(is_any=is_any, is_complete=not unread.files)
    try:
        for batch in chosen.store.follow(query, position, sleep_while_read, unread):
            for found in batch:
                sys.stdout.write(output.line(found))
            sys.stdout.flush()
    except KeyboardInterrupt:  # the usual way to end -f
        pass
    return OK
