"""Export from a server under load and import into one, each killed in the middle: exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conditions import wait_for
from faults import numbers
from lossless_clients import FAST, Client
from servers import Server, rows
from transfers import assert_prefix, killed_when, load, numbers_of_lines, run

MANY = 12_000
"""Records that a command reads and stores in several batches."""


def blocks(path: Path) -> list[dict[str, Any]]:
    return list(rows(path, "blocks"))


def test_an_export_and_an_import_under_load_are_exact(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    output = tmp_path / "all.ndjson"
    with (
        Server(tmp_path / "one", config=FAST) as one,
        Server(tmp_path / "two", config=FAST) as two,
        load(one) as client,
        Client(one.port, "bulk") as bulk,
        Client(two.port, "own") as own,
    ):
        bulk.log(MANY)
        bulk.flush()
        wait_for(lambda: one.stored() > MANY)
        stored = numbers(one.records())
        words = ("export", "--data-dir", one.data, "-o", output)
        part, state = tmp_path / "all.ndjson.part", tmp_path / "all.ndjson.part.json"
        was_killed = [
            killed_when(state.exists, *words),
            killed_when(lambda: part.stat().st_size > 1, *words, "--resume"),
        ]
        assert any(was_killed)
        run(*words, "--resume")
        exported = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
        found = numbers_of_lines(output)
        for name, first in (("load", 1), ("bulk", 1), ("stock", 0)):
            assert_prefix(found[name], len(stored[name]), first)
        words = ("import", output, "--data-dir", two.data)
        node = exported[0]["node"]

        def is_begun() -> bool:
            return any(
                row["node"] == node for path in two.logs.glob("*.db") for row in blocks(path)
            )

        was_killed = []
        for condition in ((two.data / "import.lock").exists, is_begun):
            own.log(50)
            own.flush()
            was_killed.append(killed_when(condition, *words))
        assert any(was_killed)
        own.log(50)
        own.flush()
        run(*words)
        run(*words)
        wait_for(lambda: len(numbers(two.records()).get("own", [])) == 150)
        assert client.errors == own.errors == []
        found_rows = two.records()
        assert len(found_rows) == len(exported) + 150
        assert {(r["node"], r["offset"], r["idx"]) for r in found_rows} > {
            (r["node"], r["offset"], r["idx"]) for r in exported
        }
        own_rows = [row for row in found_rows if row["node"] != exported[0]["node"]]
        assert numbers(own_rows) == {"own": [*range(1, 151)]}
        assert "sound" in run("check", "--deep", "--data-dir", two.data)
