"""Each command of docs/backup.md, run in the order of the page, on a server with records."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conditions import wait_for
from lossless_clients import Client
from places import ROOT
from postgres_stores import Database, database, postgres_servers
from servers import BIN, Server
from transfers import run as run_command

__all__ = ["database", "postgres_servers"]

TEXT = (ROOT / "docs/backup.md").read_text("utf-8")
SECTIONS = re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", TEXT, flags=re.MULTILINE)
NOT_RUN = ("git pull && pip install .",)
URL = "postgresql://fastlog@db.example.org/logs"
OTHER_DIRECTORY = ("Move to another machine",)
"""Sections that restore to a machine that has nothing yet."""


def commands(text: str) -> list[str]:
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    return [line.partition("  #")[0].strip() for line in lines]


def test_the_commands_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.chdir(tmp_path)
    old = Server(tmp_path / "old")
    old.home.mkdir()
    data = tmp_path / "data"
    with old, Client(old.port, "a") as client:
        client.log(100)
        client.flush()
        (tmp_path / "fastlog-data").symlink_to(old.data)
        done = []
        for title, text in SECTIONS:
            if title in OTHER_DIRECTORY:
                data = tmp_path / "other machine" / "data"
                data.parent.mkdir()
            for line in commands(text):
                if URL in line:  # the import reads what the old server has stored
                    wait_for(lambda: old.stored() == client.sent)
                run(line.replace(URL, shlex.quote(database.url())), tmp_path, data, old)
                done.append(line.split()[:2])
                if line.startswith("fastlog backup"):
                    client.log(10)
                    client.flush()
        old.finish_reload()
        stored = Server(data.parent)
        stored.data, stored.logs = data, data / "logs"
        assert len(stored.records()) == 120  # what came after the last import is not there
    assert len(database.messages()) == 130  # of the last section: all of the old server
    assert ["fastlog", "restore"] in done and ["kill", "-HUP"] in done
    assert len(done) == 15


def run(line: str, home: Path, data: Path, old: Server) -> None:
    """Run a command in this directory; of a server, only its start."""
    if line in NOT_RUN:
        return
    for name, place in {
        "/backups/fastlog": home / "backups",
        "/srv/fastlog/old-data": old.data,
        "/srv/fastlog/data": data,
    }.items():
        line = line.replace(name, shlex.quote(str(place)))
    if line.startswith("fastlog-server"):
        server = Server(home / "started", listen=["tcp://127.0.0.1:0"])
        server.home.mkdir(exist_ok=True)
        server.data = data
        with server:
            assert server.stop() == 0
        return
    if line.startswith("fastlog "):
        run_command(*shlex.split(line)[1:])
        return
    result = subprocess.run(
        ["sh", "-c", line], cwd=home, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, ""), line
