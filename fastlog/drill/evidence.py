"""What the drill's server has kept: the numbers in the store, and what the ledger says is lost."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fastlog.search.day_reader import list_files, open_day, open_file, unless_gone

_GAP = re.compile(r"client ([0-9a-f]{8}), records (\d+) to (\d+)")


class Ledger(NamedTuple):
    """What the ledger says."""

    declared: dict[str, list[range]]
    """The numbers that are lost, by the public name of the client that said so."""
    folded: int
    """Records that clients have declared as lost, of which the ledger keeps only how many they are:
    it folds what comes too often."""
    losses: dict[str, int]
    """Records by reason, of all losses."""
    rejected: dict[str, int]
    """Frames and connections by reason."""


def read_numbers(logs: Path) -> dict[str, list[int]]:
    """The numbers of the stored records by client, in the order in which they arrived.

    Every row is looked at: there is no index that could hide a double.
    """
    found: list[tuple[int, int, str, int]] = []
    for path in list_files(logs):
        with unless_gone(path), closing(open_day(path)) as day:
            found += day.execute(
                "SELECT offset, idx, json_extract(extra, '$.client'),"
                " json_extract(extra, '$.number') FROM records NOT INDEXED ORDER BY rowid"
            )
    found.sort(key=lambda row: row[:2])  # equal ones stay as they were
    numbers: dict[str, list[int]] = defaultdict(list)
    for _, _, client, number in found:
        numbers[client].append(number)
    return numbers


def count_stored(logs: Path) -> int:
    """How many records are stored now."""
    count = 0
    for path in list_files(logs):
        with unless_gone(path), closing(open_day(path)) as day:
            count += int(day.execute("SELECT count(*) FROM records").fetchone()[0])
    return count


def read_ledger(path: Path) -> Ledger:
    """Read `ledger.db`, which there need not be."""
    declared: dict[str, list[range]] = defaultdict(list)
    losses: dict[str, int] = defaultdict(int)
    rejected: dict[str, int] = defaultdict(int)
    folded = 0
    if path.exists():
        with closing(open_file(path)) as ledger:
            for reason, count, detail in ledger.execute("SELECT reason, count, detail FROM losses"):
                losses[reason] += count
                if gap := _GAP.fullmatch(detail):
                    span = range(int(gap[2]), int(gap[3]) + 1)
                    declared[gap[1]].append(span)
                    folded += count - len(span)
            for reason, count in ledger.execute("SELECT reason, count FROM rejected"):
                rejected[reason] += count
    return Ledger(declared, folded, dict(losses), dict(rejected))
