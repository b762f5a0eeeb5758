"""A change of a store that an exception ends at any bytecode is completed by `recover`, exactly."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import fastlog_client as client
import pytest
from fastlog_client.gap import NOT_ENCODED, REASONS, Gap
from fastlog_client.memory import Memory
from fastlog_client.spool import Spool

STAMP = 1_700_000_000_000_000
NODE = b"n" * 16
LARGE = 700
PACKAGE = str(Path(client.__file__).parent) + os.sep


class InterruptError(Exception):
    pass


def interrupted(call: Callable[[], object], at: int) -> bool:
    """Call a function; raise before the bytecode with this number, unless the call ends before."""
    left = at

    def trace_call(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return trace

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if event == "opcode":
            left -= 1
            if left == 0:
                raise InterruptError
        return trace

    sys.settrace(trace_call)
    try:
        call()
    except InterruptError:
        return True
    finally:
        sys.settrace(None)
    return False


def record(number: int) -> bytes:
    return b"%06d" % number + b"x" * (LARGE + 1 - 6 if number % 11 == 0 else 94)


def make(kind: str, base: Path) -> Any:
    """30 numbers: records, of which two are too large for the server, and gaps at 5, 6 and 25."""
    store = Memory() if kind == "memory" else new_spool(base)
    for number in range(1, 31):
        if number in (5, 6, 25):
            store.add_gap(NOT_ENCODED, STAMP)
        else:
            store.extend([record(number)], STAMP)
    return store


def new_spool(base: Path) -> Any:
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    spool = Spool.create(str(base), 4600, False, 1 << 20)
    spool.max_bytes = 1 << 30  # segments of 1 KiB
    return spool


def take(store: Any, limit: int = 1 << 20) -> None:
    while store.take(limit, True, LARGE, STAMP) is not None:
        pass


def extend(store: Any) -> None:
    move(store, [record(number) for number in range(31, 36)])


def overflow(store: Any) -> None:
    if hasattr(store, "max_bytes"):
        store.max_bytes = store.bytes + 300
    extend(store)


def add_gaps(store: Any) -> None:
    move(store, [Gap(NOT_ENCODED, STAMP) for _ in range(3)])


def move(store: Any, entries: list[Any]) -> None:
    """Move records as the handler does, also after an exception: numbered records stay."""
    store.target = getattr(store, "target", None) or (store.next, entries)
    number, entries = store.target
    for entry in entries[store.next - number :]:
        if entry.__class__ is Gap:
            store.add_gap(entry.reason, STAMP)
        else:
            store.extend([entry], STAMP)


def remove(store: Any) -> None:
    shutil.rmtree(store.folder)
    look(store)


def look(store: Any) -> None:
    store._check_folder_at = 0.0
    store.check(1.0)


def moved(store: Any) -> None:
    Path(store.folder).rename(store.folder + "-elsewhere")


CALLS: dict[str, tuple[Callable[[Any], object], Callable[[Any], object]]] = {
    "extend": (lambda store: None, extend),
    "overflow": (lambda store: None, overflow),
    "gaps": (lambda store: None, add_gaps),
    "take": (lambda store: None, lambda store: take(store, 400)),
    "ack": (take, lambda store: store.ack(5, NODE)),
    "ack more": (take, lambda store: store.ack(27, NODE)),
    "rewind": (take, lambda store: store.rewind(17, NODE)),
    "renumber": (take, lambda store: store.renumber(40)),
    "drop oldest": (lambda store: store.take(300, True, LARGE, STAMP), lambda store: drop(store)),
    "give up": (lambda store: store.take(300, True, LARGE, STAMP), lambda store: give_up(store)),
    "check": (moved, look),
    "write": (moved, extend),
}


def drop(store: Any) -> None:
    store.drop_oldest(2000, STAMP)


def give_up(store: Any) -> None:
    store.declare_left_at_exit(STAMP)


def compare(store: Any) -> None:
    """Assert that each number is its record or a gap, and that the counts agree."""
    store.rewind(store.first - 1, NODE)
    dropped, pending, at = dict.fromkeys(REASONS, 0), 0, store.first
    while (what := store.take(1 << 20, True, LARGE, STAMP)) is not None:
        base, content = what
        assert base == at
        if content.__class__ is Gap:
            dropped[content.reason] += content.count
            at += content.count
            continue
        for entry in content:
            assert entry == record(at)
            pending += 1
            at += 1
    assert at == store.next
    assert store.pending == pending
    acked = store.next - 1 - pending - sum(store.dropped.values())
    gone = sum(store.dropped.values()) - sum(dropped.values())
    assert acked + gone == store.first - 1
    assert all(store.dropped[reason] >= count for reason, count in dropped.items())
    known = sum(1 for number in (5, 6, 25) if number < store.first)
    known += sum(1 for number in (11, 22) if number < store.first)  # if they were taken before
    assert gone <= known


def steps(kind: str, name: str) -> int:
    return {"check": 37, "write": 37}.get(name, 7 if kind == "memory" else 17)


def try_at(kind: str, name: str, at: int, base: Path) -> bool:
    before, call = CALLS[name]
    store = make(kind, base)
    before(store)
    emitted = store.next
    was_interrupted = interrupted(lambda: call(store), at)
    if was_interrupted:
        store.recover()
    if name in ("extend", "overflow", "gaps", "write"):
        if was_interrupted:
            call(store)
        assert store.next == emitted + (3 if name == "gaps" else 5)
    elif name == "check":
        look(store)
    compare(store)
    assert store.dropped[NOT_ENCODED] == (6 if name == "gaps" else 3)
    store.close()
    return was_interrupted


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["memory", "spool"])
def test_at_bytecodes_of_a_stride(kind: str, name: str, tmp_path: Path):
    if (kind, name) in (("spool", "drop oldest"), ("spool", "give up")) or (
        kind == "memory" and name in ("check", "write", "overflow")
    ):
        pytest.skip(f"no {name} of a {kind}")
    step = steps(kind, name)
    for at in itertools.count(1, step):
        if not try_at(kind, name, at, tmp_path / "spool"):
            break
    assert at > 5


@pytest.mark.soak
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["memory", "spool"])
def test_at_every_bytecode(kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(f"{__name__}.steps", lambda *_: 1)
    test_at_bytecodes_of_a_stride(kind, name, tmp_path)
