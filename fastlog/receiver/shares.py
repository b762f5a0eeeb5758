"""Who is read more slowly, and when: the receiver's part of sharing the sinks fairly.

A journal is read in order, so whoever fills it delays everybody. Hence a bound on what waits in it,
in time: what was received and is not stored yet, by the speed of the slowest sink that holds the
journal. While it is over that, every connection is read at a rate that few need; who sends less
does not notice, and who sends more waits in his own kernel. Where that does not help, since those
that flood are many, the rate is halved until it does. Below the bound nobody is slowed, but for
newcomers: until a sink has seen how long a connection's records take, there are few of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fastlog.config import LimitsConfig
from fastlog.core import Loop
from fastlog.journal import Gauge, Reading

PLAIN = 10
"""Nanoseconds that a byte of a plain record takes a sink. A share is counted in such bytes, so that
it is a part of the sinks' time, whatever is sent."""
LOOK_EVERY = 0.02
LOOK_AFTER = 1 << 20
"""Bytes received, after which the gauges are looked at earlier."""
FIND_EVERY = 0.1
"""Seconds between looks for the gauge of a sink that has none yet."""
PRICES_EVERY = 0.1
MOST_SYNC = 1.0
LEAST_RATE = 256 << 10
"""Bytes a second that a connection keeps, however many there are. A stock handler whose buffers
stand still for a second drops records; at half of this, that was seen."""
STANDS = 2.0
"""Seconds without a word, while there is work, after which a sink counts as one that is down."""
ADAPT_EVERY = 0.25
"""Seconds that a rate has to show what it does."""
FALLING = 0.5
"""Seconds by which the lag must fall in each second while it is too much."""
DEAREST = 65_535


