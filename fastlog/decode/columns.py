"""Records as columns: lists of values, and numbers for the combinations that recur.

A block has thousands of records and a few call sites. In this form, a record holds the number of
its call site, and the combination of values that the number stands for is decoded once, as long as
the translator remembers it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, Final

from fastlog.record import PROCESS, SITE, Record

Combination = tuple[Any, ...]
"""The values of the fields `SITE` or `PROCESS`."""

GROUPS: Final = (SITE, PROCESS)
"""The fields of each group of columns of the translator."""
OWN: Final = 1 << 30
"""The first number that is not the translator's."""
OWN_MAX: Final = 16_384
"""Combinations of records that the translator left to Python, until all are forgotten."""
OWN_CHARACTERS: Final = 8 << 20
"""Characters that these may have together, until all are forgotten."""

_site_of = itemgetter(*map(Record._fields.index, SITE))
_process_of = itemgetter(*map(Record._fields.index, PROCESS))
_OWN_FIELDS: Final = ("created", "message", "exc_text", "stack_info", "extra", "idx")
_FIELDS: Final = (*SITE, *PROCESS, *_OWN_FIELDS, "received", "offset")
_in_order = itemgetter(*map(_FIELDS.index, Record._fields))


class Combinations:
    """The combinations of a group, by number.

    Args:
        known: Those of the translator, in the order of their numbers.
    """

    def __init__(self, known: list[Combination] | None = None) -> None:
        self._known: list[Combination] = [] if known is None else known
        self._own: list[Combination] = []
        self._own_numbers: dict[Combination, int] = {}
        self._own_characters = 0

    def __getitem__(self, number: int) -> Combination:
        return self._known[number] if number < OWN else self._own[number - OWN]

    def extend(self, first: int, new: list[Combination]) -> Combinations:
        """Add new combinations of the translator.

        Args:
            first: The number of the first one; at 0 the numbers begin again.
            new: Their values.

        Returns:
            The combinations in which the numbers have a meaning now; another object where earlier
            numbers have lost theirs.
        """
        if first != len(self._known):
            if first:
                raise ValueError(f"combination {first} after {len(self._known)}")
            return Combinations(new)
        self._known += new
        if len(self._own) < OWN_MAX and self._own_characters < OWN_CHARACTERS:
            return self
        return Combinations(self._known)

    def number(self, combination: Combination) -> int:
        """Return a number for the values of a record that the translator left to Python."""
        number = self._own_numbers.get(combination)
        if number is None:
            number = self._own_numbers[combination] = OWN + len(self._own)
            self._own.append(combination)
            self._own_characters += sum(len(each) for each in combination if type(each) is str)
        return number


@dataclass(frozen=True, slots=True)
class Columns:
    """The records of a block, as columns: lists of equal length, in order of arrival.

    The fields `offset` and `received` are those of the block.
    """

    sites: Combinations
    """Of the fields `SITE`."""
    processes: Combinations
    """Of the fields `PROCESS`."""
    site: list[int]
    """The number of each record's combination in `sites`."""
    process: list[int]
    """The number of each record's combination in `processes`."""
    created: list[float]
    message: list[str]
    exc_text: list[str | None]
    stack_info: list[str | None]
    extra: list[str]
    idx: list[int]
    text: bytes | None = field(default=None, kw_only=True)
    """The texts of all records, in UTF-8; None where it was not made. The text of a record is a NUL
    and a line feed, then `message`, `exc_text`, `stack_info` and `extra`, each with a line feed."""

    def __len__(self) -> int:
        return len(self.idx)

    def lists(self) -> tuple[list[Any], ...]:
        """Return the lists of values and numbers."""
        return (
            *(self.site, self.process, self.created, self.message),
            *(self.exc_text, self.stack_info, self.extra, self.idx),
        )

    def added(self, records: Sequence[Record]) -> Columns:
        """Return the columns with some records added, in order of arrival."""
        if not records:
            return self
        lists = self.lists()
        for record in records:
            values = (
                *(self.sites.number(_site_of(record)), self.processes.number(_process_of(record))),
                *(record.created, record.message, record.exc_text, record.stack_info),
                *(record.extra, record.idx),
            )
            for column, value in zip(lists, values, strict=True):
                column.append(value)
        order = sorted(range(len(self.idx)), key=self.idx.__getitem__)
        return self._selected(order)

    def without(self, idx: Collection[int]) -> Columns:
        """Return the columns without the records of some frames."""
        return self._selected([at for at, each in enumerate(self.idx) if each not in idx])

    def records(self, positions: Sequence[int], received: float, offset: int) -> list[Record]:
        """Return the records at some positions.

        Args:
            received, offset: Those of the block.
        """
        lists = [getattr(self, name) for name in _OWN_FIELDS]
        found: list[Record] = []
        for at in positions:
            site, process = self.sites[self.site[at]], self.processes[self.process[at]]
            own = [column[at] for column in lists]
            found.append(Record(*_in_order((*site, *process, *own, received, offset))))
        return found

    def selected(self, positions: Sequence[int]) -> Columns:
        """Return the columns of the records at some positions, in this order, with their text."""
        selected = self._selected(positions)
        if self.text is None:
            return selected
        texts = self.text.split(b"\0")  # each begins with a NUL, and has no other
        text = b"".join([b"\0" + texts[at + 1] for at in positions])
        return replace(selected, text=text)

    def only(self, at: int) -> Columns:
        """Return the columns of the record at a position."""
        return self._selected([at])

    def _selected(self, order: Sequence[int]) -> Columns:
        lists: Iterator[list[Any]] = ([column[at] for at in order] for column in self.lists())
        return Columns(self.sites, self.processes, *lists)


class ColumnDecoder:
    """Reads the translator's columns, block by block, and keeps the combinations."""

    def __init__(self) -> None:
        self._sites, self._processes = Combinations(), Combinations()

    def read(self, translated: Sequence[Any], text: bytes) -> Columns:
        """Return the columns of a block.

        Args:
            translated: What the pickle in `core.Translation.columns` holds.
            text: As in `Columns`.
        """
        site, new_sites, first_site, process, new_processes, first_process, *columns = translated
        self._sites = self._sites.extend(first_site, new_sites)
        self._processes = self._processes.extend(first_process, new_processes)
        return Columns(self._sites, self._processes, site, process, *columns, text=text)

    def empty(self) -> Columns:
        """Return columns without a record."""
        lists: Iterator[list[Any]] = ([] for _ in range(8))
        return Columns(self._sites, self._processes, *lists)


def columns_of(records: Sequence[Record]) -> Columns:
    """Return records of one block as columns of their own."""
    return ColumnDecoder().empty().added(records)
