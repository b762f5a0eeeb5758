"""`fastlog top`: a live screen of rates, sinks and losses."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from typing import TYPE_CHECKING

import click

from fastlog.cli.command import OK
from fastlog.cli.filters import Filters, unread_filter_options
from fastlog.cli.options import colour_option, config_options, store_option, wants_colour
from fastlog.cli.query_command import QueryCommand
from fastlog.cli.safe_text import escape_unencodable
from fastlog.cli.url_options import url_options
from fastlog.config import Config
from fastlog.errors import ConfigError, FastlogError

if TYPE_CHECKING:
    from rich.console import Console

    from fastlog.cli.api import Api
    from fastlog.cli.top_readings import Source
    from fastlog.cli.top_view import View

EVERY = 2.0
"""Seconds between two readings."""
SHORTEST, LONGEST = 0.5, 3600.0
"""The range that may be given instead."""
_PATIENCE = 5.0
"""Seconds that the end waits for a reading, which ends soon."""
_WIDTH = 100
"""Columns of what is printed where there is no window."""


@click.command(cls=QueryCommand)
@click.option(
    "--every",
    type=click.FloatRange(SHORTEST, LONGEST),
    default=EVERY,
    metavar="SECONDS",
    help=f"Read the counts every SECONDS (default: {EVERY:.0f}).",
)
@colour_option
@store_option
@url_options
@config_options
@unread_filter_options
def top(
    config: Config,
    filters: Filters,
    api: Api | None,
    every: float,
    colour: bool | None,
    store: str | None,
) -> int:
    """Show live rates, sinks and losses, until q is pressed.

    The rates are by level, logger and host. If stdout is not a terminal, everything is printed
    once.
    """
    escape_unencodable()
    from rich.console import Console  # rich takes a while to import

    source = _source(config, filters, api, store)
    is_live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    has_colour = wants_colour(colour)
    if not is_live:
        console = Console(
            width=_WIDTH, no_color=not has_colour, force_terminal=has_colour, highlight=False
        )
        console.print(_first_view(_Top(source, "")))
        return OK
    _run(source, every, Console(no_color=not has_colour, highlight=False))
    return OK


def _source(config: Config, filters: Filters, api: Api | None, store: str | None) -> Source:
    from fastlog.cli.top_readings import ApiSource, StoreSource

    if api is None:
        return StoreSource(config, filters.query(config), store)
    if store is not None:
        raise click.UsageError("--store and --url exclude each other")
    from fastlog.cli.options import asked_zone
    from fastlog.cli.zone_names import zone_name

    return ApiSource(api, filters.text(), zone_name(asked_zone()))


class _Top:
    """The newest view of a source."""

    def __init__(self, source: Source, hint: str) -> None:
        from fastlog.cli.top_rates import Rates

        self._source, self._hint = source, hint
        self._rates = Rates()
        self._view: View | None = None

    def read(self) -> View:
        """Read the source, and return the view of it.

        Raises:
            FastlogError: It cannot be read.
        """
        from fastlog.cli.top_view import View

        reading, rates = self._source.read(), self._rates
        rates.add(reading)
        self._view = View(
            source=self._source.name,
            at=reading.at,
            total=rates.total(),
            levels=rates.of("level"),
            loggers=rates.of("logger"),
            hosts=rates.of("host"),
            state=reading.state,
            notes=reading.notes,
            hint=self._hint,
        )
        return self._view

    def read_again(self) -> View:
        """Read the source; if that fails, return the last view with the reason."""
        assert self._view is not None
        try:
            return self.read()
        except (FastlogError, OSError, sqlite3.Error) as error:
            self._view = self._view._replace(notes=[f"not read since then: {error}"])
            return self._view


def _first_view(top: _Top) -> View:
    from fastlog.cli.api_errors import UnreachableApiError

    try:
        return top.read()
    except UnreachableApiError as error:
        raise ConfigError(f"--url: {error}") from None


def _run(source: Source, every: float, console: Console) -> None:
    """Show the source until the user has seen enough."""
    from fastlog.cli.full_screen import FullScreen

    top = _Top(source, f"every {every:g} s; q ends")
    views = [_first_view(top)]  # an error is printed, and no screen is shown
    screen = FullScreen(console, lambda: views[-1])

    ending = threading.Event()

    def read_on() -> None:
        while not ending.wait(every):
            views[:] = [top.read_again()]
            screen.changed()

    thread = threading.Thread(target=read_on, name="readings", daemon=True)
    thread.start()
    try:
        screen.run("qQ")
    finally:
        ending.set()
        source.interrupt()
        thread.join(_PATIENCE)  # a thread inside a library could abort the end of the process
