"""Options that commands share, as decorators: configuration, and form of output.

Each decorator replaces its options by one argument of the command: `config: Config`,
`output: Output`.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

import click

from fastlog.cli.completion import complete_directory
from fastlog.cli.output import Output, Style
from fastlog.config import Config, load
from fastlog.errors import ConfigError
from fastlog.query import parse_zone
from fastlog.zone import Zone

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


def store_option(function: Function) -> Function:
    """Add `--store`; the command gets `store`, a URL or `None`."""
    return click.option(
        "--store",
        metavar="URL",
        help="Use this store: sqlite:///directory or postgresql://user@host/database"
        " (default: that of the configuration).",
    )(function)


def load_config(file: Path | None, **flags: object) -> Config:
    """Load the configuration from the file, the environment of this process, and flags."""
    return load(file, os.environ, flags, _CHECKS)


class _Checks(dict[str, Callable[[str], object]]):
    """The checks of the query language, which is imported only if the configuration uses it."""

    def get(self, key: str, default: Any = None) -> Any:
        from fastlog.routing import CHECKS

        return CHECKS.get(key, default)


_CHECKS = _Checks()


def output_options(function: Function) -> Function:
    """Add what chooses the form of printed records; the command gets `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header.")
    @click.option(
        "--fields",
        metavar="FIELD,...",
        help="Print these fields, in any style: columns, level, logger, time, extra.NAME.",
    )
    @click.option(
        "--format",
        "template",
        metavar="TEMPLATE",
        help="Print a line such as '{created} {level} {message} {extra.user}' of each record.",
    )
    @zone_options
    @colour_option
    @functools.wraps(function)
    def command(
        as_json: bool,
        as_csv: bool,
        fields: str | None,
        template: str | None,
        colour: bool | None,
        **rest: Any,
    ) -> Any:
        _exclude({"--json": as_json, "--csv": as_csv, "--format": template is not None})
        _exclude({"--fields": fields is not None, "--format": template is not None})
        if as_json or as_csv:
            style = Style.JSON if as_json else Style.CSV
        else:
            style = Style.COLOUR if wants_colour(colour) else Style.PLAIN
        output = Output(style, zone=Zone(asked_zone()))
        if fields is not None:
            from fastlog.cli.fields import parse_fields  # few searches need these two

            output = output._replace(fields=parse_fields(fields))
        if template is not None:
            from fastlog.cli.template import Template

            output = output._replace(template=Template(template))
        if style in (Style.COLOUR, Style.PLAIN) and sys.stdout.isatty():
            from fastlog.cli.window import window_of_stdout

            output = output._replace(window=window_of_stdout(style is Style.COLOUR, output.zone))
        return function(output=output, **rest)

    return command


def _exclude(given: dict[str, bool]) -> None:
    """Raise an error if more than one of the options is given."""
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} exclude each other")


_ZONE = "fastlog.zone"
"""The key of the named zone among what the options of one command line share."""


def zone_options(function: Function) -> Function:
    """Add `--utc` and `--tz`, which `asked_zone` returns."""
    for option in (
        click.option(
            "--utc",
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_set_zone,
            help="Take and print times in UTC.",
        ),
        click.option(
            "--tz",
            metavar="ZONE",
            expose_value=False,
            is_eager=True,
            callback=_set_zone,
            help="Take and print times in this zone, such as Europe/Berlin or +02:00.",
        ),
    ):
        function = option(function)
    return function


def asked_zone() -> tzinfo | None:
    """Return the zone that `--utc` or `--tz` names; `None` means that of this process."""
    zone: tzinfo | None = click.get_current_context().meta.get(_ZONE)
    return zone


def _set_zone(context: click.Context, _: click.Parameter, value: bool | str | None) -> None:
    if value in (None, False):
        return
    if _ZONE in context.meta:
        raise click.UsageError("--utc and --tz exclude each other")
    try:
        context.meta[_ZONE] = UTC if value is True else _zone(str(value))
    except ConfigError as error:
        raise click.UsageError(str(error)) from None  # click does not catch others while it parses


def _zone(text: str) -> tzinfo:
    """Return the zone of a name of the time zone database, or of an offset such as `+02:00`.

    Raises:
        ConfigError: There is no such zone; the text suggests one.
    """
    if match := re.fullmatch(r"([+-])(\d\d):?([0-5]\d)", text, re.ASCII):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if offset < timedelta(days=1):
            return timezone(-offset if match[1] == "-" else offset)
    try:
        return parse_zone(text)
    except ConfigError:
        from zoneinfo import available_timezones

        cities = {name.rpartition("/")[2].casefold(): name for name in available_timezones()}
        if text.casefold() in cities:
            hint = f"did you mean {cities[text.casefold()]!r}?"
            raise ConfigError(f"there is no time zone {text!r}; {hint}") from None
        raise


def wants_colour(flag: bool | None) -> bool:
    """Return the flag if it is given; else whether stdout is a terminal, and NO_COLOR not set."""
    if flag is not None:
        return flag
    return not os.environ.get("NO_COLOR") and sys.stdout.isatty()
