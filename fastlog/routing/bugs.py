"""Exceptions of our own code while a record is filtered or redacted."""

from __future__ import annotations

import traceback
from pathlib import Path


def describe_bug(error: Exception) -> str:
    """Return the type of an exception and the line that raised it.

    Its text is left out: it may have values of the record.
    """
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
