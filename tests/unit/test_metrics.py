"""Metrics and probes of data directories that are damaged, or of another version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from fastlog.errors import FastlogError
from fastlog.ledger import LedgerError
from fastlog.metrics.collector import ServerCollector
from fastlog.metrics.health import find_fault, find_hindrance
from fastlog.status.data_directory import read_status
from fastlog.status.tallies import Erasures, read_erased, read_tallies


def metrics_of(data_dir: Path) -> dict[str, Metric]:
    return {metric.name: metric for metric in ServerCollector(data_dir).collect()}


def test_a_status_that_cannot_be_read_is_a_fault_and_not_an_exception(tmp_path: Path) -> None:
    (tmp_path / "status.json").mkdir()
    with pytest.raises(FastlogError, match=r"status\.json cannot be read: Is a directory"):
        read_status(tmp_path)
    assert "cannot be read" in find_fault(tmp_path)
    assert "cannot be read" in find_hindrance(tmp_path)
    [sample] = metrics_of(tmp_path)["fastlog_receiver_up"].samples
    assert sample.value == 0


def test_commit_times_with_the_buckets_of_another_version_are_left_out(tmp_path: Path) -> None:
    position = {
        "node": "ab" * 16, "cursor": 1, "durable": 1, "index": 1, "at": 1.0, "error": None,
        "when_full": "hold", "commits": {"counts": [1, 2], "seconds": 3.0},
    }  # fmt: skip
    (tmp_path / "positions").mkdir()
    (tmp_path / "positions" / "s.json").write_text(json.dumps(position))
    found = metrics_of(tmp_path)
    assert found["fastlog_sink_commit_seconds"].samples == []
    assert [each.labels for each in found["fastlog_sink_filtered_records"].samples] == [
        {"sink": "s"}
    ]


@pytest.mark.parametrize("name", ["ledger.db", "source.json", "positions"])
def test_what_is_damaged_is_left_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff{" * 3000)
    found = metrics_of(tmp_path)
    assert found["fastlog_build"].samples
    assert ("fastlog_rejected" in found) == (name != "ledger.db")


def test_a_ledger_of_another_user_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ledger.db").touch()

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fastlog.status.tallies.open_file", fail)
    with pytest.raises(LedgerError, match=r"ledger\.db cannot be read: Permission denied"):
        read_tallies(tmp_path, 0.0)
    assert read_erased(tmp_path) == Erasures()
    found = metrics_of(tmp_path)
    assert [each.value for each in found["fastlog_ledger_readable"].samples] == [0]
    assert "fastlog_rejected" not in found
