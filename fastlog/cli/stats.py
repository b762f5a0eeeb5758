"""`fastlog stats`: count stored and lost records, and show the state of sinks and receiver."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

import click

from fastlog.cli.command import INCOMPLETE, OK, USAGE, fail
from fastlog.cli.filters import filter_options
from fastlog.cli.options import colour_option, config_options, store_option, wants_colour
from fastlog.cli.query_command import QueryCommand
from fastlog.cli.safe_text import escape_unencodable, print_json
from fastlog.cli.unread import unread_files
from fastlog.cli.unstored import report_unstored
from fastlog.config import Config
from fastlog.errors import ConfigError
from fastlog.query import Node
from fastlog.search import Unread
from fastlog.status.record_stores import choose_store
from fastlog.status.statistics import Statistics, collect, to_tree

EVERY = 2.0
"""Seconds between two outputs of `--watch`."""
SHORTEST, LONGEST = 0.1, 86_400.0
"""The range that may be given instead."""


def _read_interval(
    context: click.Context, parameter: click.Parameter, value: object
) -> float | None:
    """Return the seconds of `--watch`; None: it is not given."""
    if value is None:
        return None
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = 0.0
    if not SHORTEST <= seconds <= LONGEST:
        raise click.BadParameter(
            f"expected {SHORTEST} to {LONGEST:.0f} seconds, got {str(value)!r}; "
            "write --watch=5, or put --watch last"
        )
    return seconds


@click.command(cls=QueryCommand)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option(
    "--watch",
    is_flag=False,
    flag_value=str(EVERY),
    callback=_read_interval,
    metavar="[SECONDS]",
    help=f"Print everything every SECONDS (default: {EVERY:.0f}), until interrupted.",
)
@colour_option
@store_option
@config_options
@filter_options
def stats(
    config: Config,
    query: Node,
    as_json: bool,
    watch: float | None,
    colour: bool | None,
    store: str | None,
) -> int:
    """Count the stored records; show losses, sinks and the receiver."""
    escape_unencodable()
    in_place = watch is not None and not as_json and sys.stdout.isatty()
    show = _show_json if as_json else _printer(wants_colour(colour), in_window=in_place)
    if watch is None:
        return _print_once(config, query, store, show)
    from fastlog.cli.watch import repeat

    def print_next() -> None:
        show(collect(config, query, Unread(lambda line: None), time.time(), store))

    repeat(print_next, watch, clear=in_place)
    return OK


def _print_once(
    config: Config, query: Node, store: str | None, show: Callable[[Statistics], None]
) -> int:
    path = click.get_current_context().command_path
    unread = unread_files()
    with suppress(ConfigError):  # the directory is wrong: `collect` raises it, or keeps the text
        report_unstored(config, choose_store(config, store).sink)
    found = collect(config, query, unread, time.time(), store)
    code = INCOMPLETE if unread.files else OK
    if found.not_counted:
        code = fail(path, found.not_counted, USAGE)
    if found.ledger_error:
        code = fail(path, found.ledger_error, code or INCOMPLETE)
    show(found)
    return code


def _show_json(found: Statistics) -> None:
    print_json(to_tree(found))


def _printer(colour: bool, *, in_window: bool) -> Callable[[Statistics], None]:
    from fastlog.cli.stats_tables import print_tables  # rich takes a while to import

    return lambda found: print_tables(found, colour=colour, in_window=in_window)
