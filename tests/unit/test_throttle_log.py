"""The log of throttled connections: at once, then once a minute, with the sink that is behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from builders import Clock

from fastlog.receiver.throttle import ThrottleLog


def test_throttled_connections_are_one_line_a_minute_with_a_sum_and_the_sink(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, stats = Clock(0.0), SimpleNamespace(throttlings=0)
    peers = [("10.0.0.5:77", 3), ("10.0.0.6:1", 9), ("10.0.0.7:1", 1)]
    loop: Any = SimpleNamespace(stats=lambda: stats, throttled=lambda: peers)
    throttle: Any = SimpleNamespace(take_cause=lambda: "sink audit was 1.3 s behind")
    own = ThrottleLog(loop, throttle, clock)
    own.update()
    assert caplog.records == []
    for second in range(450):  # as in the report of 412 lines
        clock.now = float(second)
        stats.throttlings += 1
        own.update()
    clock.now, stats.throttlings = 479.0, 479
    peers.clear()
    own.update(final=True)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:2] == [
        "rate-limiting 10.0.0.6:1 and 2 others (1 time): sink audit was 1.3 s behind; clients wait",
        "rate-limiting 10.0.0.6:1 and 2 others (60 times in 60 s): sink audit was 1.3 s behind; "
        "clients wait",
    ]
    assert lines[-1].startswith("rate-limiting connections that are over now (58 times in 59 s): ")
    assert len(lines) == 9
