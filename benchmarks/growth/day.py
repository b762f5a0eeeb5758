"""Two days of all collectors, minute by minute, with outages: what waits where, and until when.

A record is in the journal of its collector until it is stored. From its publication on it is in the
stream, too.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from growth.costs import DAY, Costs, Layout, Load
from growth.layout import capacity, draining, stream_bytes

STEP: Final = 60
"""Seconds of a step."""
LEAST: Final = 0.2
"""The part of the mean rate that comes at every hour."""


class Outage(NamedTuple):
    """A part that does nothing for a while, in hours of the day."""

    part: str
    """`database` or `cluster`."""
    begin: float
    hours: float

    def holds(self, hour: float) -> bool:
        """Return whether the part is out at an hour of the day."""
        return self.begin <= hour < self.begin + self.hours


class Limits(NamedTuple):
    """Bytes that may wait."""

    journal: float = 1 << 30
    """In the journal of one collector."""
    stream: float = 500e9
    """In all streams, one copy."""


class Step(NamedTuple):
    """The state at the end of a step, in records."""

    hour: float
    rate: float
    """Records a second that come."""
    unpublished: float
    in_streams: float
    stored: float
    """Since the start."""
    dropped: float
    """Since the start: journals were full."""
    lag: int
    """Seconds since the oldest record that is not stored came, in whole steps."""


def rate_at(load: Load, hour: float) -> float:
    """Return the records a second at an hour of the day; the peak is at 12."""
    peak = (load.peak - LEAST) / (1 - LEAST)
    shape = peak * (0.5 + 0.5 * math.cos((hour - 12) / 24 * 2 * math.pi)) ** _power(peak)
    return load.mean * (LEAST + (1 - LEAST) * shape)


def _power(peak: float) -> float:
    """Return the power of the curve whose highest value is `peak` times its mean.

    The mean of (1/2 + cos/2)^p over a circle is gamma(p + 1/2) / (sqrt(pi) gamma(p + 1)).
    """
    low, high = 0.0, 100.0
    for _ in range(60):
        power = (low + high) / 2
        mean = math.exp(math.lgamma(power + 0.5) - math.lgamma(power + 1)) / math.sqrt(math.pi)
        low, high = (power, high) if 1 / mean < peak else (low, power)
    return low


def simulate(
    load: Load,
    layout: Layout,
    outages: Sequence[Outage],
    limits: Limits,
    costs: Costs,
    days: int = 2,
) -> Iterator[Step]:
    """Yield the state after each step.

    After an outage each part works as fast as it can: the collectors until the streams saturate,
    the centrals until they or the database do.
    """
    to_stream = capacity(load, layout, costs, of=("collector", "stream", "cluster"))
    to_store = draining(load, layout, costs)
    # Steps, and how many of their records are not stored.
    waiting: deque[tuple[int, float]] = deque()
    unpublished = streams = stored = dropped = 0.0
    room_of_journals = load.collectors * limits.journal / costs.record_bytes
    room_of_streams = limits.stream / stream_bytes(load, layout, costs)
    for number in range(days * DAY // STEP):
        hour = number * STEP / 3600
        rate = rate_at(load, hour % 24)
        out = {outage.part for outage in outages if outage.holds(hour)}
        over = max(0.0, unpublished + streams + rate * STEP - room_of_journals)
        unpublished, dropped = unpublished + rate * STEP - over, dropped + over
        room = room_of_streams - streams
        moved = 0.0 if "cluster" in out else min(unpublished, to_stream * STEP, room)
        unpublished, streams = unpublished - moved, streams + moved
        done = 0.0 if out else min(streams, to_store * STEP)
        streams, stored = streams - done, stored + done
        waiting.append((number, rate * STEP - over))
        while waiting and done >= waiting[0][1]:
            done -= waiting.popleft()[1]
        if done and waiting:
            waiting[0] = (waiting[0][0], waiting[0][1] - done)
        lag = (number - waiting[0][0]) * STEP if waiting else 0
        yield Step(hour, rate, unpublished, streams, stored, dropped, lag)
