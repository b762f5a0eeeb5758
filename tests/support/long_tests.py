"""The order in which several processes run the tests: long tests first.

`--dist worksteal` divides the tests, in their order, into one queue for each process, all of about
the same number of tests. A process runs its queue from the front. When it has one test left, it
gets the rear half of the longest queue. So a long test at the rear of a queue starts late, and the
other processes have nothing left to do while it runs; at the front of a queue it starts at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

import pytest


class _Test(Protocol):
    """What is used of a `pytest.Item`."""

    @property
    def nodeid(self) -> str: ...

    def get_closest_marker(self, name: str) -> pytest.Mark | None: ...


T = TypeVar("T", bound=_Test)


def spread(tests: Sequence[T], processes: int) -> list[T]:
    """Return the tests in an order in which each queue begins with its part of the long tests.

    A test is long if it has the marker `long`. The long tests of a file stay together, since they
    may share a fixture. The order depends on the arguments only, since all processes must find the
    same one. One process gets the tests as they are.

    Args:
        processes: The number of queues.
    """
    if processes < 2:
        return list(tests)
    files = _files(test for test in tests if test.get_closest_marker("long"))
    rest = [test for test in tests if not test.get_closest_marker("long")]
    order: list[T] = []
    for queue in range(processes):
        size = (len(tests) - len(order)) // (processes - queue)  # as xdist divides them
        first = [test for file in files[queue::processes] for test in file]
        others = max(0, size - len(first))
        order += first + rest[:others]
        del rest[:others]
    return order + rest


def _files(tests: Iterable[T]) -> list[list[T]]:
    """Return the tests by file; those with the most tests come first."""
    files = [
        list(group) for _, group in groupby(tests, lambda test: test.nodeid.partition("::")[0])
    ]
    return sorted(files, key=len, reverse=True)
