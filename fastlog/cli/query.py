"""`fastlog query`: search the stored records, and count them."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any

import click

from fastlog.cli import answers
from fastlog.cli.answers import CountAnswer, Page, Question
from fastlog.cli.filters import filter_options
from fastlog.cli.histogram import AUTO, is_interval
from fastlog.cli.long_work import LongWork
from fastlog.cli.options import config_options, output_options, store_option
from fastlog.cli.output import Output, prepare_stdout
from fastlog.cli.pager import find_pager
from fastlog.cli.query_command import QueryCommand
from fastlog.cli.unread import unread_files
from fastlog.cli.unstored import report_unstored
from fastlog.config import Config, parse_duration
from fastlog.errors import ConfigError
from fastlog.query import Node
from fastlog.search import Progress
from fastlog.search.cursor import Cursor
from fastlog.status.record_stores import choose_store

LIMIT = 100
OF_RECORDS = ("limit", "oldest", "cursor", "before", "after", "around", "context_by", "fields")
"""Parameters that are about printed records. `template` is one too."""


class HistogramCommand(QueryCommand):
    """A command whose option `--histogram` may have a value or not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_interval(args))


def _with_interval(args: list[str]) -> list[str]:
    """Return the words with `--histogram` and its value, given or not, as one word."""
    result, rest = list[str](), list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*result, word, *rest]
        if word == "--histogram":
            interval = rest.pop(0) if rest and is_interval(rest[0]) else AUTO
            word = f"--histogram={interval}"
        result.append(word)
    return result


Function = Callable[..., Any]


def page_options(function: Function) -> Function:
    """Add which of the matches are printed, and with what around them; the command gets `page`."""

    @click.option(
        "-n",
        "--limit",
        type=click.IntRange(min=0),
        default=LIMIT,
        metavar="N",
        help=f"Print the newest N records that match; 0: all (default: {LIMIT}).",
    )
    @click.option("--oldest", is_flag=True, help="Print the oldest N records instead.")
    @click.option(
        "--cursor",
        metavar="TEXT",
        help="Continue where the page that printed this cursor ended.",
    )
    @click.option(
        "-A",
        "--after",
        type=click.IntRange(min=0),
        metavar="N",
        help="Print N records of the same process after each match.",
    )
    @click.option(
        "-B",
        "--before",
        type=click.IntRange(min=0),
        metavar="N",
        help="Print N records of the same process before each match.",
    )
    @click.option(
        "-C",
        "--context",
        "around",
        type=click.IntRange(min=0),
        metavar="N",
        help="The same as -A N -B N.",
    )
    @click.option(
        "--context-by",
        type=click.Choice(["process", "logger"]),
        default="process",
        help="What the records around a match have in common with it (default: process).",
    )
    @functools.wraps(function)
    def command(
        limit: int,
        oldest: bool,
        cursor: str | None,
        after: int | None,
        before: int | None,
        around: int | None,
        context_by: str,
        **rest: Any,
    ) -> Any:
        start = None if cursor is None else _parse_cursor(cursor)
        if start is not None and oldest and start.order != "oldest":
            raise ConfigError("--cursor: this cursor is of a page without --oldest")
        either = around or 0
        page = Page(
            limit=limit,
            oldest=oldest or (start is not None and start.order == "oldest"),
            cursor=start,
            before=either if before is None else before,
            after=either if after is None else after,
            context_by=context_by,
        )
        if page.has_context and not limit:
            raise ConfigError("-A, -B and -C need a --limit of at least 1")
        return function(page=page, **rest)

    return command


def _parse_cursor(text: str) -> Cursor:
    try:
        return Cursor.parse(text)
    except ConfigError as error:
        raise ConfigError(f"--cursor: {error}") from None


def count_options(function: Function) -> Function:
    """Add what is printed instead of records; the command gets `counts`, or `None`."""

    @click.option("--count", "only_count", is_flag=True, help="Print only how many records match.")
    @click.option(
        "--by",
        metavar="FIELD,...",
        help="Print how many records match for each value of a field, or of several.",
    )
    @click.option(
        "--top",
        type=click.IntRange(min=0),
        default=10,
        metavar="N",
        help="With --by: print the N largest groups; 0: all (default: 10).",
    )
    @click.option(
        "--histogram",
        metavar="[INTERVAL]",
        help="Print bars of how many records match in each interval, such as 1h, by level.",
    )
    @functools.wraps(function)
    def command(
        only_count: bool, by: str | None, top: int, histogram: str | None, **rest: Any
    ) -> Any:
        asked = {
            "--count": only_count,
            "--by": by is not None,
            "--histogram": histogram is not None,
        }
        names = [name for name, is_asked in asked.items() if is_asked]
        if len(names) > 1:
            raise click.UsageError(f"{' and '.join(names)} exclude each other")
        if by is None and _is_given("top"):
            raise click.UsageError("--top needs --by")
        counts = CountAnswer.parse(by=by, top=top, histogram=histogram) if names else None
        if counts is not None:
            _reject_options_of_records(names[0])
        return function(counts=counts, **rest)

    return command


def _is_given(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is not click.core.ParameterSource.DEFAULT


def _reject_options_of_records(instead: str) -> None:
    """Raise an error if an option is given that has no meaning where records are only counted."""
    for parameter in click.get_current_context().command.params:
        if parameter.name in (*OF_RECORDS, "template") and _is_given(parameter.name):
            raise click.UsageError(f"{parameter.opts[-1]} has no meaning with {instead}")


@click.command(cls=HistogramCommand)
@page_options
@count_options
@click.option(
    "--deadline",
    metavar="DURATION",
    help="End the search after this time, such as 5s, with what was found; exit code 3.",
)
@click.option("--no-pager", is_flag=True, help="Print long output without a pager.")
@store_option
@config_options
@filter_options
@output_options
def query(
    config: Config,
    query: Node,
    output: Output,
    page: Page,
    counts: CountAnswer | None,
    deadline: str | None,
    no_pager: bool,
    store: str | None,
) -> int:
    """Print the stored records that match, oldest first; or count them."""
    progress = Progress(_end(deadline))
    chosen = choose_store(config, store)
    question = Question(chosen.store, query, unread_files(), progress)
    report_unstored(config, chosen.sink)
    prepare_stdout(output.style)
    work = LongWork(progress, None if no_pager else find_pager(os.environ))
    if counts is not None:
        return answers.count_records(question, counts, output, work)
    return answers.print_records(question, page, output, work)


def _end(deadline: str | None) -> float | None:
    if deadline is None:
        return None
    try:
        return time.monotonic() + parse_duration(deadline)
    except ValueError:
        raise ConfigError(
            f"--deadline: expected a duration such as 5s or 2m, got {deadline!r}"
        ) from None
