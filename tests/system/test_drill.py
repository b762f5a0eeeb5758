"""The drill on real servers and stores, and its command: it removes its files, however it ends."""

from __future__ import annotations

import importlib
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conditions import wait_for, wait_past_midnight
from drill_processes import left_behind, with_client
from drill_rows import kept_rows
from servers import FASTLOG, Server

from fastlog.cli import fastlog
from fastlog.drill.clients import Client, Kind
from fastlog.drill.comparison import Account, count_breaches
from fastlog.drill.harness import ClientRun, Setting
from fastlog.drill.interrupts import Interrupts
from fastlog.drill.report import Outcome, compare
from fastlog.drill.scenario import MEMORY, PHASES, STOCK
from fastlog.drill.server_harness import ServerHarness
from fastlog.drill.stored import LedgerTotals, read_ledgers, read_numbers
from fastlog.errors import FastlogError
from fastlog.ledger import Entry, Ledger
from fastlog.record import Loss

__all__ = ["with_client"]

# the name fastlog.cli.drill is the command
command = importlib.import_module("fastlog.cli.drill")

# ---- the comparison and a real store -------------------------------------------------------


def run_client(server: Server, home: Path, kind: Kind) -> ClientRun:
    client = Client(kind, f"a {kind.handler} client", home)
    client.start(server.port, rate=500, seed=1)
    try:
        wait_for(lambda: client.count_logged() > 300)
        client.request_stop()
        return ClientRun(PHASES[0], client, client.wait())
    finally:
        client.close()


def delete_record(day: sqlite3.Connection) -> None:
    day.execute("DELETE FROM entries WHERE id = (SELECT max(id) FROM entries) / 2")


def duplicate_record(day: sqlite3.Connection) -> None:
    names = [row[1] for row in day.execute("PRAGMA table_info(entries)") if row[1] != "id"]
    listed = ", ".join(names)
    day.execute(f"INSERT INTO entries ({listed}) SELECT {listed} FROM entries LIMIT 1")


def swap_records(day: sqlite3.Connection) -> None:
    """Swap the first and the last record of the fastlog client."""
    condition = "json_extract(extra, '$.client') = 'a fastlog client'"
    first, last = day.execute(f"SELECT min(id), max(id) FROM entries WHERE {condition}").fetchone()
    extras = dict(day.execute("SELECT id, extra FROM entries"))
    for at, other in ((first, last), (last, first)):
        day.execute("UPDATE entries SET extra = ? WHERE id = ?", (extras[other], at))


def declare_loss(data: Path, client_id: str) -> None:
    """Declare a stored record as lost in the ledger."""
    loss = Loss("", "memory full", 1, 0.0, 0.0, f"client {client_id}, records 7 to 7")
    with Ledger(data / "ledger.db") as ledger:
        ledger.record("a node", [Entry(1, 0, loss)], 2)


def test_a_store_with_a_fault_breaks_its_promise(
    tmp_path: Path, with_client: dict[str, str]
) -> None:
    wait_past_midnight()
    with Server(tmp_path) as server:
        runs = [run_client(server, tmp_path, kind) for kind in (STOCK, MEMORY)]
        sent = [run.report.sent for run in runs]
        server.wait_stored(sum(sent))
        assert server.stop() == 0

    def outcome(data: Path) -> Outcome:
        numbers, ledger = read_numbers(data / "logs"), read_ledgers([data])
        return compare(numbers, ledger, runs, 0, Counter(), 0.0)

    def broken(damage: Callable[[sqlite3.Connection], None]) -> set[str]:
        data = shutil.copytree(server.data, tmp_path / damage.__name__)
        (day,) = (data / "logs").glob("*.db")
        with closing(sqlite3.connect(day, isolation_level=None)) as connection:
            damage(connection)
        return {text for text, count in outcome(data).breaches.items() if count}

    assert outcome(server.data).holds
    assert [row.account for row in outcome(server.data).rows] == [Account(n, n) for n in sent]
    assert "what was sent is stored, or declared as lost" in broken(delete_record)
    assert broken(duplicate_record) == {"nothing is stored twice"}
    assert broken(swap_records) == {"each client's order is kept"}
    known, unknown = runs[1].report.client_id, "0" * 8
    assert known is not None
    for client_id in (known, unknown):
        data = shutil.copytree(server.data, tmp_path / f"declared {client_id}")
        declare_loss(data, client_id)
        assert sum(outcome(data).breaches.values()) == 1


# ---- a reload ------------------------------------------------------------------------------

SLOW = "ERROR reload: the new code was not ready to run after 10 s"


@pytest.mark.parametrize(
    "lines", [[SLOW, ""], ["ERROR reload: sink x: no module named x"], [SLOW, SLOW, SLOW]]
)
def test_only_a_reload_that_a_busy_machine_has_rejected_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    steps: list[str] = []
    setting = Setting(tmp_path, random.Random(1), 1.0, Interrupts(), steps.append)
    harness = ServerHarness(setting)
    harness.server.log.write_text("")
    rest = iter(lines)

    def reload() -> bool:
        line = next(rest)
        with harness.server.log.open("a") as log:
            log.write(f"{line}\n")
        return not line

    monkeypatch.setattr(harness.server, "reload", reload)
    if lines[-1]:
        with pytest.raises(FastlogError, match="the reload did not replace the server; see "):
            harness.replace_server(harness.server)
    else:
        harness.replace_server(harness.server)
    assert next(rest, None) is None
    assert steps == ["  reload rejected, since the machine was too busy"] * lines.count(SLOW)


