"""`fastlog-server`: run the service."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from fastlog.cli.command import Command, run
from fastlog.cli.completion import complete_directory
from fastlog.cli.options import config_option, load_config
from fastlog.config import Config
from fastlog.version import __version__

REHEARSAL_TIMEOUT = 20
"""Seconds after which SIGALRM ends a rehearsal."""


@click.command("fastlog-server", cls=Command)
@config_option
@click.option(
    "--listen",
    metavar="URL",
    multiple=True,
    help="Listen on this address: tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH. May be "
    "repeated.",
)
@click.option(
    "--data-dir",
    metavar="DIR",
    shell_complete=complete_directory,
    help="Keep all data in this directory.",
)
@click.option(
    "--sink",
    metavar="URL",
    multiple=True,
    help="Store records in this sink, such as sqlite: or ndjson:///FILE. May be repeated.",
)
@click.option(
    "--source",
    metavar="URL",
    help="Store the blocks that other servers publish to a stream: nats://HOST:4222/STREAM.",
)
@click.option(
    "--web",
    metavar="URL",
    help="Serve the page and the API on this address: http://127.0.0.1:9080.",
)
@click.option(
    "--rehearse-fd",
    type=int,
    hidden=True,
    help="For a reload: test the installed code.",
)
@click.option("--resume-fd", type=int, hidden=True, help="For a reload: continue from this state.")
@click.version_option(__version__, message="%(prog)s %(version)s")
def server(
    config_file: Path | None,
    listen: tuple[str, ...],
    data_dir: str | None,
    sink: tuple[str, ...],
    source: str | None,
    web: str | None,
    rehearse_fd: int | None,
    resume_fd: int | None,
) -> int:
    """Receive log records and store them.

    On SIGTERM or SIGINT, it reads what clients have sent, makes that durable, and exits. SIGHUP
    replaces it by the installed code and configuration, without closing connections.
    """

    def read() -> Config:
        flags = {"listen": listen, "data_dir": data_dir, "sink": sink}
        sections = {"source.url": source, "web.url": web}
        return load_config(config_file, **flags, **sections)

    if rehearse_fd is not None:
        signal.alarm(REHEARSAL_TIMEOUT)  # the supervisor may be gone, and an import may hang
        from fastlog.server.rehearsal import rehearse

        return rehearse(read, rehearse_fd)
    if resume_fd is not None:
        from fastlog.server import resume

        return resume(resume_fd)
    config = read()
    from fastlog.server import serve  # late, so that a wrong configuration is reported fast

    return serve(config)


def main() -> None:
    """Run `fastlog-server`."""
    sys.exit(run(server, "fastlog-server"))
