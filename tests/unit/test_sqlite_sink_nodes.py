"""The sqlite sinks of several nodes, as a central has them, in the same day files."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from builders import DAY, MONDAY, NODE, Clock, make_chain, numbered, rest_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_stores import files, make_sink, value

from fastlog.config import RetentionConfig
from fastlog.decode import Decoded
from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.search import examine
from fastlog.sinks.day_cursor import read_cursors
from fastlog.sinks.day_directory import DayDirectory, DayFileName
from fastlog.sinks.day_file import DayFile
from fastlog.sinks.sqlite import SqliteSink

OWN = "f" * 32
"""The journal of the central itself: its worker is another process."""
NODES = [f"{number:032x}" for number in range(1, 4)]


def central(data_dir: Path, clock: Clock, **context: object) -> SqliteSink:
    return make_sink(data_dir, clock=clock, steady=clock, **context)


def opened(prototype: SqliteSink, *nodes: str) -> list[SqliteSink]:
    sinks = [prototype.sibling(f"sqlite.{node}") for node in nodes]
    for node, sink in zip(nodes, sinks, strict=True):
        sink.open(node)
    return sinks


def stored(data_dir: Path, but: str = "") -> Counter[tuple[str, str]]:
    """Return how often each message of each node is in the files."""
    found = Counter[tuple[str, str]]()
    for name in files(data_dir):
        if name != but:
            found += rows_of(data_dir / "logs" / name)
    return found


def unsealed(data_dir: Path) -> Counter[str]:
    """Return in how many files each node has a cursor without a seal."""
    rows = (read_cursors(data_dir / "logs" / name) for name in files(data_dir))
    return Counter(node for each in rows for node, row in each.items() if row.sealed is None)


def rows_of(path: Path) -> Counter[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return Counter(connection.execute("SELECT node, message FROM records"))


def expected(*nodes: str, chain: list[Decoded]) -> Counter[tuple[str, str]]:
    messages = [record.message for decoded in chain for record in decoded.records]
    return Counter((node, message) for node in nodes for message in messages)


ACTIONS = st.tuples(
    st.sampled_from(["store", "store", "store", "sync", "reopen", "tick", "a day passes"]),
    st.sampled_from([*NODES, OWN]),
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=st.lists(ACTIONS, max_size=40))
def test_any_order_of_any_nodes_stores_every_block_once(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str]]
) -> None:
    """While files are deleted: what was stored is in the files, or was in a deleted one."""
    data_dir = tmp_path_factory.mktemp("nodes")
    days = (0, 0, 1, 1, 0, 2, 3, 1, 4)  # a clock is set back now and then
    contents = ([f"{block}.{n}" for n in range(40)] for block in range(len(days)))
    chain = make_chain(zip(contents, (MONDAY + day * DAY for day in days), strict=True))
    clock, deleted = Clock(), Counter[tuple[str, str]]()
    prototype = central(data_dir, clock, retention=RetentionConfig(size=1))
    prototype.context = prototype.context._replace(own_node=OWN)
    own = make_sink(data_dir, limit=60_000, clock=clock, steady=clock)
    own.open(OWN)
    sinks = dict(zip(NODES, opened(prototype, *NODES), strict=True)) | {OWN: own}

    def store(node: str) -> None:
        sink = sinks[node]
        if todo := rest_of(chain, sink.cursor()):
            sink.apply(todo[:1])

    delete = DayDirectory.delete

    def counted(self: DayDirectory, path: Path) -> None:
        deleted.update(rows_of(path))
        delete(self, path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DayDirectory, "delete", counted)
        for action, node in actions:
            if action == "store":
                store(node)
            elif action == "sync":
                assert sinks[node].sync() == sinks[node].cursor()
            elif action == "reopen":
                cursor = sinks[node].cursor()
                assert sinks[node].open(node) == cursor
            elif action == "tick":
                prototype.tick()
            else:
                clock.now += DAY
        for node, sink in sinks.items():
            while sink.cursor() < chain[-1].block.end:
                store(node)
            sink.sync()
    assert stored(data_dir) + deleted == expected(*NODES, OWN, chain=chain)
    assert unsealed(data_dir) == dict.fromkeys(sinks, 1)
    assert [file.trouble for file in examine(data_dir / "logs", deep=True)] == [""] * len(
        files(data_dir)
    )
    for sink in sinks.values():
        sink.close()


def test_a_hundred_nodes_need_the_descriptors_of_one(tmp_path: Path) -> None:
    prototype = central(tmp_path, Clock())
    chain = numbered(1)
    counts = []
    for number in range(100):
        [sink] = opened(prototype, f"{number:032x}")
        sink.apply(chain)
        counts.append(len([*Path("/proc/self/fd").iterdir()]))
    assert counts[-1] == counts[0]
    assert stored(tmp_path).total() == 300


def test_the_sync_of_a_node_makes_the_blocks_of_all_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = opened(central(tmp_path, Clock()), *NODES[:2])
    chain = numbered(2)
    first.apply(chain[:1])
    second.apply(chain[:1])
    syncs = []
    sync = DayFile.sync
    monkeypatch.setattr(DayFile, "sync", lambda file: syncs.append(file) or sync(file))
    assert first.sync() == second.sync() == chain[0].block.end
    assert len(syncs) == 1
    second.apply(chain[1:])
    assert second.sync() == chain[1].block.end
    assert len(syncs) == 2, "not what was committed since"


def test_an_error_of_one_node_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    first, second = opened(central(tmp_path, Clock()), *NODES[:2])
    chain = numbered(3)
    for sink in (first, second):
        sink.apply(chain[:1])
    late = central(tmp_path, Clock())
    late.open(NODES[0])
    late.apply(chain[1:2])
    with pytest.raises(SinkConflictError):
        first.apply(chain[1:2])
    second.apply(chain[1:])
    first.apply(rest_of(chain, first.open(NODES[0])))
    assert stored(tmp_path) == expected(*NODES[:2], chain=chain)


def test_the_cursor_of_a_silent_node_survives_the_files_that_it_was_in(tmp_path: Path) -> None:
    clock = Clock()
    prototype = central(tmp_path, clock, retention=RetentionConfig(size=1))
    silent, busy = opened(prototype, *NODES[:2])
    chain = numbered(4, step=DAY)
    for sink in (silent, busy):
        sink.apply(chain[:1])
    for block in chain[1:]:
        clock.now += DAY
        busy.apply([block])
    clock.now += 2 * DAY
    prototype.tick()
    assert files(tmp_path) == ["2026-11-26.db"]
    again = central(tmp_path, clock)
    assert again.open(NODES[0]) == chain[0].block.end, "also in a new process"
    again.close()
    silent.apply(chain[1:2])  # of a day whose file is gone
    assert files(tmp_path) == ["2026-11-24.db", "2026-11-26.db"]
    assert stored(tmp_path, but="2026-11-26.db") == expected(NODES[0], chain=chain[1:2])


@pytest.mark.parametrize("has_it_open", [True, False])
def test_a_worker_follows_its_cursor_without_an_error_however_often_it_was_moved(
    tmp_path: Path, has_it_open: bool
) -> None:
    """By another process, which deletes the files that the cursor was in."""
    clock, chain = Clock(), numbered(6, step=2 * DAY)
    silent = make_sink(tmp_path, clock=clock, steady=clock)
    silent.open(OWN)
    silent.apply(chain[:1])
    prototype = central(tmp_path, clock, retention=RetentionConfig(size=1))
    [busy] = opened(prototype, NODES[0])
    for block in chain[:5]:
        busy.apply([block])
        clock.now += 2 * DAY
        prototype.tick()
    assert files(tmp_path) == ["2026-12-01.db"]
    if not has_it_open:
        silent._files.close(DayFileName(date(2026, 11, 23)))
    silent.apply(chain[5:])
    assert unsealed(tmp_path)[OWN] == 1
    assert stored(tmp_path, but="2026-12-01.db") == expected(OWN, chain=chain[5:])


def test_a_crash_while_a_cursor_is_moved_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    prototype = central(tmp_path, clock, retention=RetentionConfig(size=1))
    silent, busy = opened(prototype, *NODES[:2])
    chain = numbered(2, step=2 * DAY)
    silent.apply(chain[:1])
    clock.now += 2 * DAY
    busy.apply(chain)

    def broken(*_: object) -> None:
        raise SinkUnavailableError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(DayFile, "enter_all", broken)
        prototype.tick()
    assert files(tmp_path) == ["2026-11-23.db", "2026-11-25.db"], "the cursor is still in it"
    prototype.tick()
    assert files(tmp_path) == ["2026-11-25.db"]
    cursors = read_cursors(tmp_path / "logs" / "2026-11-25.db")
    assert {node: row.offset for node, row in cursors.items()} == {
        NODES[0]: chain[0].block.end,
        NODES[1]: chain[1].block.end,
    }


def test_the_file_of_the_central_s_own_journal_is_kept(tmp_path: Path) -> None:
    clock, chain = Clock(), numbered(2, step=DAY)
    own = make_sink(tmp_path)
    own.open(OWN)
    own.apply(chain[:1])
    prototype = make_sink(tmp_path, clock=clock, steady=clock, retention=RetentionConfig(size=1))
    prototype.context = prototype.context._replace(own_node=OWN)
    [sink] = opened(prototype, NODES[0])
    sink.apply(chain[1:])
    prototype.tick()
    assert files(tmp_path) == ["2026-11-23.db", "2026-11-24.db"]


def test_only_one_of_the_processes_deletes_old_files(tmp_path: Path) -> None:
    """The worker of a central leaves it to the source, which knows the files in use."""
    worker = make_sink(tmp_path, retention=RetentionConfig(size=1))
    worker.context = worker.context._replace(housekeeping=False)
    worker.open(OWN)
    worker.apply(numbered(2, step=DAY))
    worker.tick()
    assert len(files(tmp_path)) == 2


def test_a_node_that_was_silent_does_not_make_its_old_file_younger(tmp_path: Path) -> None:
    clock, chain = Clock(), numbered(2, step=20 * DAY)
    [sink] = opened(central(tmp_path, clock), NODE)
    sink.apply(chain[:1])
    clock.now += 20 * DAY
    sink.apply(chain[1:])
    sealed_at = value(tmp_path, "2026-11-23.db", "SELECT sealed_at FROM cursor")
    assert sealed_at == (MONDAY,), "when it stored there last"


def test_a_damaged_file_is_stored_again_for_all_its_nodes(tmp_path: Path) -> None:
    chain = make_chain([(["x" * 5000] * 50, MONDAY), (["y"], MONDAY), (["z"], MONDAY + DAY)])
    sinks = opened(central(tmp_path, Clock()), *NODES[:2])
    for sink in sinks:
        sink.apply(chain[:1])
        sink.sync()
        sink.close()
    damage(tmp_path / "logs" / "2026-11-23.db")
    sinks = [central(tmp_path, Clock()).sibling("a")]
    sinks.append(sinks[0].sibling("b"))
    for node, sink in zip(NODES[:2], sinks, strict=True):
        for _ in range(10):
            try:
                sink.apply(rest_of(chain, sink.open(node)))
                break
            except (SinkConflictError, SinkUnavailableError):
                continue
    assert stored(tmp_path) == expected(*NODES[:2], chain=chain)


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"no database")


def test_no_code_but_sqlite_opens_a_day_file_that_exists(tmp_path: Path) -> None:
    """Closing any descriptor of a file ends all POSIX locks of the process on it, also those of
    SQLite's connections: another process could then remove the log that they write to."""
    opens: list[tuple[str, int]] = []
    is_watching = True

    def audit(event: str, values: tuple[object, ...]) -> None:
        if is_watching and event == "open" and ".db" in str(values[0]):
            opens.append((Path(str(values[0])).name, int(str(values[2]))))

    sys.addaudithook(audit)
    clock = Clock()
    prototype = central(tmp_path, clock, retention=RetentionConfig(size=1))
    chain = numbered(3, step=DAY)
    sinks = opened(prototype, *NODES)
    for block in chain:
        for sink in sinks[:2]:
            sink.apply([block])
            sink.sync()
        clock.now += 2 * DAY
        prototype.tick()
    sinks[2].apply(chain)
    for sink in sinks:
        sink.close()
    is_watching = False
    names = [name for name, _ in opens]
    assert {*names} == {"2026-11-23.db", "2026-11-24.db", "2026-11-25.db"}
    assert all(flags & os.O_EXCL for _, flags in opens), "touch makes it, or leaves it alone"
