"""benchmarks/blog_load.py, small: it passes where all is well, and fails where it has to."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_for, wait_past_midnight
from places import BENCHMARKS
from senders import stock_frame
from servers import Server

sys.path.append(str(BENCHMARKS))

from blog_store import Stored, Verdict, check
from usage import ENDED, measure

SMALL = ("--processes", "10", "--runs", "20", "--records", "30", "60", "--pause", "0", "2")
EXPECTED = {"load-0": 3, "load-1": 2}


def blog_load(home: Path, *arguments: str | Path, status: int = 0) -> Any:
    """Its figures; it has to end with `status`. What it leaves behind is in `home`."""
    script = BENCHMARKS / "blog_load.py"
    done = subprocess.run(
        [sys.executable, script, *SMALL, "--json", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "TMPDIR": str(home)},
    )  # fmt: skip
    assert status == done.returncode, done.stdout + done.stderr
    assert "\033" not in done.stdout + done.stderr  # no progress bar where nobody looks
    return json.loads(done.stdout)


def rows(*pairs: tuple[str, int]) -> list[Stored]:
    return [Stored(0, idx, trace_id, number) for idx, (trace_id, number) in enumerate(pairs)]


def arrived(*numbers: int) -> list[Stored]:
    """These records of `load-0`, and all of `load-1`."""
    return rows(*(("load-0", number) for number in numbers), ("load-1", 0), ("load-1", 1))


# ---- the script ----------------------------------------------------------------------------


def test_each_record_of_a_small_load_is_stored_once_in_order_and_the_figures_say_so(
    tmp_path: Path,
) -> None:
    figures = blog_load(tmp_path, "--seed", "7")
    assert list(tmp_path.iterdir()) == []  # nothing to look at where all is well
    assert (figures["processes"], figures["runs"]) == (10, 20)
    assert 20 * 30 <= figures["records"] <= 20 * 60
    assert figures["records"] == figures["stored"]
    faults = ("missing", "doubled", "disordered", "unknown", "rejected", "lost", "failed_clients")
    assert [0] * len(faults) == [figures[fault] for fault in faults]
    assert figures["passed"] is True
    assert 0 < figures["clients_seconds"] <= figures["seconds"]
    roles = {"supervisor", "receiver", "worker sqlite", ENDED}
    assert roles == set(figures["cpu_by_role"])
    assert figures["cpu_seconds_per_million"] == pytest.approx(
        sum(figures["cpu_by_role"].values()), abs=0.01
    )
    assert 10 << 20 < figures["peak_pss"] <= figures["peak_rss"]


def test_a_running_server_and_its_unix_socket_can_be_used_and_what_it_holds_does_not_count(
    tmp_path: Path,
) -> None:
    with Server(tmp_path, listen=["tcp://127.0.0.1:0", f"unix://{tmp_path}/s"]) as server:
        server.connect(b"GET / HTTP/1.1\r\n\r\n").close()
        server.connect(stock_frame("another's", trace_id="theirs", number=1)).close()
        server.wait_stored(1)
        wait_for(server.rejected, "the request is in the ledger")
        sent = 1
        for url in server.urls():
            figures = blog_load(tmp_path, "--url", url, "--data-dir", server.data)
            sent += figures["records"]
            assert figures["records"] == figures["stored"]
        assert sent == server.stored()


def test_it_fails_when_the_store_lost_a_record_of_one_run_and_names_it(tmp_path: Path) -> None:
    wait_past_midnight()
    with Server(tmp_path) as server:
        server.connect(stock_frame("so that there is a store")).close()
        server.wait_stored(1)
        [day] = (server.data / "logs").glob("*.db")
        with closing(sqlite3.connect(day, timeout=30)) as store:
            store.execute(
                "CREATE TRIGGER thief AFTER INSERT ON entries"
                " WHEN new.extra LIKE '%-13\"%' AND json_extract(new.extra, '$.number') = 4"
                " BEGIN DELETE FROM entries WHERE id = new.id; END"
            )
        figures = blog_load(
            tmp_path,
            "--url",
            server.urls()[0],
            "--data-dir",
            server.data,
            "--patience",
            "1",
            status=1,
        )
    assert figures["passed"] is False
    assert (figures["records"] - 1, 1, 0) == (
        figures["stored"],
        figures["missing"],
        figures["doubled"],
    )
    assert [f"run {figures['load']}-13, record 4: is missing, the first of 1"] == figures[
        "examples"
    ]


def test_a_url_without_its_data_directory_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "blog_load.py", "--url", "tcp://127.0.0.1:9"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "--data-dir" in done.stderr) == (2, True)


# ---- the check -----------------------------------------------------------------------------


def test_runs_that_are_stored_whole_and_in_order_pass_however_they_are_mixed() -> None:
    mixed = rows(("load-1", 0), ("load-0", 0), ("load-0", 1), ("load-1", 1), ("load-0", 2))
    assert Verdict(5, 0, 0, 0, 0, []) == check(EXPECTED, mixed)


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ((0, 2), Verdict(4, 1, 0, 0, 0, ["record 1: is missing, the first of 1"])),
        ((), Verdict(2, 3, 0, 0, 0, ["record 0: is missing, the first of 3"])),
        ((0, 1, 1, 2), Verdict(6, 0, 1, 0, 0, ["record 1: is stored twice"])),
        ((0, 1, 2, 0), Verdict(6, 0, 1, 0, 0, ["record 0: is stored twice"])),
        ((0, 2, 1), Verdict(5, 0, 0, 1, 0, ["record 1: came after 2"])),
        ((0, 1, 2, 3), Verdict(6, 0, 0, 0, 1, ["record 3: was not sent"])),
        ((-1, 0, 1, 2), Verdict(6, 0, 0, 0, 1, ["record -1: was not sent"])),
    ],
    ids=["missing", "a run", "doubled", "doubled later", "swapped", "beyond", "unnumbered"],
)
def test_one_fault_is_seen_counted_and_named(numbers: tuple[int, ...], verdict: Verdict) -> None:
    examples = [f"run load-0, {fault}" for fault in verdict.examples]
    assert verdict._replace(examples=examples) == check(EXPECTED, arrived(*numbers))


def test_a_run_that_nobody_sent_is_no_part_of_another() -> None:
    strange = [*arrived(0, 1, 2), Stored(1, 0, "load-7", 0)]
    assert Verdict(6, 0, 0, 0, 1, ["run load-7, record 0: was not sent"]) == check(
        EXPECTED, strange
    )


# ---- what it measures ----------------------------------------------------------------------


def test_the_time_of_a_worker_that_died_still_counts(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        before = measure(server.pid)
        used = before.cpu["worker sqlite"]
        assert used > 0
        subprocess.run(["kill", "-9", str(server.children()["worker sqlite"])], check=True)
        server.connect(stock_frame("stored by the next one")).close()
        server.wait_stored(1)
        after = measure(server.pid)
        ticks = 2 / os.sysconf("SC_CLK_TCK")  # user and system time of the dead are cut to ticks
        assert after.cpu[ENDED] > used - ticks
        assert sum(after.cpu.values()) > sum(before.cpu.values())
