"""`fastlog stats`: count stored and lost records, and show the lag of each sink."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from fastlog.cli.command import INCOMPLETE, OK, Command, fail
from fastlog.cli.data_directory import (
    Status,
    Tally,
    logs_directory,
    read_status,
    read_tallies,
    unread_files,
)
from fastlog.cli.filters import filter_options
from fastlog.cli.options import colour_option, config_options, wants_colour
from fastlog.config import Config
from fastlog.errors import FastlogError
from fastlog.ledger import LedgerError
from fastlog.query import Node
from fastlog.search import Totals, Unread, count_totals

if TYPE_CHECKING:
    from fastlog.journal import SinkPosition


class SinkLag(msgspec.Struct, frozen=True):
    """How far a sink is behind the receiver."""

    name: str
    cursor: int
    durable: int
    lag_bytes: int | None
    lag_records: int | None
    """Frames, each of which is a record or a rejection. `None`: no receiver has run, or the worker
    does not know (it was killed, and the sink has been unreachable since)."""
    at: float
    error: str | None
    when_full: str


class Statistics(NamedTuple):
    """All that the command shows."""

    totals: Totals
    rejected: list[Tally] | None
    """None: the ledger cannot be read."""
    losses: list[Tally] | None
    """None: the ledger cannot be read."""
    sinks: list[SinkLag]
    status: Status | None
    """None: no receiver has run."""
    unread: Unread


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@colour_option
@config_options
@filter_options
def stats(config: Config, query: Node, as_json: bool, colour: bool | None) -> int:
    """Count the stored records; show losses, rejections, sinks and receiver."""
    unread = unread_files()
    totals = _count(config, query, unread)
    code = INCOMPLETE if unread.files else OK
    status = read_status(config.data_dir)
    rejected: list[Tally] | None
    losses: list[Tally] | None
    try:
        rejected, losses = read_tallies(config.data_dir)
    except LedgerError as error:
        rejected = losses = None
        code = fail(click.get_current_context().command_path, str(error), INCOMPLETE)
    sinks = _read_lags(config.data_dir, status)
    found = Statistics(totals, rejected, losses, sinks, status, unread)
    if as_json:
        click.echo(_to_json(found))
    else:
        from fastlog.cli.stats_tables import print_tables  # rich takes a while to import

        print_tables(found, config.data_dir, colour=wants_colour(colour))
    return code


def _count(config: Config, query: Node, unread: Unread) -> Totals:
    try:
        return count_totals(logs_directory(config), query, unread)
    except FastlogError:
        if config.data_dir.is_dir():  # no sqlite: sink: show the rest
            return Totals(Counter(), Counter(), Counter(), Counter())
        raise


def _read_lags(data_dir: Path, status: Status | None) -> list[SinkLag]:
    from fastlog.journal import read_positions

    return [
        SinkLag(
            name=name,
            cursor=position.cursor,
            durable=position.durable,
            lag_bytes=None if status is None else max(0, status.durable - position.cursor),
            lag_records=_records_behind(position, status),
            at=position.at,
            error=position.error,
            when_full=position.when_full,
        )
        for name, position in sorted(read_positions(data_dir).items())
    ]


def _records_behind(position: SinkPosition, status: Status | None) -> int | None:
    if status is None:
        return None
    if position.cursor >= status.durable:
        return 0
    return None if position.index is None else max(0, status.index - position.index)


def _to_json(found: Statistics) -> str:
    totals = found.totals
    tree: dict[str, Any] = {
        "records": totals.records,
        "levels": dict(totals.levels.most_common()),
        "loggers": dict(totals.loggers.most_common()),
        "hosts": dict(totals.hosts.most_common()),
        "hours": {str(hour): number for hour, number in sorted(totals.hours.items())},
        "rejected": found.rejected,
        "losses": found.losses,
        "sinks": found.sinks,
        "receiver": found.status,
        "unread": {str(path): what for path, what in found.unread.files.items()},
    }
    return msgspec.json.encode(tree).decode()
