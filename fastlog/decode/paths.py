"""Readers of paths; a path is stored as `str` shows it."""

from __future__ import annotations

import ntpath
import posixpath
from collections.abc import Callable
from typing import Any

from fastlog.decode.arguments import is_text, text_in
from fastlog.decode.inert_tree import Node
from fastlog.decode.work import Work

PARTS = 256
"""Parts of a path, at most."""
LENGTH = 4_096
"""Characters of all parts, at most."""


def posix_path(node: Node, work: Work) -> Any:
    """Return the text of `pathlib.PosixPath` and `PurePosixPath`."""
    return _path(node, work, posixpath.join, 2)


def windows_path(node: Node, work: Work) -> Any:
    """Return the text of `pathlib.WindowsPath` and `PureWindowsPath`."""
    return _path(node, work, ntpath.join, 16)


def _path(node: Node, work: Work, join: Callable[..., str], units_each: int) -> Any:
    parts = node["args"]
    if len(parts) > PARTS or not work.spend(units_each * len(parts)):
        return None
    if not all(map(is_text, parts)):
        return None
    length = sum(map(len, parts))
    if length > LENGTH or not work.spend(length // 16):
        return None
    return join(*map(text_in, parts)) if parts else "."
