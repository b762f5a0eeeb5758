"""Options that commands share, as decorators: configuration, and style of output.

Each decorator replaces its options by one argument of the command: `config: Config`,
`style: Style`.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fastlog.cli.output import Style
from fastlog.config import Config, load

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
        help="The server's data directory (default: as configured).",
    )
    @functools.wraps(function)
    def command(config_file: Path | None, data_dir: str | None, **rest: Any) -> Any:
        return function(config=load_config(config_file, data_dir=data_dir), **rest)

    return command


def load_config(file: Path | None, **flags: object) -> Config:
    """Load the configuration from the file, the environment of this process, and flags."""
    return load(file, os.environ, flags)


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
