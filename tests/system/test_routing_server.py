"""Routing and erasing by a real server: exact, whichever worker is killed."""

from __future__ import annotations

import json
import re
import sqlite3
import struct
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_for
from places import ROOT
from senders import Sender, stock_frame
from servers import FASTLOG, Server, kill

TEXT = (ROOT / "docs" / "routing.md").read_text("utf-8")
SECRET, CARD = "hunter2", "4111111111111111"


def documented(tmp_path: Path) -> str:
    """Return the configuration of the page, with a file in this directory."""
    [text] = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert "ndjson:///var/log/" in text
    return str(text.replace("/var/log/", f"{tmp_path}/"))


def frame(number: int, **extra: object) -> bytes:
    logger, level = ("shop.cart", "web")[number % 2], (20, 30, 40)[number % 3]
    attributes = {"name": logger, "user": number % 10, "number": number, "password": SECRET}
    return stock_frame(f"{number} paid by {CARD}", level, **(attributes | extra))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def run(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    command = [FASTLOG, *words, "--data-dir", server.data]
    return subprocess.run(
        command, cwd=server.home, capture_output=True, text=True, timeout=120, check=False
    )


def stats(server: Server) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(run(server, "stats", "--json").stdout)
    return {sink["name"]: sink for sink in tree["sinks"]}


def test_the_documented_configuration_stores_exactly_what_it_says(tmp_path: Path) -> None:
    numbers = range(600)
    wanted = [n for n in numbers if n % 2 == 0 and n % 3]
    rejected = struct.pack(">L", len(SECRET)) + SECRET.encode()
    with Server(tmp_path, config=documented(tmp_path)) as server:
        for first in range(0, 600, 100):
            frames = b"".join(frame(n) for n in range(first, first + 100))
            server.connect(frames + (rejected if first == 200 else b"")).close()
            if first in (100, 300):
                for role, pid in server.children().items():
                    if role.startswith("worker"):
                        kill(pid)
        server.wait_stored(600)
        audit = tmp_path / "audit.ndjson"
        wait_for(lambda: len(lines(audit)) >= len(wanted))
        wait_for(lambda: all(each["lag_records"] == 0 for each in stats(server).values()))
        assert run(server, "check", "--deep").returncode == 0
        found = stats(server)
        server.stop()
    assert sorted(int(line["message"].split()[0]) for line in lines(audit)) == wanted
    assert {line["message"].split()[-1] for line in lines(audit)} == {"***"}
    assert {*lines(audit)[0]} == {
        *("created", "levelno", "levelname", "name", "message", "received", "extra"),
        *("offset", "idx"),
    }
    assert all(
        line["extra"] == {"user": int(line["message"].split()[0]) % 10} for line in lines(audit)
    )
    stored = server.records()
    assert sorted(json.loads(row["extra"])["number"] for row in stored) == list(numbers)
    # A worker that is killed may forget the counts of its last second, and counts nothing twice.
    assert 0 < found["audit"]["filtered"] <= 600 - len(wanted)
    assert 0 < found["sqlite"]["redacted"]["extra.password"] <= 600
    assert [row["raw"] for row in server.rejected()] == [b""]
    for path in [audit, *server.logs.iterdir(), server.data / "ledger.db"]:
        data = path.read_bytes()
        assert SECRET.encode() not in data, path
        assert CARD.encode() not in data, path
    assert run(server, "query", "--count", SECRET).stdout == "0\n"


@pytest.mark.soak
def test_erasures_and_kills_again_and_again_lose_nothing(tmp_path: Path) -> None:
    """Each round erases what one sender has sent, while another sends and the worker is killed."""
    with Server(tmp_path, env={"PYTHONHASHSEED": "0"}) as server:
        sender = Sender("kept", server, pause=0.0005)
        for round_number in range(12):
            frames = [frame(n, round=round_number) for n in range(400)]
            server.connect(b"".join(frames)).close()
            wait_for(lambda r=round_number: count_of(server, r) == 400)
            erasing = subprocess.Popen(
                [FASTLOG, "erase", "--yes", f"round={round_number}", "--data-dir", server.data],
                stdout=subprocess.PIPE,
            )
            if round_number % 3 == 1:
                kill(server.children()["worker sqlite"])
            if round_number % 5 == 4:
                kill(erasing.pid)
            code = erasing.wait(120)
            assert code == 0 or round_number % 5 == 4
        sender.stop()
        for _ in range(2):  # finishes what was killed
            assert run(server, "erase", "--yes", "has:round").returncode in (0, 1)
        wait_for(lambda: server.stored() == sender.sent)
        extras = [json.loads(row["extra"]) for row in server.records()]
        assert [each["number"] for each in extras] == [*range(sender.sent)]
        assert run(server, "check", "--deep").returncode == 0
        for path in server.logs.iterdir():
            assert b'"round"' not in path.read_bytes(), path


def count_of(server: Server, round_number: int) -> int:
    return int(run(server, "query", "--count", f"round={round_number}").stdout or 0)


def test_records_are_erased_while_others_arrive(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        frames = b"".join(
            frame(n, name=f"app.{SECRET if n % 3 == 0 else n % 3}") for n in range(900)
        )
        server.connect(frames).close()
        server.wait_stored(900)
        sender = Sender("later", server, pause=0.0005)
        wait_for(lambda: sender.sent > 200)
        done = run(server, "erase", "--yes", "--reason", "request 1", f"logger:app.{SECRET}")
        assert done.returncode == 0, done.stderr
        wait_for(lambda: sender.sent > 2 * 200)
        sender.stop()
        wait_for(lambda: server.stored() == 600 + sender.sent)
        assert run(server, "check", "--deep").returncode == 0
        extras = [json.loads(row["extra"]) for row in server.records()]
        assert [each["number"] for each in extras if "client" not in each] == [
            n for n in range(900) if n % 3
        ]
        assert [each["number"] for each in extras if "client" in each] == [*range(sender.sent)]
        assert "the journal in" in done.stdout
        assert ": erased 300 records" in done.stdout
        with closing(sqlite3.connect(server.data / "ledger.db")) as ledger:
            [row] = ledger.execute("SELECT fields, reason, records FROM erasures").fetchall()
        assert row == ("name", "request 1", 300)
        # The names of the loggers were in no other record; the passwords of others are still there.
        for path in server.logs.iterdir():
            assert f"app.{SECRET}".encode() not in path.read_bytes(), path
