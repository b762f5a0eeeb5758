"""What a result of the C functions says."""

from __future__ import annotations

from fastlog._core import ffi, lib


def error_text(code: int) -> str:
    """The text of an `enum fl_error`."""
    return str(ffi.string(lib.fl_strerror(code)), "ascii")
