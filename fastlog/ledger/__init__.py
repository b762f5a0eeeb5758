"""The ledger: rejected frames and known losses, in one SQLite file.

Every worker reads the same blocks and so finds the same rejections in them. Each worker enters
them before its sink commits, and the ledger stores each one once: for every node it keeps the
offset up to which everything is entered. (Keys alone would not suffice, since rows are folded.)
Entries about one sink only, such as a row that it cannot store, carry the name of the sink and
are recognised by their keys.

`schema` has the tables, `entry` one row, `folding` the rows of one second, `sums` the old rows,
`writing` a transaction of all these, and `ledger` the file.
"""

from __future__ import annotations

from fastlog.ledger.entry import Entry
from fastlog.ledger.erasures import ErasureNote, ErasureRow, read_erasures
from fastlog.ledger.ledger import DAMAGED, Ledger, check_whole
from fastlog.ledger.limits import VARIOUS
from fastlog.ledger.schema import SCHEMA, LedgerError, NewerLedgerError, check_layout
from fastlog.ledger.sums import total

__all__ = [
    "DAMAGED",
    "SCHEMA",
    "VARIOUS",
    "Entry",
    "ErasureNote",
    "ErasureRow",
    "Ledger",
    "LedgerError",
    "NewerLedgerError",
    "check_layout",
    "check_whole",
    "read_erasures",
    "total",
]
