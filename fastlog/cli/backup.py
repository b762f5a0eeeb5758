"""`fastlog backup`: copy the data of a server that may run."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from fastlog.cli.command import INCOMPLETE, OK, Command
from fastlog.cli.long_work import LongWork
from fastlog.cli.options import config_options
from fastlog.cli.safe_text import print_line
from fastlog.cli.unread import unread_files
from fastlog.config import Config, format_size
from fastlog.config.urls import public_url
from fastlog.errors import ConfigError
from fastlog.files import Access, set_access
from fastlog.search import Progress
from fastlog.status.data_directory import is_data_directory, read_status, stores_of
from fastlog.transfer.backup import make_backup

KEEP: Final = 7


@click.command(cls=Command)
@click.argument("destination", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=KEEP,
    metavar="N",
    help=f"Keep the newest N backups in DIR, and delete older ones (default: {KEEP}).",
)
@config_options
def backup(config: Config, destination: Path, keep: int) -> int:
    """Copy the data of a server to a new directory in DIR.

    The copy has everything that the server has acknowledged. The server may run. Day files that
    have not changed since the last backup in DIR are not copied again.
    """
    _check(config, destination)
    set_access(Access.of(config.files.mode, config.files.group))
    progress, unread = Progress(), unread_files()
    progress.total = _estimate(config)
    work = LongWork(progress, verb="copying")

    def step(size: int) -> None:
        progress.read += size
        if progress.must_stop():
            raise KeyboardInterrupt

    with work:
        made = make_backup(config, destination, keep, step, unread)
    manifest = made.manifest
    reused = f", {format_size(made.reused)} of them unchanged" if made.reused else ""
    print_line(
        f"{made.path}: {len(manifest.files)} files, {format_size(manifest.size)}{reused}; "
        f"complete up to journal offset {manifest.durable}"
    )
    return INCOMPLETE if manifest.missing else OK


def _check(config: Config, destination: Path) -> None:
    """Check that this is the data directory of a server with these sinks, and nothing else is.

    Raises:
        ConfigError: It is not.
    """
    data_dir = config.data_dir
    if not data_dir.is_dir() or not is_data_directory(data_dir):
        raise ConfigError(f"{data_dir} is no data directory; name the server's with --data-dir")
    if destination.resolve().is_relative_to(data_dir.resolve()):
        raise ConfigError(
            f"{destination} is in the data directory and would be lost with it; name a directory "
            "elsewhere"
        )
    status = read_status(data_dir)
    if status is None or status.sinks is None:
        return
    ours = {sink.name: public_url(sink.url) for sink in config.sinks}
    theirs = {name: public_url(url) for name, url in status.sinks.items()}
    if ours != theirs:
        raise ConfigError(
            f"the server of {data_dir} has other sinks than this configuration: "
            f"{', '.join(theirs.values())}; name its configuration with --config"
        )


def _estimate(config: Config) -> int:
    """Return about how many bytes are copied."""
    folders = [store.logs for store in stores_of(config)]
    paths = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    paths += [Path(url.path) for s in config.sinks if (url := urlsplit(s.url)).scheme == "ndjson"]
    return sum(path.stat().st_size for path in paths if path.is_file())
