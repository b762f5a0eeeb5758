"""`fastlog check`: check whether a server with this configuration works, or would work."""

from __future__ import annotations

import os
import time

import click

from fastlog.cli.checks import (
    State,
    Verdict,
    check_certificate,
    check_certificates_in_use,
    check_day_files,
    check_directory,
    check_ledger,
    check_listener,
    check_modes,
    check_sink,
    check_source,
    day_directories,
)
from fastlog.cli.command import FAILED, OK, Command
from fastlog.cli.health_checks import check_health, check_source_health
from fastlog.cli.journal_checks import check_journal
from fastlog.cli.options import config_options
from fastlog.cli.postgres_checks import check_partitions, postgres_sinks
from fastlog.cli.retention_preview import preview
from fastlog.cli.safe_text import print_json, print_line
from fastlog.config import Config, certificate_files, format_duration
from fastlog.errors import FastlogError
from fastlog.files import Access, set_access
from fastlog.server.lock import lock as lock_data_dir
from fastlog.status.data_directory import is_running, read_status


@click.command(cls=Command)
@click.option(
    "--repair", is_flag=True, help="Repair a damaged journal; the server must not be running."
)
@click.option(
    "--deep",
    is_flag=True,
    help="Read every page of every day file, and every row of a database. Takes about a "
    "minute per gigabyte.",
)
@click.option(
    "--retention",
    multiple=True,
    is_flag=False,
    flag_value="",
    metavar="[KEY=VALUE]",
    help="Only print what retention would delete now, as configured or with this setting: age=7d, "
    "days=7, size=1GiB or keep_free=5GiB. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@config_options
def check(
    config: Config, repair: bool, deep: bool, retention: tuple[str, ...], as_json: bool
) -> int:
    """Check the configuration, the files, and a running server.

    Prints one line for each check, and exits with 1 if one has FAILED. Changes nothing, except
    with --repair, and does not disturb a running server.
    """
    if repair:
        return _repair(config)
    verdicts = preview(config, retention) if retention else _check_all(config, deep=deep)
    if as_json:
        print_json([_to_tree(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            text = " ".join(verdict.text.split())
            print_line(f"{verdict.state.value:8}{verdict.subject}: {text}")
    return FAILED if any(verdict.state is State.FAILED for verdict in verdicts) else OK


def _check_all(config: Config, *, deep: bool) -> list[Verdict]:
    data_dir = config.data_dir
    running = is_running(data_dir)
    verdicts = [Verdict(State.OK, "config", "valid"), check_directory(data_dir)]
    verdicts += check_modes(config)
    verdicts += [check_listener(listener.url, running=running) for listener in config.listen]
    for files in certificate_files(config):
        verdicts += check_certificate(files)
    if running:
        verdicts += check_certificates_in_use(config)
    databases = postgres_sinks(config)
    for sink in config.sinks:
        verdicts.append(check_sink(sink, config))
        if sink in databases and verdicts[-1].state is State.OK:
            verdicts += check_partitions(sink, deep=deep)
    if config.source.url:
        verdicts += check_source(config.source.url)
    for logs in day_directories(config):
        verdicts += check_day_files(logs, deep=deep)
    verdicts.append(check_ledger(data_dir))
    try:
        status = read_status(data_dir)
    except FastlogError as error:
        status = None
        verdicts.append(Verdict(State.FAILED, "receiver", str(error)))
    verdicts.append(check_journal(config, status, running=running))
    if running and status is None:
        verdicts.append(Verdict(State.WARNING, "receiver", "has written no status yet"))
    elif running and status is not None:
        configured = {sink.name: sink.url for sink in config.sinks}
        verdicts += check_health(data_dir, configured, status, time.time())
        if config.source.url:
            verdicts += check_source_health(data_dir, time.time())
    elif status is not None:
        age = format_duration(abs(time.time() - status.at))
        verdicts.append(Verdict(State.WARNING, "server", f"not running; last status {age} ago"))
    return verdicts


def _to_tree(verdict: Verdict) -> dict[str, str]:
    """Return what `--json` prints for a verdict."""
    return {
        "state": verdict.state.name.lower(),
        "subject": verdict.subject,
        "text": " ".join(verdict.text.split()),
    }


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
        print_line(repair(data_dir / "journal"))
    finally:
        os.close(lock)
    return OK
