"""Printing of text that records, clients and other programs may have chosen.

Such text must not control a terminal, must not look like another line, and must not be run by a
spreadsheet.
"""

from __future__ import annotations

import io
import sys

import click
import msgspec

from fastlog.terminal import escape_json, one_line, several_lines

_FORMULA = ("=", "+", "-", "@", "\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With these first characters, spreadsheets take a cell for a formula; the last four are the wide
forms of the first four."""


def print_line(text: object, *, err: bool = False) -> None:
    """Print one line, with control characters and line ends escaped."""
    click.echo(one_line(text), err=err)


def print_json(value: object) -> None:
    """Print one line of JSON."""
    click.echo(escape_json(msgspec.json.encode(value, enc_hook=str).decode()))


def csv_cell(value: object) -> object:
    """Return a value of a record as a cell of CSV.

    Control characters in texts are escaped, except line ends and tabs. A text that a spreadsheet
    would run as a formula gets an apostrophe in front, by which spreadsheets mark text.
    """
    if not isinstance(value, str):
        return value
    text = several_lines(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def escape_unencodable() -> None:
    """Have standard output escape the characters that its encoding lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
