"""How many records were dropped and rejected in the last minutes.

The counters since the start of the service do not show whether something is being lost now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from fastlog.clock import steady

SECONDS = 300.0
"""The time that is looked back."""
SLOT = 10.0
"""Seconds that are counted together."""


class Slot(msgspec.Struct, array_like=True):
    """The counts of one span of `SLOT` seconds."""

    number: int
    """The time since boot at its beginning, in `SLOT`s: other processes count in the same way."""
    dropped: int = 0
    rejected: int = 0


class RecentCounts:
    """Sums of the last `SECONDS`, taken from counters that only rise.

    Args:
        clock: Seconds since boot.
    """

    def __init__(self, clock: Callable[[], float] = steady) -> None:
        self._clock = clock
        self._slots: list[Slot] = []
        self._dropped = self._rejected = 0
        """The counters at the last update."""

    def update(self, dropped: int, rejected: int) -> None:
        """Add what the counters have risen by since the last call."""
        new = dropped - self._dropped, rejected - self._rejected
        self._dropped, self._rejected = dropped, rejected
        number = int(self._clock() // SLOT)
        self._slots = [slot for slot in self._slots if number - slot.number < SECONDS // SLOT]
        if not any(new):
            return
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(Slot(number))
        self._slots[-1].dropped += new[0]
        self._slots[-1].rejected += new[1]

    @property
    def dropped(self) -> int:
        """Records dropped in the last `SECONDS`."""
        return sum(slot.dropped for slot in self._slots)

    @property
    def rejected(self) -> int:
        """What was rejected in the last `SECONDS`."""
        return sum(slot.rejected for slot in self._slots)

    def slots(self) -> list[Slot]:
        """Return all counts, for `restore` in another process."""
        return [msgspec.structs.replace(slot) for slot in self._slots]

    def restore(self, slots: Sequence[Slot], dropped: int, rejected: int) -> None:
        """Continue with the counts of another process, and with its counters."""
        self._slots = list(slots)
        self._dropped, self._rejected = dropped, rejected
