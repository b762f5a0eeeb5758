"""Options of commands that read the API of a web server instead of a data directory."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastlog.errors import ConfigError

if TYPE_CHECKING:
    from fastlog.cli.api import Api

Function = Callable[..., Any]
VARIABLE = "FASTLOG_TOKEN"


def url_options(function: Function) -> Function:
    """Add `--url` and `--token-file`; the command gets `api`, which is `None` without `--url`."""

    @click.option(
        "--url",
        metavar="URL",
        help="Read the page at this address, such as http://127.0.0.1:9080, instead of files.",
    )
    @click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"With --url: send the token in this file (default: ${VARIABLE}).",
    )
    @functools.wraps(function)
    def command(url: str | None, token_file: Path | None, **rest: Any) -> Any:
        if url is None:
            if token_file is not None:
                raise click.UsageError("--token-file needs --url")
            return function(api=None, **rest)
        if _is_given("data_dir"):
            raise click.UsageError("--data-dir and --url exclude each other")
        return function(api=_api(url, token_file), **rest)

    return command


def _api(url: str, token_file: Path | None) -> Api:
    from fastlog.cli.api import Api  # HTTP takes a while to import

    return Api(url, _token(token_file))


def _token(file: Path | None) -> str:
    """Return the token to send; "" for none.

    A flag with the token itself would be in the list of processes, which all users can read.
    """
    if file is None:
        source, text = VARIABLE, os.environ.get(VARIABLE, "")
    else:
        source = f"--token-file: {file}"
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is no text"
            raise ConfigError(f"{source}: {reason}") from None
        if not text.strip():
            raise ConfigError(f"{source}: is empty; expected a token")
    token = text.strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError(f"{source}: expected a token in one line, without spaces")
    return token


def _is_given(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is click.core.ParameterSource.COMMANDLINE
