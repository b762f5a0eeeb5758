"""Texts of the error codes of the C functions."""

from __future__ import annotations

from fastlog._core import ffi, lib

_strerror = getattr(lib, "fl_loop_strerror", lib.fl_strerror)
"""The loop's function has the texts of all codes; it exists on Linux only."""


def error_text(code: int) -> str:
    """Return the text of a negative result of a C function."""
    return str(ffi.string(_strerror(code)), "ascii")
