"""Options that commands share, as decorators: configuration, filters, and style of output.

Each decorator replaces its options by one argument of the command: `config: Config`,
`filters: Filters`, `style: Style`.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fastlog.cli.completion import complete_directory, complete_field, complete_level
from fastlog.cli.output import Style
from fastlog.config import Config, load
from fastlog.errors import ConfigError
from fastlog.query import (
    Filters,
    check_regex,
    check_text,
    parse_condition,
    parse_level,
    parse_moment,
)

Function = Callable[..., Any]

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read this configuration (default: $FASTLOG_CONFIG, else fastlog.toml).",
)
colour_option = click.option(
    "--color/--no-color",
    "colour",
    default=None,
    help="Use colours or not (default: only on a terminal, and if NO_COLOR is not set).",
)


def config_options(function: Function) -> Function:
    """Add `--config` and `--data-dir`; the command gets `config`."""

    @config_option
    @click.option(
        "--data-dir",
        metavar="DIR",
        shell_complete=complete_directory,
        help="The server's data directory (default: as configured).",
    )
    @functools.wraps(function)
    def command(config_file: Path | None, data_dir: str | None, **rest: Any) -> Any:
        return function(config=load_config(config_file, data_dir=data_dir), **rest)

    return command


def load_config(file: Path | None, **flags: object) -> Config:
    """Load the configuration from the file, the environment of this process, and flags."""
    return load(file, os.environ, flags)


def filter_options(function: Function) -> Function:
    """Add all filters, and `field=value` arguments; the command gets `filters`."""

    @click.option(
        "--since",
        metavar="TIME",
        help="Only records since this time: 1h (ago), 2026-11-23, '2026-11-23 14:30', yesterday.",
    )
    @click.option("--until", metavar="TIME", help="Only records before this time.")
    @click.option(
        "--level",
        metavar="LEVEL",
        shell_complete=complete_level,
        help="Only records of this level or above: a name or a number.",
    )
    @click.option(
        "--logger",
        metavar="NAME",
        multiple=True,
        help="Only records of this logger or one below it. May be repeated: any.",
    )
    @click.option(
        "--host",
        metavar="HOST",
        multiple=True,
        help="Only records from this host. May be repeated: any.",
    )
    @click.option(
        "--grep",
        metavar="TEXT",
        multiple=True,
        help="Only records with this text in message or traceback, ignoring case.",
    )
    @click.option(
        "--regex",
        metavar="RE",
        multiple=True,
        help="Only records whose message or traceback matches this regular expression.",
    )
    @click.option(
        "--where",
        metavar="FIELD=VALUE",
        multiple=True,
        shell_complete=complete_field,
        help="Only records with this value. Also != > < >= <=, and extra.NAME.",
    )
    @click.argument(
        "conditions", metavar="[FIELD=VALUE]...", nargs=-1, shell_complete=complete_field
    )
    @functools.wraps(function)
    def command(
        since: str | None,
        until: str | None,
        level: str | None,
        logger: tuple[str, ...],
        host: tuple[str, ...],
        grep: tuple[str, ...],
        regex: tuple[str, ...],
        where: tuple[str, ...],
        conditions: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        now = time.time()
        filters = Filters(
            since=None if since is None else parse_moment(since, now),
            until=None if until is None else parse_moment(until, now),
            level=None if level is None else parse_level(level),
            logger=logger,
            host=host,
            grep=tuple(map(check_text, grep)),
            regex=tuple(map(check_regex, regex)),
            where=tuple(parse_condition(text, now) for text in (*where, *conditions)),
        )
        begin, end = filters.since, filters.until
        if begin is not None and end is not None and begin >= end:
            raise ConfigError("--since must be before --until")
        return function(filters=filters, **rest)

    return command


def style_options(function: Function) -> Function:
    """Add `--json`, `--csv` and `--color`; the command gets `style`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header.")
    @colour_option
    @functools.wraps(function)
    def command(as_json: bool, as_csv: bool, colour: bool | None, **rest: Any) -> Any:
        if as_json and as_csv:
            raise click.UsageError("--json and --csv exclude each other")
        if as_json or as_csv:
            return function(style=Style.JSON if as_json else Style.CSV, **rest)
        return function(style=Style.COLOUR if wants_colour(colour) else Style.PLAIN, **rest)

    return command


def wants_colour(flag: bool | None) -> bool:
    """Return the flag if it is given; else whether stdout is a terminal, and NO_COLOR not set."""
    if flag is not None:
        return flag
    return not os.environ.get("NO_COLOR") and sys.stdout.isatty()
