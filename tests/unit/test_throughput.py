"""The throughput that a worker measures and publishes."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import NODE, Clock
from loop_receiver import MIB

from fastlog.block import HEADER, Block
from fastlog.core import FRAME_WEIGHT
from fastlog.journal import UNKNOWN, ProgressPage, Reading
from fastlog.worker import throughput
from fastlog.worker.throughput import Throughput


def reading_of(data_dir: Path) -> Reading:
    with ProgressPage(data_dir, "s", NODE) as page:
        reading = page.read()
    assert reading is not None
    return reading


def block_of(weight: int) -> Block:
    """Return a block of a hundred frames with this weight."""
    size = weight - 100 * FRAME_WEIGHT - HEADER.size
    return Block(0, size, 0, 100, 0, memoryview(bytes(size)))


def test_throughput_follows_the_speed_of_large_or_slow_batches(tmp_path: Path) -> None:
    own = Throughput(tmp_path, "s", NODE, Clock())
    own.measure([block_of(100_000)], 0.01)
    own.publish(5, 2)
    assert reading_of(tmp_path) == Reading(5, 2, throughput.FIRST_GUESS)
    own.measure([block_of(MIB // 4)], 0.25)
    own.publish(5, 2)
    assert reading_of(tmp_path).speed < 4 * MIB, "one that takes long shows at once"
    for _ in range(3):
        own.measure([block_of(MIB // 2)] * 2, 1.0)
    own.publish(6, 2)
    assert reading_of(tmp_path).speed == pytest.approx(MIB, rel=0.02)
    for _ in range(50):
        own.measure([block_of(100_000)], 1.0)
    own.publish(7, 2)
    assert reading_of(tmp_path).speed == pytest.approx(100_000, rel=0.02), "little, and slow"
    for _ in range(10):
        own.measure([block_of(4 * MIB)], 0.04)
    own.publish(8, 2)
    assert reading_of(tmp_path).speed > 40 * MIB, "and soon as fast as before"
    fast = reading_of(tmp_path).speed
    for _ in range(50):
        own.measure([], 5.0)
    own.publish(8, None)
    assert reading_of(tmp_path) == Reading(8, UNKNOWN, fast), "one that is down is not slow"


def test_throughput_without_a_progress_page_tries_again_later(tmp_path: Path) -> None:
    (tmp_path / "positions").write_text("in the way")
    clock = Clock()
    own = Throughput(tmp_path, "s", NODE, clock)
    own.measure([block_of(MIB)], 1.0)
    own.publish(7, 1)
    (tmp_path / "positions").unlink()
    own.publish(8, 1)
    clock.now += throughput.RETRY_INTERVAL
    own.publish(9, 1)
    assert reading_of(tmp_path).applied == 9, "it was tried again"
    own.close()


def test_throughput_publishes_that_the_sink_is_down(tmp_path: Path) -> None:
    own = Throughput(tmp_path, "s", NODE, Clock())
    own.publish(7, 3)
    own.publish_failure()
    assert reading_of(tmp_path) == Reading(7, 3, 0)
    own.publish(8, 3)
    assert reading_of(tmp_path).speed > 0
