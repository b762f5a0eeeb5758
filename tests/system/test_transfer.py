"""Export from a server under load and import into one, each killed in the middle: exact."""

from __future__ import annotations

import json
from pathlib import Path

from conditions import wait_for
from faults import numbers
from lossless_clients import FAST, Client
from servers import Server
from transfers import assert_prefix, killed_when, load, numbers_of_lines, run

SLOW = 4_000
"""Records that take a command long enough to be killed in the middle."""


def test_an_export_and_an_import_under_load_are_exact(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    output = tmp_path / "all.ndjson"
    with (
        Server(tmp_path / "one", config=FAST) as one,
        Server(tmp_path / "two", config=FAST) as two,
        load(one) as client,
        Client(two.port, "own") as own,
    ):
        wait_for(lambda: one.stored() > SLOW, seconds=60)
        stored = numbers(one.records())
        words = ("export", "--data-dir", one.data, "--output", output)
        part = tmp_path / "all.ndjson.part"
        was_killed = [
            killed_when(part, at * 500_000 + 1, *words, *(["--resume"] if at else []))
            for at in range(3)
        ]
        assert any(was_killed)
        run(*words, "--resume")
        exported = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
        found = numbers_of_lines(output)
        for name, first in (("load", 1), ("stock", 0)):
            assert_prefix(found[name], len(stored[name]), first)
        day = next(two.logs.glob("*.db"), None)
        words = ("import", output, "--data-dir", two.data)
        for size in (1, 200_000, 1_000_000):
            own.log(50)
            own.flush()
            day = day or wait_for(lambda: next(two.logs.glob("*.db"), None))
            killed_when(day.with_name(f"{day.name}-wal"), size, *words)
        own.log(50)
        own.flush()
        run(*words)
        run(*words)
        wait_for(lambda: len(numbers(two.records()).get("own", [])) == 200)
        assert client.errors == own.errors == []
        rows = two.records()
        assert len(rows) == len(exported) + 200
        assert {(r["node"], r["offset"], r["idx"]) for r in rows} > {
            (r["node"], r["offset"], r["idx"]) for r in exported
        }
        own_rows = [row for row in rows if row["node"] != exported[0]["node"]]
        assert numbers(own_rows) == {"own": [*range(1, 201)]}
        assert "sound" in run("check", "--deep", "--data-dir", two.data)
