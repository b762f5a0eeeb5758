"""`fastlog check` of a running server is a health check: what is wrong has FAILED, exit code 1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Run, command_for
from conditions import wait_for
from faults import SMALL_JOURNAL, small_disk, stopped
from plugins import install
from senders import stock_frame
from servers import Server

from fastlog.cli import health_checks
from fastlog.status import sink_reports

CONFIG = 'listen = ["tcp://127.0.0.1:0"]\n'
FAILING = """
from fastlog.errors import SinkUnavailableError
from fastlog.sinks import Sink

class Sink(Sink):
    def open(self, node):
        return 0

    def apply(self, blocks):
        raise SinkUnavailableError("the department is closed")

    def cursor(self):
        return 0

    def sync(self):
        return 0

    def close(self):
        pass
"""
CLOSED = FAILING.replace(
    "return 0\n\n    def apply", 'raise SinkUnavailableError("not open")\n\n    def apply'
)


def lost(server: Server) -> int:
    return sum(loss["count"] for loss in server.losses())


class Check:
    """Runs `fastlog check`, and returns what it prints."""

    def __init__(self, command: Run, config: Path, env: pytest.MonkeyPatch) -> None:
        self._command, self._config = command, config
        env.delenv("FASTLOG_LISTEN", raising=False)

    def failed(self) -> list[str]:
        """Return the lines that have FAILED; the exit code must agree."""
        result = self._command("check", "--config", self._config)
        assert result.err == ""
        lines = [line[8:] for line in result.out.splitlines() if line.startswith("FAILED")]
        assert result.code == (1 if lines else 0)
        return lines

    def only_failure(self) -> str:
        """Wait until one line has FAILED, and return it."""
        [line] = wait_for(lambda: len(lines := self.failed()) == 1 and lines)
        return line

    def tree(self) -> list[dict[str, str]]:
        result = self._command("check", "--config", self._config, "--json")
        found: list[dict[str, str]] = json.loads(result.out.splitlines()[-1])
        assert result.code == (1 if any(each["state"] == "failed" for each in found) else 0)
        return found


@pytest.fixture
def check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Check:
    config = tmp_path / "check.toml"
    config.write_text(CONFIG)
    capsys.readouterr()
    return Check(command_for(tmp_path / "data", capsys), config, monkeypatch)


def test_a_healthy_server_passes(tmp_path: Path, check: Check) -> None:
    with Server(tmp_path) as server:
        server.connect(stock_frame("hello")).close()
        server.wait_stored(1)
        wait_for(lambda: not check.failed())
        found = {each["subject"]: each for each in check.tree()}
        assert found["losses"] == {
            "state": "ok", "subject": "losses", "text": "none in the last 5 minutes",
        }  # fmt: skip
        assert found["worker sqlite"]["state"] == "ok"
        assert found["receiver"]["state"] == "ok"


def test_dropped_records_and_a_full_journal_fail(tmp_path: Path, check: Check) -> None:
    with Server(tmp_path, config=SMALL_JOURNAL) as server:
        wait_for(lambda: not check.failed())
        with stopped(server.children()["worker sqlite"]):
            client = server.connect()
            frames = stock_frame("x" * 10_000) * 10
            wait_for(lambda: client.sendall(frames) or server.status()["recent_dropped"] > 0)
            client.close()
            losses, journal = sorted(
                line for line in check.failed() if line.startswith(("losses", "journal"))
            )[::-1]
            assert losses.endswith(" records were lost in the last 5 minutes")
            assert journal.startswith("journal: ") and "of 1 MiB used" in journal
        wait_for(lambda: lost(server) == server.status()["recent_dropped"])  # all is in the ledger
        line = check.only_failure()
        text = f"losses: {lost(server)} records were lost in the last 5 minutes: journal full"
        assert line == text


def test_a_sink_in_error_and_one_that_never_opened_fail(tmp_path: Path, check: Check) -> None:
    install(tmp_path / "plugins", {"failing": FAILING, "closed": CLOSED})
    env = {"PYTHONPATH": str(tmp_path / "plugins")}
    with Server(tmp_path, sinks=["sqlite:", "failing:x", "closed:x"], env=env) as server:
        server.connect(stock_frame("hello")).close()
        wait_for(
            lambda: "worker failing: the sink fails: the department is closed" in check.failed()
        )
        assert any(line.startswith("worker closed: the sink ") for line in check.failed())
        assert not any(line.startswith("worker sqlite") for line in check.failed())


def test_a_stopped_worker_fails_by_its_silence_and_by_what_waits(
    tmp_path: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_reports, "SILENT", 2.0)
    monkeypatch.setattr(health_checks, "BEHIND", 2.0)
    with Server(tmp_path) as server:
        wait_for(lambda: not check.failed())
        with stopped(server.children()["worker sqlite"]):
            server.connect(stock_frame("a") + stock_frame("b")).close()
            behind, silent = wait_for(lambda: len(lines := check.failed()) == 2 and lines)
            assert silent.startswith("worker sqlite: no sign of life for ")
            assert behind.startswith("worker sqlite: 2 records behind, the oldest of which was ")
        wait_for(lambda: not check.failed())


def test_a_damaged_day_file_fails_while_the_server_runs(tmp_path: Path, check: Check) -> None:
    with Server(tmp_path) as server:
        wait_for(lambda: not check.failed())
        server.logs.mkdir(exist_ok=True)
        (server.logs / "2020-01-01.db").write_bytes(b"\x99" * 8192)
        line = check.only_failure()
        assert line.startswith(f"day file {server.logs}/2020-01-01.db: is damaged")


def test_a_disk_that_is_nearly_full_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "80m") as disk, Server(disk) as server:
        (disk / "check.toml").write_text(CONFIG)
        check = Check(command_for(server.data, capsys), disk / "check.toml", monkeypatch)
        wait_for(lambda: not check.failed())
        (disk / "ballast").write_bytes(bytes(40 << 20))
        text = "the disk is nearly full"
        lines = wait_for(
            lambda: (found := check.failed()) and all(text in line for line in found) and found
        )
        assert lines[0].startswith(f"data directory {server.data}: ")
        (disk / "ballast").unlink()


def test_a_server_that_does_not_run_any_more_is_a_warning(tmp_path: Path, check: Check) -> None:
    with Server(tmp_path) as server:
        wait_for(lambda: server.status())
        assert server.stop() == 0
    assert check.failed() == []
    [found] = [each for each in check.tree() if each["state"] == "warning"]
    assert found["subject"] == "server"
    assert found["text"].startswith("not running; last status ")


def test_the_sinks_of_another_configuration_are_a_warning(tmp_path: Path, check: Check) -> None:
    with Server(tmp_path, sinks=[f"ndjson://{tmp_path}/x"]) as server:
        wait_for(lambda: server.status())
        [warning] = [each for each in check.tree() if each["state"] == "warning"]
        assert warning["subject"] == "configuration of sink sqlite"
        assert warning["text"].startswith("the running server has no such sink; reload it")
        server.stop()
    with Server(tmp_path, sinks=[f"sqlite://{tmp_path}/days"]) as server:
        text = f"the running server stores in sqlite://{tmp_path}/days, not in sqlite:; reload it"
        wait_for(lambda: any(each["text"].startswith(text) for each in check.tree()))


def test_a_day_file_that_was_set_aside_fails_until_it_is_deleted(
    tmp_path: Path, check: Check
) -> None:
    with Server(tmp_path) as server:
        server.connect(stock_frame("hello")).close()
        server.wait_stored(1)
        wait_for(lambda: not check.failed())
        aside = server.logs / "2020-01-01.db.damaged"
        aside.write_bytes(b"x")
        line = check.only_failure()
        assert line.startswith(f"day file {aside}: was damaged, and a sink set it aside")
        aside.unlink()
        wait_for(lambda: not check.failed())
