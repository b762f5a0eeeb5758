"""The supervisor's watch over its children: who is replaced, who is not, and what the log says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import Clock
from conditions import wait_for
from faults import stopped

from fastlog.server.life_watch import INTERVAL, SILENCE, LifeWatch
from fastlog.worker.life import CALLS, LifePage, started_at, state_of

LOOKS = int(SILENCE / INTERVAL)


class Harness:
    """A watch over one worker, whose process is real and whose signs are the test's."""

    def __init__(self, data_dir: Path, pid: int) -> None:
        self.data_dir = data_dir
        self.clock = Clock(0.0)
        self.watch = LifeWatch(data_dir, self.clock)
        self.kills = 0
        self.worker: Any = SimpleNamespace(
            name="s", pid=pid, is_alive=True, restarts=True, stop_requested=False, kill=self._kill
        )
        self.page = LifePage(data_dir, "s")
        self.sign()

    def _kill(self) -> None:
        self.kills += 1
        self.worker.stop_requested = True

    def sign(self, call: str = "") -> None:
        pid = self.worker.pid
        self.page.publish(pid, started_at(pid), 5.0, CALLS.index(call))

    def look(self, times: int, seconds: float = INTERVAL) -> None:
        for _ in range(times):
            self.clock.now += seconds
            self.watch.check([self.worker])


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield Harness(tmp_path, process.pid)
        process.kill()


def test_a_worker_is_killed_once_after_thirty_seconds_without_a_sign(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        harness.look(LOOKS)
        harness.sign()
    assert harness.kills == 0
    harness.look(LOOKS)
    assert harness.kills == 0
    harness.look(10)
    assert harness.kills == 1
    (record,) = caplog.records
    assert record.getMessage().startswith("sink s: its worker (pid ")
    assert "has given no sign of life for 30 s; it is killed and started" in record.getMessage()


def test_a_suspended_machine_kills_no_worker(harness: Harness) -> None:
    harness.look(2)
    harness.look(3, seconds=8 * 3600)
    assert harness.kills == 0
    harness.look(LOOKS)
    assert harness.kills == 1


@pytest.mark.parametrize("reason", ["starting", "stopping", "not restarted", "dead", "receiver"])
def test_processes_that_are_not_to_be_replaced_are_left_alone(
    harness: Harness, reason: str
) -> None:
    worker = harness.worker
    if reason == "starting":
        worker.pid = os.getpid()  # what is published is of the process before
    elif reason == "stopping":
        worker.stop_requested = True
    elif reason == "not restarted":
        worker.restarts = False
    elif reason == "dead":
        worker.is_alive = False
    else:
        worker.name = ""
    harness.look(3 * LOOKS)
    assert harness.kills == 0


def test_without_a_page_no_worker_is_killed(harness: Harness) -> None:
    harness.page.path.unlink()
    harness.look(3 * LOOKS)
    assert harness.kills == 0


def test_a_call_of_the_sink_is_reported_once_and_when_it_is_over(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.sign("sync")
    harness.look(3 * LOOKS)
    assert harness.kills == 0
    (record,) = caplog.records
    assert "has been waiting inside its sink's own call of sync() for 30 s" in record.getMessage()
    harness.sign()
    harness.look(1)
    last = caplog.records[-1].getMessage()
    assert last.startswith(
        "sink s: its worker continues; it was waiting inside its sink's own call"
    )
    assert (len(caplog.records), harness.kills) == (2, 0)


def test_a_worker_that_a_signal_has_stopped_inside_a_call_is_killed(harness: Harness) -> None:
    harness.sign("sync")
    harness.look(2 * LOOKS)
    with stopped(harness.worker.pid):
        wait_for(lambda: state_of(harness.worker.pid)[0] == "T")
        harness.look(1)
    assert harness.kills == 1


class Other:
    """Has the watch look at a child that is no worker: its signs come through its socket."""

    def __init__(self, harness: Harness, name: str) -> None:
        self.harness, worker = harness, harness.worker
        worker.name, worker.role, worker.signs = f":{name}", name, 0

    def look(self, times: int, signs: int = 0) -> int:
        """Return how often the child was killed so far, after looks with a new sign at each."""
        for _ in range(times):
            self.harness.worker.signs += signs
            self.harness.look(1)
        return self.harness.kills


@pytest.mark.parametrize("name", ["tls", "web", "source"])
def test_a_child_that_gives_signs_is_killed_when_they_end(
    harness: Harness, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    other = Other(harness, name)
    assert other.look(3 * LOOKS) == 0, "an older version gives none"
    assert other.look(2 * LOOKS, signs=1) == 0
    assert other.look(LOOKS - 1) == 0
    assert other.look(10) == 1
    (record,) = caplog.records
    text = record.getMessage()
    assert text.startswith(f"{name} (pid {harness.worker.pid}) has given no sign of life for 30 s")
    assert text.endswith("; it is killed and started again")


def test_a_process_that_serves_its_last_connections_is_killed_too(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    other = Other(harness, "tls123")
    harness.worker.restarts = False
    other.look(1, signs=1)
    assert other.look(LOOKS) == 1
    assert caplog.records[-1].getMessage().endswith("for 30 s; it is killed")


def test_a_source_whose_sink_waits_is_only_reported(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    other, pid = Other(harness, "source"), harness.worker.pid
    page = LifePage(harness.data_dir / "source", "sqlite.node")
    other.look(1, signs=1)
    page.publish(pid, started_at(pid), 5.0, CALLS.index("sync"))
    assert other.look(3 * LOOKS) == 0
    text = caplog.records[-1].getMessage()
    assert text.endswith("inside its sink's own call of sync() for 30 s; it is not replaced")
    page.publish(pid, started_at(pid), 5.0, 0)
    assert other.look(LOOKS) == 0
    assert other.look(1) == 1


def test_signs_of_the_workers_of_a_source_are_signs_of_it(harness: Harness) -> None:
    other, pid = Other(harness, "source"), harness.worker.pid
    page = LifePage(harness.data_dir / "source", "sqlite.node")
    other.look(1, signs=1)
    for _ in range(2 * LOOKS):
        page.publish(pid, started_at(pid), 5.0, 0)
        assert other.look(1) == 0
