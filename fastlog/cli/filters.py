"""The query of a command: its arguments, and the flags that are short forms of parts of it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any

import click

from fastlog.cli.completion import complete_field, complete_level
from fastlog.cli.options import asked_zone
from fastlog.config import Config
from fastlog.errors import ConfigError
from fastlog.query import (
    Node,
    TimeContext,
    any_of,
    between,
    both,
    column,
    parse,
    parse_level,
    parse_moment,
)
from fastlog.query.operands import compare, operand_of, phrase, regex
from fastlog.query.tree import Compares
from fastlog.status.data_directory import boot_of

Function = Callable[..., Any]

_FLAGS = ("since", "until", "level", "logger", "host", "grep", "regex", "where")


def filter_options(function: Function) -> Function:
    """Add the arguments of a query, and the flags; the command gets `query: Node`.

    The decorator is used below that of the configuration, whose `config` it needs.
    """

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
        help="Only records with this text in message, traceback or extras, ignoring case.",
    )
    @click.option(
        "--regex",
        metavar="RE",
        multiple=True,
        help="Only records whose message, traceback or extras match this regular expression.",
    )
    @click.option(
        "--where",
        metavar="QUERY",
        multiple=True,
        shell_complete=complete_field,
        help="Only records that match this query, such as extra.user=77.",
    )
    @click.argument("terms", metavar="[QUERY]...", nargs=-1, shell_complete=complete_field)
    @functools.wraps(function)
    def command(config: Config, terms: tuple[str, ...], **given: Any) -> Any:
        flags = {name: given.pop(name) for name in _FLAGS}
        context = TimeContext(time.time(), asked_zone(), boot_of(config.data_dir))
        query = both(parse(" ".join(terms), context), *_of_flags(flags, context))
        return function(config=config, query=query, **given)

    return command


def _of_flags(flags: dict[str, Any], context: TimeContext) -> Iterable[Node]:
    """Yield what the flags say."""
    since, until = (
        _checked(name, lambda text: parse_moment(text, context).first, flags[name])
        for name in ("since", "until")
    )
    if since is not None and until is not None and since >= until:
        raise ConfigError("--since must be before --until")
    yield between(column("created"), since, until)
    level = _checked("level", parse_level, flags["level"])
    if level is not None:
        yield Compares(column("levelno"), ">=", level)
    for name in ("logger", "host"):
        if flags[name]:
            yield any_of(_checked(name, _equals(name, context), text) for text in flags[name])
    for name, make in (("grep", phrase), ("regex", regex)):
        for text in flags[name]:
            yield _checked(name, make, text)
    for text in flags["where"]:
        yield _checked("where", lambda text: parse(text, context), text)


def _equals(name: str, context: TimeContext) -> Callable[[str], Node]:
    return lambda text: compare(name, "=", operand_of(text), context)


def _checked(flag: str, make: Callable[[str], Any], text: str | None) -> Any:
    """Return what `make` makes of the value of a flag; name the flag in its error."""
    if text is None:
        return None
    try:
        return make(text)
    except ConfigError as error:
        raise ConfigError(f"--{flag}: {error}") from None
