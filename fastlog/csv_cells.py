"""Cells of CSV: text that records and clients have chosen must not be run by a spreadsheet."""

from __future__ import annotations

from fastlog.terminal import several_lines

_FORMULA = ("=", "+", "-", "@", "\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With these first characters, spreadsheets take a cell for a formula; the last four are the wide
forms of the first four."""


def csv_cell(value: object) -> object:
    """Return a value of a record as a cell of CSV.

    Control characters in texts are escaped, except line ends and tabs. A text that a spreadsheet
    would run as a formula gets an apostrophe in front, by which spreadsheets mark text.
    """
    if not isinstance(value, str):
        return value
    text = several_lines(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
