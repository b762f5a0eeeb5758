"""Texts in normal form: no NUL, no lone surrogates, UTF-8 where bytes are UTF-8."""

from __future__ import annotations

import re
from typing import Final

import msgspec

SHORT_RUN = 6
"""Bytes below which a table is faster than `bytes.hex`."""

_ESCAPES: Final = {
    "\0": "\\x00",
    **{chr(0xDC00 + byte): f"\\x{byte:02x}" for byte in range(128, 256)},
}
_UNREADABLE = re.compile("[\0\udc80-\udcff]+")
_HALF_ESCAPE = re.compile(rb"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-f]{0,3})?\Z")
_encode = msgspec.json.Encoder().encode


def clean(text: str) -> str:
    """Return the text with escapes for NUL and lone surrogates."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = str(text.encode("utf-8", "backslashreplace"), "utf-8")
    return text.replace("\0", "\\x00") if "\0" in text else text


def text_of(data: bytes) -> str:
    """Return bytes as clean text: UTF-8 where they are UTF-8, escapes where they are not."""
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError:
        # `backslashreplace` would call back for each bad byte, and str.translate() grows its result
        # by one character at a time, which is fast only with some allocators.
        text = str(data, "utf-8", "surrogateescape")
        return _UNREADABLE.sub(_escaped, text)
    return text.replace("\0", "\\x00") if "\0" in text else text


def _escaped(run: re.Match[str]) -> str:
    """Return the escapes of NULs and of bytes that are not UTF-8."""
    if len(run[0]) < SHORT_RUN:
        return "".join(map(_ESCAPES.__getitem__, run[0]))
    return "\\x" + run[0].encode("utf-8", "surrogateescape").hex("|").replace("|", "\\x")


def weight_in_json(text: str) -> int:
    """Return how many bytes the text takes in JSON, without the quotes around it."""
    return len(_encode(text)) - 2


def beginning(text: str, room: int) -> str:
    """Return the beginning of a clean text that takes at most `room` bytes in JSON."""
    data = _encode(text[:room])[1:-1]
    if len(data) > room:
        data = _HALF_ESCAPE.sub(rb"\1", data[:room])
        return str(msgspec.json.decode(b'"' + data.decode("utf-8", "ignore").encode() + b'"'))
    return text[:room]
