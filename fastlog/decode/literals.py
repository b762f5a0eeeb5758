"""The arguments of the text opcodes of protocol 0: literals, each on a line."""

from __future__ import annotations

import re

from fastlog.decode.inert_tree import Node, integer_of_digits
from fastlog.decode.pickle_machine import malformed

_INTEGER = re.compile(rb"-?(?:0|[1-9][0-9]*+)")
_DECIMAL = re.compile(rb"-?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]{1,3})?|inf|nan)")
_QUOTED = re.compile(rb"""(['"])((?:[^\\]|\\(?:x[0-9a-f]{2}|[\\'"nrt]))*+)""")
_ESCAPE = re.compile(rb"\\(?:x(..)|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def read_int(line: bytes) -> int | Node:
    """Read the line of INT: an integer, or `00` and `01` for the booleans."""
    if line == b"00":
        return False
    if line == b"01":
        return True
    if not _INTEGER.fullmatch(line):
        raise malformed("not a number")
    return integer_of_digits(str(line, "ascii"))


def read_long(line: bytes) -> int | Node:
    """Read the line of LONG: an integer with an `L`."""
    if not line.endswith(b"L") or not _INTEGER.fullmatch(line, 0, len(line) - 1):
        raise malformed("not a number")
    return integer_of_digits(str(line[:-1], "ascii"))


def read_float(line: bytes) -> float:
    """Read the line of FLOAT: the `repr` of a float."""
    if len(line) > 64 or not _DECIMAL.fullmatch(line):
        raise malformed("not a number")
    return float(line)


def read_string(line: bytes) -> bytes:
    """Read the line of STRING: the `repr` of a `str` of Python 2."""
    match = _QUOTED.fullmatch(line[:-1])
    if not match or line[-1:] != match[1]:
        raise malformed("string without quotes")
    return _ESCAPE.sub(_unescape, match[2])


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return bytes.fromhex(str(match[1], "ascii"))
    return _ESCAPED.get(match[2], match[2])


def read_unicode(line: bytes) -> str:
    """Read the line of UNICODE: text in raw-unicode-escape."""
    try:
        return str(line, "raw-unicode-escape")
    except UnicodeDecodeError:
        raise malformed("text is not UTF-8") from None
