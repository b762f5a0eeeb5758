"""Median ratios of pairs of runs of two installations, with confidence intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bench.against import OTHER, THIS, name_of
from bench.report import arrival, machine_line, table
from bench.results import Results, Run

CONFIDENCE = 0.95
MEASURES: dict[str, Callable[[Run], float]] = {
    "CPU-seconds per million": lambda run: run.cpu_per_million,
    "seconds": lambda run: run.seconds,
}


class Interval(NamedTuple):
    """A confidence interval of the median."""

    low: float
    high: float
    confidence: float
    """The probability that it contains the median, for any distribution."""


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the narrowest interval between two values that has the confidence.

    Between the values of ranks k and n + 1 - k, unless fewer than k of n values lie on one side of
    the median: a binomial distribution with one half. It assumes only that the values are
    independent. Fewer than six values cannot reach 95%: they give their whole range, with its
    probability.

    Args:
        values: one or more, in any order.
    """
    ordered, count = sorted(values), len(values)
    best = Interval(ordered[0], ordered[-1], _coverage(count, 1))
    for rank in range(2, (count + 1) // 2 + 1):
        if (found := _coverage(count, rank)) < confidence:
            break
        best = Interval(ordered[rank - 1], ordered[count - rank], found)
    return best


def _coverage(count: int, rank: int) -> float:
    return max(1 - 2 * sum(math.comb(count, k) for k in range(rank)) / 2.0**count, 0.0)


def report(results: Results, sinks: Sequence[str]) -> str:
    """Return the table: a row for each sink and meainterval."""
    heads = ["this / other", "median ratio", "interval", "sure", THIS, OTHER, "pairs"]
    rows = [
        row
        for sink in sinks
        for name, measure in MEASURES.items()
        for row in _row(results, sink, name, measure)
    ]
    lines = [machine_line(results.machine), "", *table(heads, rows), *arrival(results)]
    return "\n".join(lines) + "\n"


def _row(
    results: Results, sink: str, name: str, measure: Callable[[Run], float]
) -> Iterator[list[str]]:
    [case] = results.cases
    this, other = (
        [measure(run) for run in results.of(name_of(side, sink), case)] for side in (THIS, OTHER)
    )
    ratios = [a / b for a, b in zip(this, other, strict=False)]  # the last pair may be incomplete
    if not ratios:
        return
    interval = median_interval(ratios)
    yield [
        f"{sink}, {name}",
        f"{statistics.median(ratios):.3f}",
        f"{interval.low:.3f} to {interval.high:.3f}",
        f"{interval.confidence:.1%}",
        f"{statistics.median(this):.2f}",
        f"{statistics.median(other):.2f}",
        str(len(ratios)),
    ]
