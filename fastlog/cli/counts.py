"""Counts: what `--count` and `--by` print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from fastlog.cli.counted import counted
from fastlog.cli.fields import PrintedField
from fastlog.cli.output import Output, Style, csv_line, json_line
from fastlog.search import OTHERS
from fastlog.terminal import CYAN, painted

Key = tuple[Any, ...]
RECORDS: Final = "records"
"""The name of the column with the counts."""


class Ranking(NamedTuple):
    """The largest groups, and what is left out."""

    groups: list[tuple[Key, int]]
    omitted: int
    """How many groups are left out."""
    omitted_records: int
    others: int
    """Records of groups that were not told apart, because there are too many."""

    @classmethod
    def of(cls, counts: Counter[Key], top: int) -> Ranking:
        """Return the `top` largest groups, equal ones in the order of their values; 0: all."""
        told = {key: number for key, number in counts.items() if not _is_others(key)}
        ordered = sorted(told.items(), key=lambda group: (-group[1], str(group[0])))
        shown = ordered[:top] if top else ordered
        return cls(
            shown,
            len(ordered) - len(shown),
            sum(number for _, number in ordered[len(shown) :]),
            counts.total() - sum(told.values()),
        )

    def left_out(self) -> str:
        """Return a sentence about what is left out; "" if nothing is."""
        parts = []
        if self.omitted:
            groups = counted(self.omitted, "smaller group")
            records = counted(self.omitted_records, "record")
            parts.append(f"left out {groups} with {records}; --top N shows more")
        if self.others:
            parts.append(f"{counted(self.others, 'record')} of further groups were not told apart")
        return "; ".join(parts)


def count_text(number: int, style: Style) -> str:
    """Return what `--count` prints."""
    if style is Style.JSON:
        return json_line({RECORDS: number})
    return f"{RECORDS}\n{number}\n" if style is Style.CSV else f"{number}\n"


def ranking_lines(
    ranking: Ranking, fields: Sequence[PrintedField], output: Output
) -> Iterator[str]:
    """Yield the lines of a table, or those of JSON or CSV."""

    def columns(key: Key) -> Iterator[tuple[PrintedField, Any]]:
        return zip(fields, key, strict=True)

    names = [field.name for field in fields]
    if output.is_for_programs:
        if output.style is Style.CSV:
            yield csv_line([*names, RECORDS])
        for key, number in ranking.groups:
            values = [field.for_programs(value, output.zone) for field, value in columns(key)]
            if output.style is Style.CSV:
                yield csv_line([*values, number])
            else:
                yield json_line({**dict(zip(names, values, strict=True)), RECORDS: number})
        return
    rows = [
        [f"{number:,}", *(field.shown(value, output.zone) for field, value in columns(key))]
        for key, number in ranking.groups
    ]
    if rows:
        yield from _table([[RECORDS, *names], *rows], colour=output.style is Style.COLOUR)


def _table(rows: list[list[str]], *, colour: bool) -> Iterator[str]:
    """Yield the lines of a table whose first row is a header and whose first column has numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for at, (number, *values) in enumerate(rows):
        cells = [number.rjust(widths[0])]
        cells += [value.ljust(width) for value, width in zip(values, widths[1:], strict=True)]
        line = "  ".join(cells).rstrip()
        yield (painted(line, CYAN, colour) if at == 0 else line) + "\n"


def _is_others(key: Key) -> bool:
    return bool(key) and all(value == OTHERS for value in key)
