"""What a central takes from a stream, as `stats`, `check` and metrics show it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from commands import Run

from fastlog.cli.health_checks import check_source_health
from fastlog.source.report import NodeReport, SourceReport, read_report, remove_report, write_report

pytestmark = pytest.mark.usefixtures("nothing_configured")


@pytest.fixture
def central(data: Path) -> Path:
    """A data directory whose source takes two nodes, of which one misses blocks."""
    now = time.time()
    nodes = [
        NodeReport(node="aa", cursor=70, stored=70, received=now - 5),
        NodeReport(
            node="bb", cursor=40, stored=30, received=now - 120, pending=3, gap=40, damaged=1,
            error="the department is closed",
        ),
    ]  # fmt: skip
    report = SourceReport(
        at=now, url="nats://n1/LOGS", central="cc", nodes=nodes, elsewhere=1, bytes=2048,
        limit=1 << 30, warnings=["the stream LOGS has one replica"],
    )  # fmt: skip
    write_report(data, report)
    return data


def test_stats_shows_each_node(central: Path, command: Run) -> None:
    lines = command("stats", "--data-dir", central).out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.startswith(("aa ", "bb "))}
    assert rows["aa"][-4:] == ["0", "0", "s", "none"]
    assert rows["bb"][-3:] == ["from", "offset", "40"]
    assert "stream nats://n1/LOGS: 2 KiB of 1 GiB" in lines
    assert "nodes that other centrals take, or none: 1" in lines
    assert "source: the stream LOGS has one replica" in lines
    assert "node bb: the department is closed" in lines
    tree = json.loads(command("stats", "--json", "--data-dir", central).out)
    assert [node["gap"] for node in tree["source"]["nodes"]] == [None, 40]


def test_check_names_what_is_wrong_with_a_node(central: Path) -> None:
    verdicts = [*check_source_health(central, time.time())]
    assert [(each.state.value, each.subject) for each in verdicts] == [
        ("ok", "source"),
        *[("FAILED", "node bb")] * 4,
    ]
    silent = [*check_source_health(central, time.time() + 60)]
    assert silent[0].text == "has reported nothing for 60 s"


def test_metrics_have_each_node(central: Path) -> None:
    pytest.importorskip("prometheus_client", reason="metrics need the extra 'web'")
    from fastlog.metrics.source import source_metrics

    report = read_report(central)
    assert report is not None
    found = {
        (sample.name, sample.labels.get("node")): sample.value
        for family in source_metrics(report, time.time())
        for sample in family.samples
    }
    assert found["fastlog_node_gap", "bb"] == found["fastlog_node_failing", "bb"] == 1
    assert found["fastlog_node_pending_messages", "bb"] == 3
    assert found["fastlog_node_lag_seconds", "aa"] == 0
    assert 120 <= found["fastlog_node_lag_seconds", "bb"] < 180
    assert found["fastlog_stream_bytes", None] == 2048


def test_a_server_without_a_source_has_none(central: Path, command: Run) -> None:
    remove_report(central)
    assert json.loads(command("stats", "--json", "--data-dir", central).out)["source"] is None
    assert [*check_source_health(central, time.time())] == []
