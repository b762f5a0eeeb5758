"""Where in a TOML file a key stands.

`tomllib` tells the lines of syntax errors only. It is the judge here all the same: a key stands in
the statement whose addition makes a prefix of the file hold that key. This parses the file once a
line, which is fine for what is done once, for an error, on a file that people write by hand.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence

KeyPath = Sequence[str | int]
"""Keys and list indices from the root: `("sink", 1, "name")`."""


def line_of(text: str, path: KeyPath, value: object = None) -> int:
    """The line, from 1, of the statement that defines `path`.

    In a statement of many lines, the line that shows the text `value`, where one does.
    Returns 1 for a path that the file does not have.
    """
    lines = text.split("\n")
    start = 0
    for end in range(1, len(lines) + 1):
        try:
            tree = tomllib.loads("\n".join(lines[:end]) + "\n")
        except tomllib.TOMLDecodeError:
            continue  # inside a statement of many lines
        if _has(tree, path):
            statement = range(start, end)
            first = next(at for at in statement if not _is_idle(lines[at]))
            shows = (at for at in statement if isinstance(value, str) and value in lines[at])
            return next(shows, first) + 1
        start = end
    return 1


def _has(tree: object, path: KeyPath) -> bool:
    for step in path:
        if isinstance(step, int):
            if not isinstance(tree, list) or step >= len(tree):
                return False
            tree = tree[step]
        else:
            if not isinstance(tree, dict) or step not in tree:
                return False
            tree = tree[step]
    return True


def _is_idle(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")
