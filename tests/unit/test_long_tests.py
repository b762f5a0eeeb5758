"""The order in which several processes run the tests."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from long_tests import spread


@dataclass(frozen=True)
class Item:
    """What `spread` uses of a `pytest.Item`."""

    nodeid: str
    is_long: bool = False

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        assert name == "long"
        return pytest.mark.long.mark if self.is_long else None


def items(*files: str) -> list[Item]:
    """Return a test for each letter of each file: L for a long one."""
    return [
        Item(f"file{at}.py::{number}", letter == "L")
        for at, letters in enumerate(files)
        for number, letter in enumerate(letters)
    ]


def queues(order: list[Item], processes: int) -> list[list[str]]:
    """Divide tests as the scheduler of `--dist worksteal` does."""
    found, left = [], [item.nodeid for item in order]
    for remaining in range(processes, 0, -1):
        size = len(left) // remaining
        found.append(left[:size])
        del left[:size]
    assert left == []
    return found


def test_each_queue_begins_with_long_tests_and_those_of_a_file_stay_together() -> None:
    order = spread(items("....", "LL..", "..L.", "....L"), 2)
    assert queues(order, 2) == [
        ["file1.py::0", "file1.py::1", "file3.py::4",
         "file0.py::0", "file0.py::1", "file0.py::2", "file0.py::3", "file1.py::2"],
        ["file2.py::2",
         "file1.py::3", "file2.py::0", "file2.py::1", "file2.py::3",
         "file3.py::0", "file3.py::1", "file3.py::2", "file3.py::3"],
    ]  # fmt: skip


def test_one_process_runs_the_tests_as_they_are() -> None:
    tests = items("..L", "L")
    assert spread(tests, 1) == tests


@given(st.lists(st.text("L.", max_size=9), max_size=9), st.integers(1, 8))
def test_any_tests_are_all_there_once_and_the_others_keep_their_order(
    files: list[str], processes: int
) -> None:
    tests = items(*files)
    order = spread(tests, processes)
    assert sorted(order, key=tests.index) == tests
    assert [item for item in order if not item.is_long] == [
        item for item in tests if not item.is_long
    ]
