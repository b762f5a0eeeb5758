"""The memory of searched chunks: it is right, bounded, and spares the second search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from day_files import START_NAME, make_record, write_day
from queries import parsed
from searches import messages

from fastlog.query.expressions import compile_regex
from fastlog.search import Progress, chunk_search, search
from fastlog.search.chunk_memory import ChunkMemory
from fastlog.sinks import day_chunks


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty records in chunks of four."""
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 4)
    monkeypatch.setattr(chunk_search, "_memory", None)
    chunk_search.remember_searches()
    write_day(tmp_path / START_NAME, [make_record(n, message=f"number {n}") for n in range(40)])
    return tmp_path


@pytest.fixture
def decompressed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The chunks that were decompressed."""
    texts: list[bytes] = []
    real = chunk_search._decompressed

    def spy(compressed: bytes) -> bytes:
        texts.append(compressed)
        return real(compressed)

    monkeypatch.setattr(chunk_search, "_decompressed", spy)
    return texts


def test_a_second_search_for_the_same_text_decompresses_nothing(
    logs: Path, decompressed: list[bytes]
):
    first = messages(logs, '"number 7"')
    assert len(decompressed) == 10
    assert messages(logs, '"number 7"') == first == ["number 7"]
    assert len(decompressed) == 10
    assert messages(logs, '"number 8"') == ["number 8"]
    assert len(decompressed) == 20


def test_nothing_is_remembered_unless_a_process_asks_for_it(
    logs: Path, decompressed: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(chunk_search, "_memory", None)
    assert messages(logs, '"number 7"') == messages(logs, '"number 7"') == ["number 7"]
    assert len(decompressed) == 20


def test_a_search_that_was_stopped_is_not_remembered(logs: Path, monkeypatch: pytest.MonkeyPatch):
    progress = Progress()
    real = chunk_search.candidates

    def stopped(*arguments: Any) -> Sequence[int]:
        progress.interrupt()
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(chunk_search, "candidates", stopped)
        assert list(search(logs, parsed('"number 7"'), progress=progress)) == []
    assert chunk_search._memory is not None and len(chunk_search._memory) == 0
    assert messages(logs, '"number 7"') == ["number 7"]


def test_the_longest_unused_results_are_forgotten():
    [one, other] = map(compile_regex, ("a", "b"))
    memory = ChunkMemory(max_bytes=10_000)
    keys = [memory.key(b"%d" % n, [one]) for n in range(10)]
    for number, key in enumerate(keys):
        memory.put(key, [number] * 250)  # 1,000 bytes, and what an entry needs
        assert list(memory.get(keys[0]) or ()) == [0] * 250
    assert len(memory) == 7
    assert memory.get(keys[1]) is None
    assert list(memory.get(keys[9]) or ()) == [9] * 250
    assert memory.get(memory.key(b"9", [other])) is None
    memory.put(keys[9], range(5))
    memory.put(keys[9], range(5))
    assert memory.get(keys[9]) == range(5)
    assert len(memory) == 7
