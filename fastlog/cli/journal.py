"""`fastlog journal`: inspect the journal, for debugging."""

from __future__ import annotations

import click

from fastlog.cli.command import OK, Command, Group
from fastlog.cli.options import config_options
from fastlog.cli.safe_text import print_line
from fastlog.config import Config
from fastlog.errors import FastlogError


@click.group(cls=Group)
def journal() -> None:
    """Inspect the journal, for debugging."""


@journal.command(cls=Command)
@click.option(
    "--from",
    "start",
    type=click.IntRange(min=0),
    default=0,
    metavar="OFFSET",
    help="Begin with the block at this offset (default: 0).",
)
@click.option("--frames", is_flag=True, help="Describe the frames of each block, too.")
@config_options
def dump(config: Config, start: int, frames: bool) -> int:
    """Describe the segments and blocks of the journal, damaged ones too. Changes nothing."""
    directory = config.data_dir / "journal"
    if not directory.is_dir():
        raise FastlogError(
            f"{config.data_dir} holds no journal; name the data directory with --data-dir"
        )
    from fastlog.journal import dump as dump_journal

    for line in dump_journal(directory, start=start, frames=frames):
        print_line(line)
    return OK
