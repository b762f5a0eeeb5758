"""`fastlog tail`: print the newest records, and follow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastlog.cli.command import OK
from fastlog.cli.filters import Filters, unread_filter_options
from fastlog.cli.long_work import LongWork, report
from fastlog.cli.options import config_options, output_options, store_option
from fastlog.cli.output import Output, prepare_stdout
from fastlog.cli.query_command import QueryCommand
from fastlog.cli.standard_output import sleep_while_read
from fastlog.cli.unread import unread_files
from fastlog.cli.unstored import report_unstored
from fastlog.cli.url_options import url_options
from fastlog.config import Config
from fastlog.search import Found, Progress, follow
from fastlog.search.live import INTERVAL, TailPosition
from fastlog.status.data_directory import is_data_directory, logs_directory
from fastlog.status.record_stores import choose_store, is_day_store

if TYPE_CHECKING:
    from fastlog.cli.api import Api


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
@url_options
@config_options
@unread_filter_options
@output_options
def tail(
    config: Config,
    filters: Filters,
    output: Output,
    api: Api | None,
    lines: int,
    live: bool,
    store: str | None,
) -> int:
    """Print the newest records, or follow new ones with -f."""
    prepare_stdout(output.style)
    if api is not None:
        if store is not None:
            raise click.UsageError("--store and --url exclude each other")
        from fastlog.cli.url_tail import tail_url

        return tail_url(api, filters, output, lines, live=live)
    return _tail_store(config, filters, output, lines, live=live, url=store)


def _tail_store(
    config: Config, filters: Filters, output: Output, lines: int, *, live: bool, url: str | None
) -> int:
    if live and is_day_store(config, url) and _is_to_come(config.data_dir):
        return _tail_new_files(config, filters, output)
    query = filters.query(config)
    chosen, unread, progress = choose_store(config, url), unread_files(), Progress()
    report_unstored(config, chosen.sink, at_end=not live)
    with LongWork(progress) as work:
        records, position = chosen.store.newest(query, lines, unread, progress)
        output.measure(records)
        work.write(output.header())
        for found in records:
            work.write(output.line(found))
    if not live or progress.stopped:
        is_any = bool(records) or not lines
        return work.exit_code(is_any=is_any, is_complete=not unread.files)
    with suppress(KeyboardInterrupt):  # the usual way to end -f
        print_batches(chosen.store.follow(query, position, sleep_while_read, unread), output)
    return OK


def _is_to_come(data_dir: Path) -> bool:
    """Return whether a server has still to begin a data directory."""
    return not data_dir.exists() or (data_dir.is_dir() and not any(data_dir.iterdir()))


def _tail_new_files(config: Config, filters: Filters, output: Output) -> int:
    """Wait for a server that begins the data directory, and print all that it stores."""
    filters.check()
    report(f"waiting for {config.data_dir}, which has no records yet")
    sys.stdout.write(output.header())
    with suppress(KeyboardInterrupt):
        while not is_data_directory(config.data_dir):
            sleep_while_read(INTERVAL)
        logs, query = logs_directory(config), filters.query(config)
        found = follow(logs, query, TailPosition([]), sleep_while_read, unread_files())
        print_batches(found, output)
    return OK


def print_batches(batches: Iterator[list[Found]], output: Output) -> None:
    """Print records as they arrive."""
    for batch in batches:
        for found in batch:
            sys.stdout.write(output.line(found))
        sys.stdout.flush()
