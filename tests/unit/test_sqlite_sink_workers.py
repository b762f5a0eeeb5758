"""The sqlite sink under two workers, or one that is killed: every block is stored once."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from builders import DAY, MONDAY, NODE, Fuse, in_child, make_chain, messages_of, numbered, rest_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_stores import make_sink, rows, value

from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.search import examine
from fastlog.sinks import day_chunks, day_file


def test_two_workers_apply_each_block_once(tmp_path: Path) -> None:
    chain = numbered(3)
    slow, fast = make_sink(tmp_path), make_sink(tmp_path)
    slow.open(NODE)
    fast.open(NODE)
    fast.apply(chain[:2])

    with pytest.raises(SinkConflictError):
        slow.apply(chain[:1])
    slow.apply(rest_of(chain, slow.open(NODE)))

    assert rows(tmp_path) == messages_of(chain)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=st.lists(st.sampled_from(["a", "b", "reopen a", "reopen b", "sync a"]), max_size=30))
def test_two_workers_in_any_order_store_every_block_once(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str]
) -> None:
    """They have different limits, so that they would choose different files."""
    data_dir = tmp_path_factory.mktemp("workers")
    days = (0, 0.5, 1, 0.6, 0, 1.4, 2, 0.3)  # the clock is set back now and then
    messages = ([f"{block}.{n}" for n in range(40)] for block in range(len(days)))
    chain = make_chain(zip(messages, (MONDAY + day * DAY for day in days), strict=True))
    sinks = {"a": make_sink(data_dir, limit=1), "b": make_sink(data_dir, limit=60_000)}
    for sink in sinks.values():
        sink.open(NODE)

    def work(name: str) -> None:
        todo = rest_of(chain, sinks[name].cursor())
        try:
            sinks[name].apply(todo[:1]) if todo else sinks[name].sync()
        except SinkConflictError:
            sinks[name].open(NODE)

    for each in actions:
        action, _, name = each.rpartition(" ")
        if action == "reopen":
            sinks[name].open(NODE)
        elif action == "sync" and sinks[name].cursor():
            ignore_conflict(sinks[name].sync)
        else:
            work(name)
    deadline = 0
    while rest_of(chain, max(sink.cursor() for sink in sinks.values())) and deadline < 100:
        work("a")
        deadline += 1

    assert rows(data_dir) == messages_of(chain)
    for sink in sinks.values():
        sink.close()


def ignore_conflict(work: Callable[[], object]) -> None:
    with suppress(SinkConflictError):
        work()


def test_the_cursor_of_a_file_decides_between_two_workers(tmp_path: Path) -> None:
    """Only the transactions keep the two apart here."""
    chain = numbered(3)
    slow, fast = (day_file.DayFile(tmp_path / "2026-11-23.db") for _ in range(2))
    slow.enter(NODE, 0, 1)
    fast.enter(NODE, 0, 1)
    end = fast.append(NODE, chain[:1], 0)
    for late in (
        lambda: slow.append(NODE, chain[:1], 0),
        lambda: slow.seal(NODE, 0, 1, "x", MONDAY),
        lambda: slow.enter(NODE, 0, 1),
    ):
        with pytest.raises(SinkConflictError):
            late()
    fast.seal(NODE, end, 1, "2026-11-23.1.db", MONDAY)
    for late in (
        lambda: slow.append(NODE, chain[1:], end),
        lambda: slow.seal(NODE, end, 1, "2026-11-23.2.db", MONDAY),
        lambda: slow.enter(NODE, end, 1),
    ):
        with pytest.raises(SinkConflictError):
            late()

    with closing(sqlite3.connect(tmp_path / "2026-11-23.db")) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (3,)
        cursor = connection.execute("SELECT offset, sealed FROM cursor").fetchall()
    assert cursor == [(end, "2026-11-23.1.db")]
    slow.enter(NODE, end, 3)  # the cursor returns, from a file that it entered meanwhile
    with pytest.raises(SinkConflictError):
        fast.seal(NODE, end, 1, "2026-11-23.1.db", MONDAY)
    assert slow.append(NODE, chain[1:2], end) == chain[1].block.end
    slow.close()
    fast.close()


def test_a_late_worker_cannot_write_to_the_sealed_file_of_the_day_before(tmp_path: Path) -> None:
    chain = make_chain([(["monday"], MONDAY), (["tuesday"], MONDAY + DAY)])
    stale, fresh = make_sink(tmp_path), make_sink(tmp_path)
    stale.open(NODE)
    stale.apply(chain[:1])
    fresh.open(NODE)
    fresh.apply(chain[1:])

    # The same block, but with a stamp of Monday, so that the stale worker chooses the old file.
    late = chain[1]._replace(block=replace(chain[1].block, received_us=int(MONDAY * 1e6)))
    with pytest.raises(SinkConflictError):
        stale.apply([late])

    assert rows(tmp_path) == messages_of(chain)


@pytest.mark.long
@pytest.mark.parametrize("batch", [1, 2])
def test_killed_before_every_third_to_fifth_statement_it_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    kill_before_statements(tmp_path, monkeypatch, batch, steps=(3, 5))


@pytest.mark.soak
@pytest.mark.parametrize("batch", [1, 2])
def test_killed_before_any_statement_it_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    kill_before_statements(tmp_path, monkeypatch, batch, steps=(1, 1))


def kill_before_statements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, steps: tuple[int, int]
) -> None:
    """Two days and a file past its limit: every step of storing, sealing, entering, syncing.

    Each block completes a chunk, and chunks and counts agree with the rows in the end.
    """
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 20)
    chain = numbered(5, per_block=30, step=DAY / 2)
    connect = sqlite3.connect

    def run_sink(data_dir: Path, fuse: Fuse | None) -> None:
        def fused(*args: object, **kwargs: object) -> sqlite3.Connection:
            connection = connect(*args, **kwargs)  # type: ignore[arg-type]
            if fuse is not None:
                connection.set_trace_callback(lambda _: fuse.spark())
            return connection

        with monkeypatch.context() as patched:
            patched.setattr(day_file.sqlite3, "connect", fused)
            sink = make_sink(data_dir, limit=50_000)
            todo = rest_of(chain, sink.open(NODE))
            for start in range(0, len(todo), batch):
                sink.apply(todo[start : start + batch])
                sink.sync()
            sink.close()

    length, died = 0, True
    while died:
        data_dir = tmp_path / str(length)
        died = in_child(lambda d=data_dir, n=length: run_sink(d, Fuse(n))) == signal.SIGKILL
        run_sink(data_dir, None)
        assert rows(data_dir) == messages_of(chain), f"killed at statement {length}"
        troubles = [health.trouble for health in examine(data_dir / "logs", deep=True)]
        assert not any(troubles), f"killed at statement {length}"
        length += steps[length > 40]
    assert length > 60


def test_after_a_crash_between_seal_and_entry_the_file_that_the_seal_names_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = make_chain([(["monday"], MONDAY), (["tuesday"], MONDAY + DAY)])

    def broken(self: object, *position: object) -> None:
        raise SinkUnavailableError("power cut")

    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    with monkeypatch.context() as patched:
        patched.setattr(day_file.DayFile, "enter", broken)
        with pytest.raises(SinkUnavailableError):
            sink.apply(chain[1:])
    assert value(tmp_path, "2026-11-23.db", "SELECT sealed FROM cursor") == ("2026-11-24.db",)

    sink.apply(chain[1:])
    assert rows(tmp_path) == messages_of(chain)
