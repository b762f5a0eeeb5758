"""The simulation of many collectors: nothing vanishes in it, and it prints what the docs show."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import pytest
from places import BENCHMARKS, ROOT


@pytest.fixture(scope="module", autouse=True)
def growth_is_importable():
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "growth", *arguments], capture_output=True, text=True, check=False,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(BENCHMARKS)}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_docs_growth_shows_what_the_simulation_prints() -> None:
    page = (ROOT / "docs" / "growth.md").read_text()
    tables = [line for line in run().splitlines() if line.startswith("|")]
    assert len(tables) > 20
    for line in tables:
        assert line in page


@pytest.mark.parametrize("part", ["database", "cluster"])
@pytest.mark.parametrize("hours", [2, 8])
def test_records_are_stored_wait_or_are_counted_as_dropped(part: str, hours: float) -> None:
    from growth.costs import Costs, Layout, Load
    from growth.day import STEP, Limits, Outage, simulate

    load, limits = Load(100, 1e7), Limits(journal=20e6, stream=1.7e9)
    steps = list(simulate(load, Layout(), [Outage(part, 10, hours)], limits, Costs()))
    came = 0.0
    for step in steps:
        came += step.rate * STEP
        kept = step.unpublished + step.in_streams + step.stored
        assert kept + step.dropped == pytest.approx(came)
    assert came == pytest.approx(2 * load.records, rel=1e-3)
    assert max(step.lag for step in steps) == pytest.approx(hours * 3600, abs=3600)
    assert steps[-1].lag == 0
    assert (steps[-1].dropped > 0) == (hours == 8)
    assert all(one.stored <= other.stored for one, other in pairwise(steps))


def test_the_busiest_hour_has_its_share_of_the_day() -> None:
    from growth.costs import Load
    from growth.day import rate_at

    load = Load(10, 1e6, peak=4)
    rates = [rate_at(load, minute / 60) for minute in range(24 * 60)]
    assert max(rates) == pytest.approx(4 * load.mean, rel=1e-6)
    assert sum(rates) * 60 == pytest.approx(load.records, rel=1e-3)


def test_a_longer_linger_makes_fewer_messages_and_no_other_records() -> None:
    from growth.costs import Costs, Layout, Load
    from growth.layout import messages

    load, costs = Load(1000, 1e9), Costs()
    sent = [messages(load, Layout(linger=each), 35_000, costs) for each in (0.1, 1, 10, 1000)]
    assert [each.rate for each in sent] == sorted((each.rate for each in sent), reverse=True)
    for each in sent:
        records = each.rate * (each.size - costs.message_bytes) / costs.published_bytes
        assert records == pytest.approx(35_000)
        assert records / each.rate <= costs.most_records * 1.0001


def test_a_fitting_layout_has_room_at_the_busiest_hour() -> None:
    from growth.costs import Costs, Layout, Load
    from growth.layout import busiest, capacity, fitting

    load, costs = Load(5000, 1e10), Costs()
    small = Layout(disk_rate=2e9)
    assert busiest(load, small, costs).use > 1
    layout = fitting(load, small, costs)
    assert busiest(load, layout, costs).use <= 0.6
    assert capacity(load, layout, costs) > load.mean * load.peak
