"""Programs of real interpreters that log through our handler, and end in every possible way."""

from __future__ import annotations

import signal
from collections import defaultdict
from pathlib import Path

import pytest
from client_programs import assert_exact, numbers_by_name, run, start, versions
from conditions import wait_for
from protocol_server import FakeServer

CHILDREN = [f"child {i}" for i in range(8)]


@versions
@pytest.mark.parametrize("way", ["ends", "logs_at_exit"])
def test_a_program_that_ends_has_sent_everything(version: str, way: str):
    with FakeServer() as server:
        run(version, way, server, 1000)
        assert_exact(server, 1000)
        assert len(server.table.byes) == 1


@versions
def test_a_program_that_ends_with_an_absent_server_ends_in_time(version: str):
    with FakeServer() as server:
        server.stop()
        process = start(version, "ends_soon", server, 10)
        lines = process.communicate(timeout=60)[1].splitlines()
        assert process.returncode == 0
        assert "cannot connect" in lines[0]
        assert "10 records were left at exit: they are lost" in lines[-1]
        assert len(lines) == 2


@versions
def test_records_of_all_threads_of_a_program_arrive(version: str):
    with FakeServer() as server:
        run(version, "threads", server, 300)
        assert_exact(server, 300, *(f"thread {i}" for i in range(8)))


@versions
def test_children_of_a_fork_are_clients_of_their_own(version: str):
    with FakeServer() as server:
        run(version, "forks", server, 300)
        assert_exact(server, 300, *CHILDREN)
        assert len({hello.client for hello in server.table.hellos}) == 9
        assert server.connections == 9


@versions
def test_children_that_end_by_os_exit_lose_nothing_with_a_spool(version: str, tmp_path: Path):
    with FakeServer() as server:
        run(version, "forks_and_os_exits", server, 300, tmp_path)
        assert_exact(server, 300, *CHILDREN)
        assert list(tmp_path.iterdir()) == []


@versions
def test_a_fork_while_threads_log_stops_no_process(version: str):
    with FakeServer() as server:
        run(version, "forks_while_threads_log", server, 20)
        found = numbers_by_name(server)
        for child in range(20):
            assert found[f"child {child}"] == list(range(20))
        for thread in range(3):
            numbers = found[f"thread {thread}"]
            assert numbers == list(range(len(numbers)))
        assert server.table.gaps == []


@versions
def test_workers_of_multiprocessing_send_all_before_they_end(version: str):
    with FakeServer() as server:
        run(version, "has_workers", server, 300)
        assert_exact(server, 300, *CHILDREN[:4])


@versions
def test_a_program_that_ends_by_os_exit_is_completed_by_the_next(version: str, tmp_path: Path):
    with FakeServer() as server:
        server.stop()
        run(version, "ends_by_os_exit", server, 500, tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
        server.restart()
        run(version, "ends", server, 0, tmp_path)
        assert_exact(server, 500)
        assert [hello.incarnation for hello in server.table.hellos] == [2]
        assert len(server.table.byes) == 1
        assert list(tmp_path.iterdir()) == []


@versions
@pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])
def test_records_that_emit_has_accepted_survive_kill_9(version: str, is_up: bool, tmp_path: Path):
    with FakeServer() as server:
        if not is_up:
            server.stop()
        last_printed = -1
        for _ in range(3):
            process = start(version, "never_ends", server, 0, tmp_path)
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) == 500:
                    process.send_signal(signal.SIGKILL)
                last_printed = int(line)
            process.wait()
            process.communicate()
            if not is_up:
                server.restart()
            run(version, "ends", server, 0, tmp_path)
            numbers = numbers_by_name(server)["main"]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) in (last_printed + 1, last_printed + 2)
            assert list(tmp_path.iterdir()) == []
            server.table.records.clear()
            if not is_up:
                server.stop()
        assert server.table.gaps == []


@versions
def test_a_running_sibling_adopts_what_a_killed_process_left(version: str, tmp_path: Path):
    with FakeServer() as server:
        server.stop()
        victim = start(version, "waits", server, 100, tmp_path)
        sibling = start(version, "waits", server, 10, tmp_path)
        for process in (victim, sibling):
            assert process.stdout is not None
            assert process.stdout.readline() == "emitted\n"
        assert len(list(tmp_path.iterdir())) == 2
        victim.kill()
        victim.communicate()
        server.restart()
        wait_for(lambda: len(server.table.records) == 110, "both are sent", 30)
        wait_for(lambda: len(list(tmp_path.iterdir())) == 1, "one folder is removed")
        first = server.table.records[0][0]
        counts = [sum(r[0] == client for r in server.table.records) for client in {first}]
        assert counts in ([10], [100])
        assert len(server.table.byes) == 1
        sibling.kill()
        sibling.communicate()


def test_several_that_start_at_once_adopt_each_spool_once(tmp_path: Path):
    with FakeServer() as server:
        server.stop()
        for _ in range(4):
            run("3.11", "ends_by_os_exit", server, 200, tmp_path)
        server.restart()
        adopters = [start("3.11", "ends", server, 50, tmp_path) for _ in range(6)]
        for adopted in adopters:
            _, errors = adopted.communicate(timeout=60)
            assert (adopted.returncode, errors) == (0, "")
        assert len(server.table.records) == 4 * 200 + 6 * 50
        per_client = defaultdict(list)
        for client, _, attributes in server.table.records:
            per_client[client].append(attributes["number"])
        assert sorted(map(len, per_client.values())) == [50] * 6 + [200] * 4
        assert all(numbers == list(range(len(numbers))) for numbers in per_client.values())
        assert list(tmp_path.iterdir()) == []
