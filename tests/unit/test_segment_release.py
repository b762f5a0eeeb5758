"""The release of segments: which of the journal's segments the sinks still need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conditions import wait_for

from fastlog.block import Kind, make_run
from fastlog.config import Config
from fastlog.config.tree import SinkConfig
from fastlog.journal import Journal, SinkPosition, Snapshot, write_position
from fastlog.receiver.segment_release import SegmentRelease

KIB = 1 << 10


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with_segments = Journal(tmp_path / "journal", segment=16 * KIB, size=1 << 20, delay=0)
    for _ in range(40):
        with_segments.append(make_run(Kind.STOCK, [bytes(KIB)], peer="127.0.0.1:5"), 1)
        wait_for(lambda: with_segments.durable == with_segments.end)
    yield with_segments
    with_segments.close()


def test_a_segment_stays_until_every_sink_has_made_its_blocks_durable(
    journal: Journal, tmp_path: Path
) -> None:
    sinks = [SinkConfig("sqlite:", "fast", "hold"), SinkConfig("ndjson:", "slow", "skip")]
    handshakes: Any = SimpleNamespace(snapshot=lambda: Snapshot(journal.durable, b""))
    release = SegmentRelease(Config(data_dir=tmp_path, sinks=sinks), journal, handshakes)

    def set_position(sink: str, durable: int, node: str = journal.node) -> None:
        at = SinkPosition(node=node, cursor=durable, durable=durable, index=None, at=0.0)
        write_position(tmp_path, sink, at)

    set_position("fast", journal.durable)
    release.release()
    assert journal.oldest == 0
    set_position("slow", journal.durable, node="of another journal")
    release.release()
    assert journal.oldest == 0
    set_position("slow", 20 * KIB)
    release.release()
    assert 0 < journal.oldest <= 20 * KIB
