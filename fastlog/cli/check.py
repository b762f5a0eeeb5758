"""`fastlog check`: check whether a server with this configuration would work."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import click

from fastlog.cli.checks import (
    State,
    Verdict,
    check_day_files,
    check_directory,
    check_ledger,
    check_listener,
    check_modes,
    check_sink,
    day_directories,
    existing_parent,
)
from fastlog.cli.command import FAILED, OK, Command
from fastlog.cli.data_directory import Status, is_running, read_status
from fastlog.cli.options import config_options
from fastlog.config import Config, format_duration, format_size
from fastlog.errors import FastlogError
from fastlog.files import Access, set_access
from fastlog.server.lock import lock as lock_data_dir

STATUS_TIMEOUT = 3.0
"""Seconds to wait for the receiver's next status."""


@click.command(cls=Command)
@click.option(
    "--repair", is_flag=True, help="Repair a damaged journal; the server must not be running."
)
@click.option(
    "--deep", is_flag=True, help="Read every page of every day file. Takes seconds per gigabyte."
)
@config_options
def check(config: Config, repair: bool, deep: bool) -> int:
    """Check configuration, listeners, sinks, day files, ledger and journal.

    Prints one line for each. Changes nothing, except with --repair, and does not disturb a running
    server.
    """
    if repair:
        return _repair(config)
    running = is_running(config.data_dir)
    verdicts = [Verdict(State.OK, "config", "valid"), check_directory(config.data_dir)]
    verdicts += check_modes(config)
    verdicts += [check_listener(listener.url, running=running) for listener in config.listen]
    verdicts += [check_sink(sink, config) for sink in config.sinks]
    for logs in day_directories(config):
        verdicts += check_day_files(logs, deep=deep)
    verdicts.append(check_ledger(config.data_dir))
    verdicts.append(
        _check_journal(config.data_dir / "journal") or _check_journal_space(config, running=running)
    )
    for verdict in verdicts:
        click.echo(f"{verdict.state.value:8}{verdict.subject}: {' '.join(verdict.text.split())}")
    return FAILED if any(verdict.state is State.FAILED for verdict in verdicts) else OK


def _repair(config: Config) -> int:
    data_dir, access = config.data_dir, Access.of(config.files.mode, config.files.group)
    set_access(access)
    if is_running(data_dir):
        raise FastlogError(f"{data_dir} is in use; stop fastlog-server before a repair")
    if not (data_dir / "journal").is_dir():  # perhaps mistyped: make nothing there
        raise FastlogError(
            f"{data_dir} holds no journal to repair; name the data directory with --data-dir"
        )
    from fastlog.journal import repair

    lock = lock_data_dir(data_dir, access)  # so that no server starts meanwhile
    try:
        click.echo(repair(data_dir / "journal"))
    finally:
        os.close(lock)
    return OK


def _check_journal(directory: Path) -> Verdict | None:
    """Return a failure if this version cannot read the journal, or only after a repair."""
    from fastlog.journal import examine

    try:
        examine(directory)
    except FastlogError as error:
        return Verdict(State.FAILED, "journal", str(error))
    except OSError as error:
        return Verdict(State.FAILED, "journal", f"{error.filename}: {error.strerror}")
    return None


def _check_journal_space(config: Config, *, running: bool) -> Verdict:
    """Estimate how long the journal can hold records if no sink stores any."""
    free = shutil.disk_usage(existing_parent(config.data_dir)).free
    first = read_status(config.data_dir)
    if not running or first is None or not first.is_fresh():
        state = State.OK if free >= config.journal.size else State.WARNING
        text = (
            f"may grow to {format_size(config.journal.size)}, {format_size(free)} are free; "
            "the server is not running, so its rate is unknown"
        )
        return Verdict(state, "journal", text)
    if first.failure:
        return Verdict(State.FAILED, "journal", first.failure)
    second = _next_status(config.data_dir, first)
    rate = (second.durable - first.durable) / max(second.at - first.at, 1e-3)
    room = min(max(0, second.limit - second.size), free)
    used = f"{format_size(second.size)} of {format_size(second.limit)} used"
    if rate <= 0:
        return Verdict(State.OK, "journal", f"{used}; no records arrive at present")
    text = (
        f"{used}; at the present {format_size(rate)}/s it lasts {format_duration(room / rate)} "
        f"if no sink stores anything ({format_size(free)} of disk are free)"
    )
    return Verdict(State.OK if room / rate > 60 else State.WARNING, "journal", text)


def _next_status(data_dir: Path, first: Status) -> Status:
    deadline = time.monotonic() + STATUS_TIMEOUT
    while time.monotonic() < deadline:
        status = read_status(data_dir)
        if status is not None and status.at > first.at:
            return status
        time.sleep(0.1)
    return first
