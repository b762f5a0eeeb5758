"""Rates of records: how many a second, from counts by minute that are read again and again."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final, NamedTuple

from fastlog.cli.top_readings import MINUTE, MINUTES, RECENT, Bars, Reading, first_minute

_SPAN: Final = 10.0
"""Seconds over which a rate is averaged, once readings are that far apart."""
_LEAST: Final = 0.5
"""Seconds that two readings must be apart for a rate."""


class Rate(NamedTuple):
    """The records of one value, such as a level."""

    name: str
    per_second: float
    records: int
    """Of all minutes that are shown."""
    minutes: list[float]
    """Records of each minute, the oldest first. The last is what the present one has already, or
    what the rate would give in a whole minute, if that is more."""


class Rates:
    """Rates from one reading to the next."""

    def __init__(self) -> None:
        self._readings: deque[Reading] = deque()

    def add(self, reading: Reading) -> None:
        """Take a reading into account."""
        if self._readings and reading.at < self._readings[-1].at:  # the clock was set back
            self._readings.clear()
        self._readings.append(reading)
        while len(self._readings) > 2 and reading.at - self._readings[1].at >= _SPAN:
            self._readings.popleft()

    def of(self, field: str) -> list[Rate]:
        """Return the rates of a field's values, the highest first."""
        names = self._readings[-1].bars[field]
        rates = [self._rate(name, field, bars) for name, bars in names.items()]
        return sorted(rates, key=lambda rate: (-rate.per_second, -rate.records, rate.name))

    def total(self) -> Rate:
        """Return the rate of all records."""
        newest, oldest = self._readings[-1], self._readings[0]
        return _rate("", newest, _sum(newest), oldest, _sum(oldest))

    def _rate(self, name: str, field: str, bars: Counter[int]) -> Rate:
        newest, oldest = self._readings[-1], self._readings[0]
        return _rate(name, newest, bars, oldest, oldest.bars[field].get(name, Counter()))


def _sum(reading: Reading) -> Counter[int]:
    """Return the records of all levels by minute."""
    total: Counter[int] = Counter()
    levels: Bars = reading.bars["level"]
    for bars in levels.values():
        total.update(bars)
    return total


def _rate(
    name: str, newest: Reading, bars: Counter[int], oldest: Reading, earlier: Counter[int]
) -> Rate:
    first = first_minute(newest.at)
    begins = range(first, first + MINUTES * MINUTE, MINUTE)
    seconds = newest.at - oldest.at
    if seconds >= _LEAST:
        new = sum(max(0, bars[begin] - earlier[begin]) for begin in begins[-RECENT:])
        per_second = new / seconds
    else:
        # The last minute consists of the present one and of a part of the one before.
        share = (newest.at - begins[-1]) / MINUTE
        per_second = (bars[begins[-1]] + bars[begins[-2]] * max(0.0, 1 - share)) / MINUTE
    records = sum(bars[begin] for begin in begins)
    *minutes, present = (float(bars[begin]) for begin in begins)
    return Rate(name, per_second, records, [*minutes, max(present, per_second * MINUTE)])
