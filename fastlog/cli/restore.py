"""`fastlog restore`: make a data directory of a backup."""

from __future__ import annotations

from pathlib import Path

import click

from fastlog.cli.command import INCOMPLETE, OK, Command
from fastlog.cli.long_work import LongWork, report
from fastlog.cli.options import config_option, load_config
from fastlog.cli.safe_text import print_line
from fastlog.config import format_size
from fastlog.files import Access, set_access
from fastlog.search import Progress
from fastlog.transfer.manifest import read_manifest
from fastlog.transfer.restore import behind, find_backup
from fastlog.transfer.restore import restore as restore_backup


@click.command(cls=Command)
@click.argument("source", metavar="BACKUP", type=click.Path(path_type=Path))
@click.argument("data_dir", metavar="DATA_DIR", type=click.Path(path_type=Path))
@click.option(
    "--without",
    metavar="SINK",
    multiple=True,
    help="Do not store in this sink what it had not stored when the backup was made. May "
    "be repeated.",
)
@config_option
def restore(
    source: Path, data_dir: Path, without: tuple[str, ...], config_file: Path | None
) -> int:
    """Make the data directory DATA_DIR from a backup.

    Start a server on it afterwards. BACKUP is a backup, or a directory with several: then the
    newest one is restored. DATA_DIR must be empty, or not exist.
    """
    config = load_config(config_file, data_dir=str(data_dir))
    set_access(Access.of(config.files.mode, config.files.group))
    backup = find_backup(source)
    progress = Progress()
    progress.total = read_manifest(backup).size

    def step(size: int) -> None:
        progress.read += size
        if progress.must_stop():
            raise KeyboardInterrupt

    with LongWork(progress, verb="restoring"):
        restored = restore_backup(backup, config, data_dir, without, step)
    manifest = restored.manifest
    print_line(f"{data_dir}: restored {backup}, {format_size(manifest.size)}")
    for path in restored.elsewhere:
        report(
            f"the files in {path} were not in the data directory; move them to where they belong"
        )
    if manifest.missing:
        report(f"not in the backup, because they were damaged: {', '.join(manifest.missing)}")
    left_out = {sink.name for sink in behind(manifest)} - {*restored.stored, *without}
    for name in sorted(left_out):
        report(f"sink {name} had not stored all when the backup was made; other sinks have it")
    return INCOMPLETE if manifest.missing or left_out else OK