class Shares:
    """Looks at the gauges of the sinks that hold the journal, and limits the loop by them.

    Args:
        node: The journal's.
        sinks: The names of the sinks that hold it.
    """

    def __init__(
        self,
        loop: Loop,
        limits: LimitsConfig,
        data_dir: Path,
        node: str,
        sinks: Iterable[str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop, self._limits, self._monotonic = loop, limits, monotonic
        self._data_dir, self._node = data_dir, node
        self._gauges: dict[str, Gauge | None] = dict.fromkeys(sinks)
        self._find_at = self._look_at = self._prices_at = float("-inf")
        self._began = monotonic()
        self._seen, self._look_after = 0, LOOK_AFTER
        self._to_judge = 0
        self._rate = limits.rate
        self._behind = False
        self._heard: dict[str, tuple[Reading, float]] = {}
        """What each gauge showed last, and since when it shows that while there is work."""
        self._adapt_at = self._adapted = float("-inf")
        self._lag_then = 0.0
        self._to_sync: int | None = None
        self._sync_since = self._sync_time = 0.0
        self._prices: dict[int, int] = {}
        self.lag = 0.0
        """Seconds that the slowest sink will need for what it has not stored yet."""
        self.strict = False
        """Whether everybody is limited."""
        self._was_strict = False
        if limits.lag:
            loop.limit(limits.rate, everyone=False)

    def look(self, end: int, durable: int) -> None:
        """Looks, if it is time.

        Args:
            end: Journal offset behind all that was received.
            durable: Up to which the sinks may read.
        """
        now = self._monotonic()
        if not self._limits.lag or (now < self._look_at and end - self._seen < self._look_after):
            return
        if now > self._look_at + LOOK_EVERY:
            self._to_sync = None  # it may have been durable for long
        self._look_at, self._seen = now + LOOK_EVERY, end
        readings = self._readings(now)
        working = [r for name, r in readings.items() if self._works(name, r, now, durable)]
        self.lag = max((max(0, end - r.applied) / r.speed for r in working), default=0.0)
        slowest = min((reading.speed for reading in working), default=LOOK_AFTER)
        self._look_after = min(LOOK_AFTER, int(slowest * LOOK_EVERY))
        behind = self.lag > self._limits.lag + self._sync(now, end, durable)
        rate = self._adapt(now, behind)
        strict = behind or len(working) < len(readings)
        self._was_strict |= strict
        if (strict, rate) != (self.strict, self._rate):
            self.strict, self._rate = strict, rate
            self._loop.limit(rate, everyone=strict)
        if len(readings) == len(self._gauges) or now > self._began + STANDS:
            self._judge(working, end)
        self._charge(working, now)

    def _works(self, name: str, reading: Reading, now: float, durable: int) -> bool:
        """Whether the sink gets on. For one that is down it helps nobody to read more slowly yet,
        and nothing can be learned from it; then the rate keeps one from filling the journal."""
        before, since = self._heard.get(name, (None, now))
        if reading is not before or reading.applied >= durable:
            since = now
        self._heard[name] = reading, since
        return reading.speed > 0 and now - since <= STANDS

    def _adapt(self, now: float, behind: bool) -> int:
        """The rate of each, which is less while all together are too much for a sink."""
        if behind and not self._behind:
            self._adapted, self._lag_then = now, self.lag
            self._adapt_at = now + ADAPT_EVERY
        self._behind = behind
        if now < self._adapt_at:
            return self._rate
        falls = self.lag <= self._lag_then - FALLING * (now - self._adapted)
        self._adapted, self._lag_then = now, self.lag
        self._adapt_at = now + ADAPT_EVERY
        if not behind:
            return min(self._limits.rate, self._rate * 2)
        return self._rate if falls else max(LEAST_RATE, self._rate // 2)

    def _judge(self, working: list[Reading], end: int) -> None:
        """What the sinks have is judged; where none gets on, all that was sent."""
        applied = min((reading.applied for reading in working), default=end)
        if applied >= self._to_judge:
            self._to_judge = end
            self._loop.judged()

    def _sync(self, now: float, end: int, durable: int) -> float:
        """Seconds from receiving to durable, as it was last. No sink can begin while the disk takes
        these, and one that is fast must find enough when they are over."""
        if self._to_sync is not None and durable >= self._to_sync:
            self._sync_time = min(now - self._sync_since, MOST_SYNC)
            self._to_sync = None
        if self._to_sync is None and end > durable:
            self._to_sync, self._sync_since = end, now
        waiting = 0.0 if self._to_sync is None else min(now - self._sync_since, MOST_SYNC)
        return max(self._sync_time, waiting)

    def was_strict(self) -> bool:
        """Whether everybody was limited at some time since this was asked last."""
        was, self._was_strict = self._was_strict, self.strict
        return was

    def timeout(self) -> float:
        """Seconds until it is worth looking again, even if nothing was received."""
        return LOOK_EVERY if self.strict else float("inf")

    def _readings(self, now: float) -> dict[str, Reading]:
        """What the gauges show; those that cannot be read say nothing, and hold nobody."""
        if now >= self._find_at and None in self._gauges.values():
            self._find_at = now + FIND_EVERY
            for name, gauge in self._gauges.items():
                self._gauges[name] = gauge or self._find(name)
        shown = ((name, gauge.read()) for name, gauge in self._gauges.items() if gauge is not None)
        return {name: reading for name, reading in shown if reading is not None}

    def _find(self, name: str) -> Gauge | None:
        try:
            return Gauge(self._data_dir, name, self._node)
        except OSError:
            return None  # its worker has not started yet

    def _charge(self, readings: list[Reading], now: float) -> None:
        """Has those pay who keep a slow reader busy.

        A serial may be one of the receiver before this, if it is of a record that waits since then:
        then the wrong one pays, for a few seconds, and only while everybody is limited.
        """
        prices: dict[int, int] = {}
        for reading in readings:
            for serial, cost in reading.costs.items():
                prices[serial] = min(DEAREST, max(prices.get(serial, 0), cost // PLAIN))
        if prices.keys() != self._prices.keys() or (prices and now >= self._prices_at):
            self._prices, self._prices_at = prices, now + PRICES_EVERY
            self._loop.surcharge(prices)

    def close(self) -> None:
        """Lets go of the gauges."""
        for gauge in self._gauges.values():
            if gauge is not None:
                gauge.close()