# ---- the command ---------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, with_client: dict[str, str]) -> dict[str, str]:
    """Return an environment whose temporary files are in `tmp_path / "tmp"`."""
    (tmp_path / "tmp").mkdir()
    return {**with_client, "TMPDIR": str(tmp_path / "tmp")}


@pytest.mark.long
def test_a_drill_on_this_machine_keeps_all_promises(
    tmp_path: Path, temporary: dict[str, str]
) -> None:
    out = subprocess.run(
        [FASTLOG, "drill", "--json", "--seconds", "3", "--seed", "5"],
        env=temporary, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert out.returncode == 0, out.stdout + out.stderr
    result = json.loads(out.stdout)
    assert result["holds"]
    assert result["seed"] == 5
    assert "seed 5" in out.stderr
    assert {row["phase"] for row in result["rows"]} == {phase.name for phase in PHASES}
    assert all(row["sent"] > 10 and row["stored"] for row in result["rows"])
    assert all(row["twice"] == row["wrong"] == 0 for row in result["rows"])
    assert all(row["uncounted"] == 0 or row["may_lose"] for row in result["rows"])
    done = result["done"]
    assert min(done.values()) > 0, done
    assert {"kill -9 of everything", "freeze everything", "discard all traffic"} <= set(done)
    assert done["record sent again"] > 0
    assert result["directory"] is None
    assert left_behind(tmp_path / "tmp") == []


ONE_PHASE = """
import sys
from fastlog.cli import main
from fastlog.drill import scenario

scenario.PHASES = tuple(phase for phase in scenario.PHASES if phase.name == sys.argv[1])
assert scenario.PHASES, sys.argv
sys.argv[1] = "drill"
main()
"""
"""The command with one phase of the drill only."""
PHASE_OF = {"freeze everything": "freezes", "kill -9 of a client": "clients killed"}
"""The phase with this step. All have the others."""


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("seed", signal.SIGINT),
        ("reloads", signal.SIGTERM),
        ("freeze everything", signal.SIGHUP),
        ("kill -9 of a client", signal.SIGINT),
        ("compare", signal.SIGTERM),
    ],
)
def test_an_interrupted_drill_leaves_nothing_behind(
    tmp_path: Path, temporary: dict[str, str], moment: str, number: signal.Signals
) -> None:
    phase = PHASE_OF.get(moment, "reloads")
    with subprocess.Popen(
        [sys.executable, "-c", ONE_PHASE, phase, "--seconds", "1"],
        env=temporary, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any(moment in line for line in process.stderr)
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()
    wait_for(lambda: left_behind(tmp_path / "tmp") == [], "all of it is gone")


def test_without_the_client_package_a_drill_names_what_to_install(
    tmp_path: Path, temporary: dict[str, str]
) -> None:
    (tmp_path / "fastlog_client.py").write_text("raise ImportError")
    env = {**temporary, "PYTHONPATH": str(tmp_path)}
    out = subprocess.run(
        [FASTLOG, "drill"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert out.returncode == 1
    assert out.stdout == ""
    assert out.stderr == (
        "fastlog drill: the drill needs fastlog-client: "
        "pip install fastlog-client, or ./client in a checkout\n"
    )
    assert left_behind(tmp_path / "tmp") == []


def make_outcome(**fields: Any) -> Outcome:
    rows = kept_rows(**fields)
    return Outcome(
        7, rows, count_breaches(rows), {"reload": 3}, LedgerTotals({}, 0, {}, {"truncated": 1}), 1.0
    )


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the drill's directory; return it."""
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(command, "has_package", lambda: True)
    monkeypatch.setattr(command.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "home"))
    return tmp_path / "home"


def invoke_drill(
    monkeypatch: pytest.MonkeyPatch, result: Outcome | Exception, *args: str
) -> tuple[int, str, str]:
    def run(*_: object) -> Outcome:
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(command, "run", run)
    out = CliRunner().invoke(fastlog, ["drill", *args], standalone_mode=False)
    return out.return_value, out.stdout, out.stderr


def test_a_broken_promise_sets_the_exit_code_and_keeps_the_directory(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    broken = make_outcome(account=Account(sent=10, stored=10, twice=2))
    code, out, _ = invoke_drill(monkeypatch, broken)
    assert code == 1
    assert "BROKEN  nothing is stored twice: 2 times not" in out
    assert str(directory) in "".join(out.split("\n"))
    assert directory.exists()
    code, out, _ = invoke_drill(monkeypatch, broken, "--json")
    assert (code, json.loads(out)["holds"]) == (1, False)
    assert json.loads(out)["directory"] == str(directory)


def test_the_directory_is_kept_with_keep_and_else_removed(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    code, out, _ = invoke_drill(monkeypatch, make_outcome(), "--keep")
    assert code in (0, None)
    assert str(directory) in out
    assert directory.exists()
    code, out, _ = invoke_drill(monkeypatch, make_outcome())
    assert code in (0, None)
    assert "BROKEN" not in out
    assert not directory.exists()


def test_a_fault_that_was_left_out_is_reported_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    outcome = make_outcome()
    outcome.left_out = {"a full disk": "unshare: Operation not permitted"}
    _, out, _ = invoke_drill(monkeypatch, outcome)
    assert "\nleft out: a full disk: unshare: Operation not permitted\n" in out
    directory.mkdir()
    _, out, _ = invoke_drill(monkeypatch, outcome, "--json")
    assert json.loads(out)["left_out"] == outcome.left_out


def test_a_failed_drill_keeps_the_directory(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    code, out, err = invoke_drill(
        monkeypatch, FastlogError("the server did not start"), "--seed", "3"
    )
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"fastlog drill: the server did not start; the files are in {directory}, the seed was 3"
    )
    assert directory.exists()
