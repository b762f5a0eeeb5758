"""The line of a key in a file of TOML."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlog.config.locate import line_of

TRICKY = '''
# [limits] here is a comment
text = """
[limits]
key = 1
"""
dotted.key = 1
inline = { a = 1, b = [
  "one",
  "two",
] }
[[sink]]
url = "a"
[[sink]] # second

url = "b"
"quoted key" = 2
[limits]
key = 3
'''


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("text",), None, 3),
        (("dotted", "key"), None, 7),
        (("inline",), None, 8),
        (("inline", "b", 1), "two", 10),
        (("sink", 0, "url"), None, 13),
        (("sink", 1), None, 14),
        (("sink", 1, "url"), None, 16),
        (("sink", 1, "quoted key"), None, 17),
        (("limits",), None, 18),
        (("limits", "key"), None, 19),
        (("nothing",), None, 1),
    ],
)
def test_a_key_is_found_on_its_line(path: tuple[str | int, ...], value: str | None, line: int):
    assert line_of(TRICKY, path, value) == line


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, min_size=1), st.data())
def test_a_key_is_found_on_its_line_in_any_surroundings(keys: list[str], data: st.DataObject):
    lines: list[str] = []
    at: dict[str, int] = {}
    for key in keys:
        lines += data.draw(st.lists(st.sampled_from(["", "# a = 1", "  "]), max_size=3))
        lines.append(f"{key} = 1")
        at[key] = len(lines)
    text = "\n".join(lines)
    assert set(tomllib.loads(text)) == set(keys)
    assert {key: line_of(text, [key]) for key in keys} == at
