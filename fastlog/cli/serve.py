"""`fastlog-server`: the service."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fastlog.cli.command import Command, run
from fastlog.cli.options import config_option, load_config
from fastlog.config import Config
from fastlog.version import __version__


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
@click.version_option(__version__, message="%(prog)s %(version)s")
def server(
    config_file: Path | None,
    listen: tuple[str, ...],
    data_dir: str | None,
    sink: tuple[str, ...],
) -> int:
    """Receive log records and store them.

    SIGTERM and SIGINT end it without a loss; SIGHUP makes it read its configuration again.
    """

    def read() -> Config:
        return load_config(config_file, listen=listen, data_dir=data_dir, sink=sink)

    config = read()
    from fastlog.server import serve  # after the configuration, whose mistakes are the likely ones

    return serve(config, read)


def main() -> None:
    """The entry point of `fastlog-server`."""
    sys.exit(run(server, "fastlog-server"))
