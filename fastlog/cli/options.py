"""The options that commands share, as decorators: where the data is, which records, how they look.

Each decorator takes its options out of the arguments and hands the command one value instead:
`config: Config`, `filters: Filters`, `style: Style`.
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

from fastlog.cli.output import Style
from fastlog.config import Config, load
from fastlog.errors import ConfigError
from fastlog.query import Filters, check_regex, parse_condition, parse_level, parse_moment

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
    help="Coloured or not (default: on a terminal, unless NO_COLOR is set).",
)


def place_options(function: Function) -> Function:
    """`--config` and `--data-dir`; the command gets `config`."""

    @config_option
    @click.option("--data-dir", metavar="DIR", help="Where the server keeps its data.")
    @functools.wraps(function)
    def command(config_file: Path | None, data_dir: str | None, **rest: Any) -> Any:
        return function(config=load_config(config_file, data_dir=data_dir), **rest)

    return command


def load_config(file: Path | None, **flags: object) -> Config:
    """The configuration of this process: file, environment and flags."""
    return load(file, os.environ, flags)


def filter_options(function: Function) -> Function:
    """All filters, also as free `field=value` arguments; the command gets `filters`."""

    @click.option(
        "--since",
        metavar="TIME",
        help="From then on: 1h (ago), 2026-11-23, '2026-11-23 14:30', yesterday.",
    )
    @click.option("--until", metavar="TIME", help="Before then.")
    @click.option("--level", metavar="LEVEL", help="Of this level or above: WARNING, or 30.")
    @click.option(
        "--logger",
        metavar="NAME",
        multiple=True,
        help="Of this logger or one below it. Several: of any of them.",
    )
    @click.option(
        "--host", metavar="HOST", multiple=True, help="From this host. Several: from any of them."
    )
    @click.option(
        "--grep",
        metavar="TEXT",
        multiple=True,
        help="With this text in message or traceback, in any case.",
    )
    @click.option(
        "--regex",
        metavar="RE",
        multiple=True,
        help="With a match of this regular expression in message or traceback.",
    )
    @click.option(
        "--where",
        metavar="FIELD=VALUE",
        multiple=True,
        help="With this value; also != > < >= <=, and extra.NAME.",
    )
    @click.argument("conditions", metavar="[FIELD=VALUE]...", nargs=-1)
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
            grep=grep,
            regex=tuple(map(check_regex, regex)),
            where=tuple(parse_condition(text, now) for text in (*where, *conditions)),
        )
        begin, end = filters.since, filters.until
        if begin is not None and end is not None and begin >= end:
            raise ConfigError("--since must be before --until")
        return function(filters=filters, **rest)

    return command


def style_options(function: Function) -> Function:
    """`--json`, `--csv` and `--color`; the command gets `style`."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
    @click.option("--csv", "as_csv", is_flag=True, help="Comma-separated, with a header.")
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
    """What the flag says, else NO_COLOR, else whether a person looks at it."""
    if flag is not None:
        return flag
    return not os.environ.get("NO_COLOR") and sys.stdout.isatty()
