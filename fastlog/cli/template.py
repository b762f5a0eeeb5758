"""Templates: the lines that `--format` describes, such as `{created:%H:%M} {level:8} {message}`."""

from __future__ import annotations

import re
from string import Formatter
from typing import NamedTuple

from fastlog.cli.fields import PrintedField
from fastlog.errors import ConfigError
from fastlog.search import Found
from fastlog.zone import Zone

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}
_SHAPE = re.compile(r"(?:.?[<^>])?\d{0,4}(?:\.\d{1,4})?", re.DOTALL)
"""Fill and alignment, the least width, and the greatest one, as in Python's format strings."""


class _Part(NamedTuple):
    """Some text as it is, and then the value of a field."""

    text: str
    field: PrintedField | None
    shape: str


class Template:
    """A line with the values of fields in it.

    Raises:
        ConfigError: The text is no template, or names a field that does not exist.
    """

    def __init__(self, text: str) -> None:
        plain = re.sub(r"\\([nt\\])", lambda match: _ESCAPES[match[1]], text)
        try:
            parsed = list(Formatter().parse(plain))
        except ValueError as error:
            raise ConfigError(
                f"--format: {error}, in {text!r}; write {{{{ for a brace that is printed"
            ) from None
        self._parts = [_part(*each) for each in parsed]

    def line(self, found: Found, zone: Zone) -> str:
        """Return the line of a record, without its end."""
        return "".join(
            part.text + (_shaped(part.field, part.shape, found, zone) if part.field else "")
            for part in self._parts
        )


def _part(text: str, name: str | None, shape: str | None, conversion: str | None) -> _Part:
    if name is None:
        return _Part(text, None, "")
    if conversion:
        raise ConfigError(f"--format: !{conversion} of {name!r} is not supported")
    if not name:
        raise ConfigError("--format: {} has no name; write {message}, or {{}} for braces")
    try:
        field = PrintedField(name)
    except ConfigError as error:
        raise ConfigError(f"--format: {error}") from None
    shape = shape or ""
    if not ((field.is_time and "%" in shape) or _SHAPE.fullmatch(shape)):
        raise ConfigError(
            f"--format: {shape!r} is no format of {name}; there are widths, such as :8 and :>8,"
            " greatest widths, such as :.80, and for times :%H:%M"
        )
    return _Part(text, field, shape)


def _shaped(field: PrintedField, shape: str, found: Found, zone: Zone) -> str:
    if "%" in shape and field.is_time:
        return field.date_text(found, zone, shape)
    return format(field.text(found, zone), shape)
