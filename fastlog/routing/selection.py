"""Selection: the records of a block that match a filter, found in its columns.

What the filter says about call sites and processes is decided once for each of them, and not for
each record. Only what remains is decided record by record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from fastlog.block import Block
from fastlog.decode.columns import Columns, Combinations
from fastlog.query import EVERYTHING, Node, both, compile_query
from fastlog.query.tree import columns_of, conjuncts
from fastlog.record import PROCESS, SITE
from fastlog.routing.bugs import describe_bug

log = logging.getLogger(__name__)

_PLACES: Final = {
    **{name: ("site", at) for at, name in enumerate(SITE)},
    **{name: ("process", at) for at, name in enumerate(PROCESS)},
}

Predicate = Callable[[Sequence[Any]], bool]


def safe_predicate(query: Node, columns: Sequence[str]) -> Predicate:
    """Return a function that tells whether a row matches.

    A row for which that cannot be decided matches: rather store too much than lose a record. The
    first failure is logged.
    """
    test = compile_query(query, columns)
    has_failed = False

    def is_wanted(row: Sequence[Any]) -> bool:
        nonlocal has_failed
        try:
            return test(row)
        except Exception as error:  # a bug in the evaluator
            if not has_failed:
                log.error(
                    "a filter cannot decide about a record (%s); such records are stored",
                    describe_bug(error),
                )
            has_failed = True
            return True

    return is_wanted


class Selection:
    """Selects the records that match.

    Args:
        query: The filter.
        node: The journal's id, in hex: the field `node` of all records.
    """

    def __init__(self, query: Node, node: str) -> None:
        self._node = node
        parts = conjuncts(query)
        self._of_site = _OfCombinations(parts, SITE)
        self._of_process = _OfCombinations(parts, PROCESS)
        rest = both(*(part for part in parts if not self._is_decided(part)))
        self._names = sorted(columns_of(rest))
        self._is_wanted = None if rest == EVERYTHING else safe_predicate(rest, self._names)

    def kept(self, columns: Columns, block: Block) -> list[int]:
        """Return the positions of the records that match."""
        positions = list(range(len(columns)))
        positions = self._of_site.keep(positions, columns.site, columns.sites)
        positions = self._of_process.keep(positions, columns.process, columns.processes)
        if self._is_wanted is None or not positions:
            return positions
        values = [self._values(name, columns, block, positions) for name in self._names]
        rows: Iterable[Sequence[Any]] = (
            zip(*values, strict=True) if values else [()] * len(positions)
        )
        return [at for at, row in zip(positions, rows, strict=True) if self._is_wanted(row)]

    def _is_decided(self, part: Node) -> bool:
        return part in self._of_site.parts or part in self._of_process.parts

    def _values(self, name: str, columns: Columns, block: Block, positions: list[int]) -> list[Any]:
        """Return the values of a field in the records at these positions."""
        if name in _PLACES:
            group, place = _PLACES[name]
            known = columns.sites if group == "site" else columns.processes
            numbers = columns.site if group == "site" else columns.process
            return [known[numbers[at]][place] for at in positions]
        of_block = {"received": block.received, "offset": block.offset, "node": self._node}
        if name in of_block:
            return [of_block[name]] * len(positions)
        column = getattr(columns, name)
        return [column[at] for at in positions]


class _OfCombinations:
    """The parts of a filter that are about the fields of a combination and no others."""

    def __init__(self, parts: Sequence[Node], columns: tuple[str, ...]) -> None:
        self.parts = [part for part in parts if columns_of(part) and columns_of(part) <= {*columns}]
        self._test = safe_predicate(both(*self.parts), columns) if self.parts else None
        self._combinations: Combinations | None = None
        self._known: dict[int, bool] = {}
        """By the number in `_combinations`."""

    def keep(
        self, positions: list[int], numbers: Sequence[int], combinations: Combinations
    ) -> list[int]:
        """Return those of the positions whose combination matches."""
        if self._test is None:
            return positions
        if combinations is not self._combinations:
            self._combinations, self._known = combinations, {}
        known = self._known
        for number in set(numbers) - known.keys():
            known[number] = self._test(combinations[number])
        return [at for at in positions if known[numbers[at]]]
