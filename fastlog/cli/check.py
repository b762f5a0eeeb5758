"""`fastlog check`: whether a server with this configuration would work."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import click

from fastlog.cli.command import FAILED, OK, Command
from fastlog.cli.options import place_options
from fastlog.cli.places import Status, is_running, read_status
from fastlog.cli.trials import (
    State,
    Verdict,
    day_directories,
    existing_parent,
    try_day_files,
    try_directory,
    try_ledger,
    try_listen,
    try_modes,
    try_sink,
)
from fastlog.config import Config, format_duration, format_size
from fastlog.errors import FastlogError
from fastlog.files import Access, set_access
from fastlog.server import datadir

PATIENCE = 3.0
"""Seconds to wait for the receiver's next status."""


@click.command(cls=Command)
@click.option(
    "--repair", is_flag=True, help="Repair a damaged journal; the server must not be running."
)
@click.option("--deep", is_flag=True, help="Read every page of every day file; seconds a gigabyte.")
@place_options
def check(config: Config, repair: bool, deep: bool) -> int:
    """Try the configuration, the listeners, the sinks, the day files and the journal; say what is
    wrong."""
    if repair:
        return _repair(config)
    running = is_running(config.data_dir)
    verdicts = [Verdict(State.OK, "config", "valid"), try_directory(config.data_dir)]
    verdicts += try_modes(config)
    verdicts += [try_listen(listener.url, running=running) for listener in config.listen]
    verdicts += [try_sink(sink, config) for sink in config.sinks]
    for logs in day_directories(config):
        verdicts += try_day_files(logs, deep=deep)
    verdicts.append(try_ledger(config.data_dir))
    verdicts.append(_readable(config.data_dir / "journal") or _forecast(config, running=running))
    for verdict in verdicts:
        click.echo(f"{verdict.state.value:8}{verdict.subject}: {' '.join(verdict.text.split())}")
    return FAILED if any(verdict.state is State.FAILED for verdict in verdicts) else OK


def _repair(config: Config) -> int:
    data_dir, access = config.data_dir, Access.of(config.files.mode, config.files.group)
    set_access(access)
    if is_running(data_dir):
        raise FastlogError(f"{data_dir} is in use: stop fastlog-server before a repair")
    if not (data_dir / "journal").is_dir():  # mistyped? nothing must be made there
        raise FastlogError(
            f"{data_dir} holds no journal to repair; name the data directory with --data-dir"
        )
    from fastlog.journal import repair

    lock = datadir.own(data_dir, access)  # so that none starts meanwhile
    try:
        click.echo(repair(data_dir / "journal"))
    finally:
        os.close(lock)
    return OK


def _readable(directory: Path) -> Verdict | None:
    """Why the journal there cannot be read by this version, or at all without a repair, if so."""
    from fastlog.journal import examine

    try:
        examine(directory)
    except FastlogError as error:
        return Verdict(State.FAILED, "journal", str(error))
    except OSError as error:
        return Verdict(State.FAILED, "journal", f"{error.filename}: {error.strerror}")
    return None


def _forecast(config: Config, *, running: bool) -> Verdict:
    """How long the journal holds what the sinks do not take."""
    free = shutil.disk_usage(existing_parent(config.data_dir)).free
    first = read_status(config.data_dir)
    if not running or first is None or not first.is_fresh():
        state = State.OK if free >= config.journal.size else State.WARNING
        text = (
            f"may grow to {format_size(config.journal.size)}, {format_size(free)} are free; "
            "the server is not running, so there is no present rate"
        )
        return Verdict(state, "journal", text)
    if first.failure:
        return Verdict(State.FAILED, "journal", first.failure)
    second = _next_status(config.data_dir, first)
    rate = (second.durable - first.durable) / max(second.at - first.at, 1e-3)
    room = min(max(0, second.limit - second.size), free)
    holds = f"{format_size(second.size)} of {format_size(second.limit)} used"
    if rate <= 0:
        return Verdict(State.OK, "journal", f"{holds}; nothing arrives at present")
    text = (
        f"{holds}; at the present {format_size(rate)}/s it lasts {format_duration(room / rate)} "
        f"if no sink takes anything ({format_size(free)} of disk are free)"
    )
    return Verdict(State.OK if room / rate > 60 else State.WARNING, "journal", text)


def _next_status(data_dir: Path, first: Status) -> Status:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status = read_status(data_dir)
        if status is not None and status.at > first.at:
            return status
        time.sleep(0.1)
    return first
