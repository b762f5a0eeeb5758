"""What servers have stored in day files and ledgers: the records' numbers, and the losses."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fastlog.search.day_reader import list_files, open_day, open_file, unless_gone

_GAP = re.compile(r"client ([0-9a-f]{8}), records (\d+) to (\d+)")


class LedgerTotals(NamedTuple):
    """The contents of ledgers."""

    declared: dict[str, list[range]]
    """The numbers declared as lost, by the public name of the client that declared them."""
    folded: int
    """Records that clients have declared as lost, of which the ledger keeps only the count: it
    folds events that repeat too often."""
    losses: dict[str, int]
    """Lost records by reason."""
    rejected: dict[str, int]
    """Rejected frames and connections by reason."""


def read_numbers(logs: Path) -> dict[str, list[int]]:
    """Return the numbers of the stored records by client, in the order of their arrival.

    Reads every entry without an index, which could hide a duplicate.
    """
    rows: list[tuple[int, int, str, int]] = []
    for path in list_files(logs):
        with unless_gone(path), closing(open_day(path)) as day:
            rows += day.execute(
                "SELECT offset, idx, json_extract(extra, '$.client'),"
                " json_extract(extra, '$.number') FROM entries NOT INDEXED"
                " LEFT JOIN blocks ON blocks.id = block_id ORDER BY entries.id"
            )
    rows.sort(key=lambda row: row[:2])  # stable: equal keys keep their order
    numbers: dict[str, list[int]] = defaultdict(list)
    for _, _, client, number in rows:
        numbers[client].append(number)
    return numbers


def read_ledgers(data: Iterable[Path]) -> LedgerTotals:
    """Return the sums of the ledgers of these data directories; a missing one is empty."""
    declared: dict[str, list[range]] = defaultdict(list)
    losses: dict[str, int] = defaultdict(int)
    rejected: dict[str, int] = defaultdict(int)
    folded = 0
    for path in (each / "ledger.db" for each in data):
        if not path.exists():
            continue
        with closing(open_file(path)) as ledger:
            for reason, count, detail in ledger.execute("SELECT reason, count, detail FROM losses"):
                losses[reason] += count
                if gap := _GAP.fullmatch(detail):
                    numbers = range(int(gap[2]), int(gap[3]) + 1)
                    declared[gap[1]].append(numbers)
                    folded += count - len(numbers)
            for reason, count in ledger.execute("SELECT reason, count FROM rejected"):
                rejected[reason] += count
    return LedgerTotals(declared, folded, dict(losses), dict(rejected))
