"""Find the line of a key in a TOML file.

`tomllib` reports lines of syntax errors only. Therefore growing prefixes of the file are parsed:
the key is in the statement whose addition makes the prefix contain it. This parses the file once
for each line, which is fast enough for one error in a file that is written by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

KeyPath = Sequence[str | int]
"""Keys and list indices from the root: `("sink", 1, "name")`."""


def line_of(text: str, path: KeyPath, value: object = None) -> int:
    """Return the number, from 1, of the line that defines `path`.

    In a statement of several lines, this is the line that contains the text `value`, if one does.
    Returns 1 for a path that the file does not contain.
    """
    import tomllib  # only a file needs it

    lines = text.split("\n")
    start = 0
    for end in range(1, len(lines) + 1):
        try:
            tree = tomllib.loads("\n".join(lines[:end]) + "\n")
        except tomllib.TOMLDecodeError:
            continue  # inside a statement of several lines
        if _has(tree, path):
            statement = range(start, end)
            first = next(at for at in statement if not _is_blank(lines[at]))
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


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")
