"""The query of a command: its arguments, and the flags that are short forms of parts of it."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

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
from fastlog.query.fields import TEXTS
from fastlog.query.operands import compare, operand_of, phrase, regex
from fastlog.query.tree import Compares
from fastlog.status.data_directory import boot_of

Function = Callable[..., Any]

_FLAGS = ("since", "until", "level", "logger", "host", "grep", "regex", "where")


class Filters(NamedTuple):
    """What the arguments and flags of a command line say about the records that are wanted."""

    terms: str
    flags: dict[str, Any]

    def query(self, config: Config) -> Node:
        """Return the query.

        Raises:
            ConfigError: It is wrong.
        """
        return self.in_context(TimeContext(time.time(), asked_zone(), boot_of(config.data_dir)))

    def text(self) -> str:
        """Return the query in the query language, for another machine, which knows its `boot`.

        Raises:
            ConfigError: It is wrong.
        """
        self.check()
        terms = [_grouped(self.terms)] if self.terms.strip() else []
        return " ".join([*terms, *_as_text(self.flags)])

    def check(self) -> None:
        """Check the query, where it is not known yet when the server was started.

        Raises:
            ConfigError: It is wrong.
        """
        self.in_context(TimeContext(time.time(), asked_zone(), 0.0))

    def in_context(self, context: TimeContext) -> Node:
        """Return the query, with what the words of times refer to.

        Raises:
            ConfigError: It is wrong.
        """
        return both(parse(self.terms, context), *_of_flags(self.flags, context))


def filter_options(function: Function) -> Function:
    """Add the arguments of a query, and the flags; the command gets `query: Node`.

    The decorator is used below that of the configuration, whose `config` it needs.
    """

    @unread_filter_options
    @functools.wraps(function)
    def command(config: Config, filters: Filters, **given: Any) -> Any:
        return function(config=config, query=filters.query(config), **given)

    return command


def unread_filter_options(function: Function) -> Function:
    """Add the same; the command gets `filters: Filters`, which it has not checked yet."""

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
    def command(terms: tuple[str, ...], **given: Any) -> Any:
        flags = {name: given.pop(name) for name in _FLAGS}
        return function(filters=Filters(" ".join(terms), flags), **given)

    return command


def _as_text(flags: dict[str, Any]) -> Iterator[str]:
    """Yield what valid flags say in the query language."""
    for name, comparison in (("since", "created>="), ("until", "created<")):
        if flags[name] is not None:
            yield comparison + _quoted(flags[name])
    if flags["level"] is not None:
        yield f"level>={parse_level(flags['level'])}"
    for name in ("logger", "host"):
        if flags[name]:
            yield f"({' OR '.join(f'{name}:{_word(text)}' for text in flags[name])})"
    yield from map(_quoted, flags["grep"])
    for pattern in flags["regex"]:
        expression = re.sub(r"(\\.)|/", lambda match: match[1] or r"\/", pattern, flags=re.DOTALL)
        yield f"({' OR '.join(f'{field}:/{expression}/' for field in TEXTS)})"
    yield from (_grouped(text) for text in flags["where"] if text.strip())


def _grouped(query: str) -> str:
    """Return a query in parentheses. A backslash at its end stands for itself, and still does."""
    is_odd = (len(query) - len(query.rstrip("\\"))) % 2
    return "(" + query + "\\" * is_odd + ")"


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _word(text: str) -> str:
    """Return a value in which `*` is a wildcard."""
    return re.sub(r'([ \t\n"\\()\[\]/:=<>!-])', r"\\\1", text) or '""'


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
