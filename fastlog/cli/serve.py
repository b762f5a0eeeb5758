"""`fastlog-server`: the service."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from fastlog.cli.command import Command, run
from fastlog.cli.options import config_option, load_config
from fastlog.config import Config
from fastlog.version import __version__

REHEARSAL = 20
"""Seconds after which a rehearsal ends in any case."""


@click.command(cls=Command)
@config_option
@click.option(
    "--listen",
    metavar="URL",
    multiple=True,
    help="Listen here: tcp://HOST:PORT or unix:///PATH. May be repeated.",
)
@click.option("--data-dir", metavar="DIR", help="Keep the data here.")
@click.option(
    "--sink",
    metavar="URL",
    multiple=True,
    help="Store records there, such as sqlite: or ndjson:///FILE. May be repeated.",
)
@click.option(
    "--rehearse-fd", type=int, hidden=True, help="Of a running server: show that it could run."
)
@click.option(
    "--resume-fd", type=int, hidden=True, help="Of a running server: go on where it stands."
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def server(
    config_file: Path | None,
    listen: tuple[str, ...],
    data_dir: str | None,
    sink: tuple[str, ...],
    rehearse_fd: int | None,
    resume_fd: int | None,
) -> int:
    """Receive log records and store them.

    SIGTERM and SIGINT end it without a loss. SIGHUP replaces it by the code and the configuration
    that are installed now; its clients do not notice.
    """

    def read() -> Config:
        return load_config(config_file, listen=listen, data_dir=data_dir, sink=sink)

    if rehearse_fd is not None:
        signal.alarm(REHEARSAL)  # who asked for it may be gone, and what it imports may hang
        from fastlog.server.rehearsal import rehearse

        return rehearse(read, rehearse_fd)
    if resume_fd is not None:
        from fastlog.server import resume

        return resume(resume_fd)
    config = read()
    from fastlog.server import serve  # after the configuration, whose mistakes are the likely ones

    return serve(config)


def main() -> None:
    """The entry point of `fastlog-server`."""
    sys.exit(run(server, "fastlog-server"))
