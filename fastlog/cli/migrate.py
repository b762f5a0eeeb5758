"""`fastlog migrate`: migrate day files to the schema of this version, and repair their chunks."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from fastlog.cli.checks import day_directories
from fastlog.cli.command import FAILED, OK, Command, fail
from fastlog.cli.options import config_options
from fastlog.cli.safe_text import print_line
from fastlog.config import Config, format_size
from fastlog.errors import FastlogError
from fastlog.search.day_reader import list_files
from fastlog.sinks.day_directory import parse_name
from fastlog.sinks.day_file import DayFile
from fastlog.sinks.day_schema import VERSION
from fastlog.status.data_directory import logs_directory


@click.command(cls=Command)
@click.option(
    "--rebuild", is_flag=True, help="Make the chunks and counts of the files anew: a repair."
)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@config_options
def migrate(config: Config, files: tuple[Path, ...], rebuild: bool) -> int:
    """Migrate day files to the schema of this version.

    Without FILE, migrates all of the data directory. Prints a line for each. A server may run
    meanwhile.
    """
    code = OK
    for path in files or _all_files(config):
        try:
            print_line(f"{path}: {_migrate(path, rebuild=rebuild)}")
        except FastlogError as error:
            code = fail(click.get_current_context().command_path, str(error), FAILED)
    return code


def _all_files(config: Config) -> list[Path]:
    directories = day_directories(config) or [logs_directory(config)]
    return [path for directory in directories for path in list_files(directory)]


def _migrate(path: Path, *, rebuild: bool) -> str:
    """Return what was done."""
    if parse_name(path.name) is None:
        raise FastlogError(f"{path} has not the name of a day file, such as 2026-11-23.db")
    if not path.exists():
        raise FastlogError(f"{path} does not exist")
    size = path.stat().st_size
    if not size:
        raise FastlogError(f"{path} is empty, and a day file never is")
    done = []
    with closing(DayFile(path)) as file:
        if file.migrated_from is not None:
            done.append(f"migrated from version {file.migrated_from} to {VERSION}")
        elif rebuild:
            file.rebuild()
            done.append("made chunks and counts anew")
        if file.compact():
            done.append("gave unused space back")
    if not done:
        return f"is of version {VERSION} already"
    return f"{', '.join(done)}; {format_size(size)} became {format_size(path.stat().st_size)}"
