"""The store of a central: what it does for no node gives signs of life, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastlog.config import Config
from fastlog.config.tree import SourceConfig
from fastlog.source.store import Store
from fastlog.worker.life import Life, read_lives


def test_housekeeping_of_the_store_is_seen_as_a_call_of_its_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may wait for a lock longer than a process may be silent."""
    config = Config(data_dir=tmp_path, source=SourceConfig("nats://host/LOGS"))
    store = Store(config, "0" * 32, takes_over=False)
    seen: list[Life] = []
    tick = store._sink.tick

    def watched_tick() -> None:
        seen.extend(read_lives(tmp_path / "source").values())
        tick()

    monkeypatch.setattr(store._sink, "tick", watched_tick)
    store.tick()
    assert [(life.pid, life.call) for life in seen] == [(os.getpid(), "tick")]
    assert [life.call for life in read_lives(tmp_path / "source").values()] == [""]
