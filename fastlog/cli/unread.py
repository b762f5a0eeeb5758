"""Day files that cannot be read: commands name them on stderr."""

from __future__ import annotations

import click

from fastlog.cli.safe_text import print_line
from fastlog.search.day_reader import Unread


def unread_files() -> Unread:
    """Return a collector of unreadable day files, which prints each to stderr."""
    command = click.get_current_context().command_path
    return Unread(lambda line: print_line(f"{command}: {' '.join(line.split())}", err=True))
