"""Printing of text that records, clients and other programs may have chosen.

Such text must not control a terminal, and must not look like another line.
"""

from __future__ import annotations

import io
import sys

import click
import msgspec

from fastlog.terminal import escape_json, one_line


def print_line(text: object, *, err: bool = False) -> None:
    """Print one line, with control characters and line ends escaped."""
    click.echo(one_line(text), err=err)


def print_json(value: object) -> None:
    """Print one line of JSON."""
    click.echo(escape_json(msgspec.json.encode(value, enc_hook=str).decode()))


def escape_unencodable() -> None:
    """Have standard output escape the characters that its encoding lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
