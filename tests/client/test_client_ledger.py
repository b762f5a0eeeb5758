"""The client and the server's ledger: names of clients, and reasons of dropped records."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from client_programs import VERSIONS
from conditions import wait_for
from fastlog_client import gap
from fastlog_client.memory import Memory
from interpreters import environment, interpreters
from places import CLIENT, SUPPORT
from servers import Server

from fastlog.protocol.frames import GapReason, public_name


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stats_name_the_client_as_the_ledger_does(version: str, tmp_path: Path):
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    with Server(tmp_path) as server:
        program = [interpreters()[version], SUPPORT / "clients" / "drop_one.py", CLIENT]
        done = subprocess.run(
            [*program, str(server.port)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        before, name, after = json.loads(done.stdout)
        wait_for(server.losses)
        assert [row["detail"] for row in server.losses()] == [f"client {name}, records 1 to 1"]
        assert before is after is None


def test_a_store_has_another_name_with_another_id():
    store = Memory()
    before = store.public_name
    assert before == public_name(store.client_id)
    store.renumber()
    assert store.public_name == public_name(store.client_id) != before


def test_a_reason_has_one_name_at_the_client_and_the_server():
    declared = {reason.name: reason.value for reason in GapReason if reason < 200}
    assert {name: getattr(gap, name) for name in declared} == declared
    assert sorted(gap.REASONS) == sorted(declared.values())
