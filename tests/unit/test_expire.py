"""`[[expire]]`: old records that a rule names are deleted, a little at each tick."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import (
    DAY,
    MONDAY,
    NODE,
    Clock,
    Fuse,
    decoded_of,
    in_child,
    make_block,
    make_context,
    make_record,
)
from sqlite_stores import files, rows, value

from fastlog.config import ExpireConfig
from fastlog.search import examine
from fastlog.sinks import day_chunks, day_erasure, day_expiry
from fastlog.sinks.sqlite import SqliteSink

RULES = [ExpireConfig("level<INFO", 3 * DAY), ExpireConfig("logger:noisy user=1", 5 * DAY)]


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 20)
    monkeypatch.setattr(day_expiry, "BUDGET", 0.0)  # one piece a tick
    monkeypatch.setattr(day_expiry, "INTERVAL", 0.0)


class Store:
    """A sink, with a block of 40 records each day."""

    def __init__(self, data_dir: Path, steady: Clock | None = None) -> None:
        self.data_dir, self.clock = data_dir, Clock(MONDAY)
        steady = steady or self.clock
        context = make_context(data_dir, "sqlite:", clock=self.clock, steady=steady, expire=RULES)
        self.sink = SqliteSink(context)
        self.offset = self.sink.open(NODE)

    def store(self, day: int) -> None:
        at = MONDAY + day * DAY
        messages = [f"{day} {n} {'debug' if n % 2 else 'info'}" for n in range(40)]
        block = make_block(messages, offset=self.offset, at=at)
        records = [
            make_record(
                message, idx=n, offset=block.offset, received=at, created=at + n,
                levelno=10 if n % 2 else 20, name="noisy" if n < 10 else "app",
                extra=f'{{"user":{n % 3}}}',
            )
            for n, message in enumerate(messages)
        ]  # fmt: skip
        self.sink.apply([decoded_of(block, records)])
        self.offset = block.end

    def tick(self, times: int, day: float) -> None:
        for _ in range(4000):  # the clock must have been in step for an hour
            if self.clock.now >= MONDAY + day * DAY:
                break
            self.clock.now = min(self.clock.now + 600, MONDAY + day * DAY)
            self.sink.tick()
        for _ in range(times):
            self.sink.tick()

    def messages(self, day: int) -> list[str]:
        return [str(m) for m in rows(self.data_dir) if str(m).startswith(f"{day} ")]

    def sound(self) -> bool:
        return not any(each.trouble for each in examine(self.data_dir / "logs", deep=True))


def test_each_rule_deletes_what_it_names_of_files_that_are_old_enough(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for day in (0, 1, 2):
        store.store(day)
    store.tick(10, 3.9)
    assert len(store.messages(0)) == 40
    store.tick(10, 4.1)
    assert [m for m in store.messages(0) if m.endswith("debug")] == []
    assert len(store.messages(0)) == 20
    assert len(store.messages(1)) == 40
    assert store.sound()
    store.tick(20, 8.0)
    gone = [n for n in range(0, 10, 2) if n % 3 == 1]
    assert [m for m in store.messages(0) if int(m.split()[1]) in gone] == []
    assert (len(store.messages(0)), len(store.messages(1))) == (20 - len(gone), 20 - len(gone))
    assert len(store.messages(2)) == 40  # the cursor's file
    assert store.sound()


def test_a_tick_does_one_piece_and_the_next_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.store(0)
    store.store(0)
    store.store(1)
    store.tick(0, 4.0)
    store.clock.now += 1
    counts = []
    for _ in range(4):
        store.sink.tick()
        counts.append(len(store.messages(0)))
        assert store.sound()
    assert counts == [60, 40, 40, 40]


def test_a_clock_that_is_not_trusted_expires_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, steady=Clock(0.0))
    store.store(0)
    store.store(1)
    store.clock.now += 300 * DAY
    store.sink.tick()
    assert len(rows(tmp_path)) == 80
    assert files(tmp_path)


@pytest.mark.parametrize("length", [0, 1])
def test_a_worker_that_is_killed_leaves_a_sound_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    store = Store(tmp_path)
    store.store(0)
    store.store(1)
    store.sink.close()
    fuse, compress = Fuse(length), day_erasure.zstd.compress

    def killing(*arguments: object) -> bytes:
        fuse.spark()
        return compress(*arguments)

    def work() -> None:
        monkeypatch.setattr(day_erasure.zstd, "compress", killing)
        Store(tmp_path).tick(10, 4.2)

    in_child(work)
    monkeypatch.setattr(day_erasure.zstd, "compress", compress)
    assert store.sound()
    other = Store(tmp_path)
    other.tick(10, 4.2)
    assert len(other.messages(0)) == 20
    assert other.sound()
    name = files(tmp_path)[0]
    [last] = value(tmp_path, name, "SELECT value FROM meta WHERE key LIKE 'expired %'")
    assert last == 40
