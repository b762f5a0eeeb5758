"""Signals, full disks and processes that die or stand still during a reload: nothing is lost.

The server runs from a copy of the package, which a test changes so that a step of the reload waits.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from faults import SMALL_JOURNAL, numbers, small_disk, stopped
from installed_server import FUTURE, MAIN, NEW, OLD, Installed, receivers, shorten_the_deadline
from senders import Sender, stock_frame
from servers import Server, kill, processes_of

RESTORE = "        self._status.restore(state.counters, state.recent)\n"
"""A line of `receiver/handover.py`: the new receiver has the state, and uses it."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Installed]:
    with Installed(tmp_path) as server:
        yield server


def test_a_stopped_receiver_cancels_the_reload_and_resumes(tmp_path: Path) -> None:
    server = Installed(tmp_path)
    shorten_the_deadline(server, "not taken over")
    with server:
        client = server.connect(stock_frame("before"))
        server.wait_stored(1)
        before = server.children()["receiver"]
        with stopped(before):
            server.reload("the new receiver had not taken over after 4 s; the old server continues")
            client.sendall(stock_frame("between"))
        server.wait_stored(2)
        assert server.children()["receiver"] == before
        server.reload()
        client.sendall(stock_frame("after"))
        server.wait_stored(3)


def test_an_old_receiver_that_does_not_retire_is_killed(
    tmp_path: Path,
) -> None:
    server = Installed(tmp_path)
    server.edit("server/reload.py", "RETIRE = 5.0", "RETIRE = 0.5")
    server.edit("receiver/__main__.py", 'if order == "retire":', 'if order == "never":')
    with server:
        client = server.connect(stock_frame("before")[:30])
        wait_for(lambda: server.status().get("connections") == 1)
        before = server.children()["receiver"]
        server.reload()
        assert server.children()["receiver"] != before
        client.sendall(stock_frame("before")[30:])
        server.wait_stored(1)


def test_a_receiver_that_dies_during_a_reload_is_restarted_with_the_old_code(
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    with Installed(tmp_path) as server:
        waiting = f"while '--takeover-fd' in sys.argv and not os.path.exists({str(gate)!r}):"
        waiting += " time.sleep(0.01)\n"
        server.edit("receiver/__main__.py", FUTURE, FUTURE + MAIN + waiting)
        server.connect(stock_frame("before")).close()
        server.wait_stored(1)
        before = server.children()["receiver"]
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: len(receivers(server)) == 2)
        kill(before)
        wait_for(lambda: server.count_logged("the old receiver was killed by SIGKILL; " + OLD))
        wait_for(lambda: server.children().get("receiver", before) != before)
        server.connect(stock_frame("it works again")).close()
        server.wait_stored(2)
        gate.touch()
        server.reload()


def test_a_worker_that_dies_during_a_reload_is_restarted(server: Installed) -> None:
    gate = server.home / "gate"
    gate.touch()
    server.edit("receiver/receiver.py", FUTURE, FUTURE + "import os, time\n"
                f"while os.path.exists({str(gate)!r}): time.sleep(0.01)\n")  # fmt: skip
    known = running(server)
    os.kill(server.pid, signal.SIGHUP)
    wait_for(lambda: running(server) - known)
    worker = server.children()["worker sqlite"]
    kill(worker)
    wait_for(lambda: server.children().get("worker sqlite", worker) != worker)
    assert server.count_logged(NEW) == 0
    gate.unlink()
    wait_for(lambda: server.count_logged(NEW))


def test_if_the_new_receiver_dies_after_taking_over_the_old_one_resumes(
    server: Installed,
) -> None:
    """It has sent `taken`, and is killed before the supervisor has read that."""
    client = server.connect(stock_frame("before"))
    server.wait_stored(1)
    before = server.children()["receiver"]
    server.edit("receiver/handover.py", RESTORE,
                RESTORE +
                f"        import os; os.kill({server.pid}, 19)\n")  # fmt: skip
    os.kill(server.pid, signal.SIGHUP)
    wait_for(lambda: state_of(server.pid) == "T", "the supervisor stands still")
    (new,) = set(receivers(server)) - {before}
    wait_for(lambda: state_of(new) == "S" and state_of(before) == "S")
    client.sendall(stock_frame("while both stood still"))
    unread = stands_unread(client)
    kill_and_wait(new)
    os.kill(server.pid, signal.SIGCONT)
    wait_for(lambda: server.count_logged(OLD))  # killed; or after ten seconds, on a slow machine
    server.wait_stored(2)
    assert unread, "neither receiver reads without an order"
    assert server.children()["receiver"] == before


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def kill_and_wait(pid: int) -> None:
    """Wait until all threads have ended: the main one is a zombie while others still run."""
    pidfd = os.pidfd_open(pid)
    try:
        kill(pid)
        assert select.select([pidfd], [], [], 30)[0], "it lives on"
    finally:
        os.close(pidfd)


def stands_unread(client: socket.socket) -> bool:
    """Assert that the last data stays in the server's kernel buffer for a while."""
    for _ in range(20):
        time.sleep(0.01)  # no condition to wait for: the absence of reads is what is tested
        if not unread_by_peer(client):
            return False
    return True


def unread_by_peer(client: socket.socket) -> int:
    """Return the bytes that the other end of this connection has not read yet."""
    ports = [f":{address[1]:04X}" for address in (client.getpeername(), client.getsockname())]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, _, queues = line.split()[1:5]
        if local.endswith(ports[0]) and remote.endswith(ports[1]):
            return int(queues.partition(":")[2], 16)
    raise AssertionError("there is no such connection")


def test_a_receiver_that_keeps_dying_is_replaced_by_a_reload(tmp_path: Path) -> None:
    with Installed(tmp_path) as server:
        good = server.edit("receiver/__main__.py", FUTURE, FUTURE + MAIN + "os._exit(5)\n")
        kill(server.children()["receiver"])
        wait_for(lambda: server.count_logged("receiver ended with 5; starting it again") > 1)
        (server.package / "receiver/__main__.py").write_text(good)
        server.reload()
        server.connect(stock_frame("it works again")).close()
        server.wait_stored(1)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("worker/worker.py", FUTURE, FUTURE + "import time; time.sleep(600)\n"),
        ("receiver/__main__.py", FUTURE, FUTURE + MAIN + "time.sleep(600)\n"),
        ("receiver/handover.py", RESTORE,
         "        time.sleep(600)\n"),
    ],
    ids=["rehearsal", "ready", "taking over"],
)  # fmt: skip
def test_a_stop_signal_during_a_reload_ends_all_processes_and_loses_nothing(
    server: Installed, file: str, old: str, new: str
) -> None:
    client = server.connect(stock_frame("before"))
    server.wait_stored(1)
    server.edit(file, old, new)
    before = running(server)
    os.kill(server.pid, signal.SIGHUP)
    (extra,) = wait_for(lambda: running(server) - before)
    client.sendall(stock_frame("between"))
    assert server.stop() == 0
    assert "reload: a stop was requested; the old server continues" in server.messages()
    assert processes_of(server.data) == []
    assert not Path(f"/proc/{extra}").exists()
    assert [row["message"] for row in server.records()] == ["before", "between"]


def running(server: Server) -> set[int]:
    """Return all children of the supervisor."""
    return set(map(int, Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()))


def test_a_supervisor_that_is_killed_during_a_reload_leaves_no_process_and_no_loss(
    server: Installed,
) -> None:
    client = server.connect(stock_frame("before"))
    server.wait_stored(1)
    server.edit("receiver/handover.py", RESTORE,
                "        open('taking', 'w').close(); time.sleep(2)\n")  # fmt: skip
    os.kill(server.pid, signal.SIGHUP)
    wait_for((server.home / "taking").exists)
    client.sendall(stock_frame("while it stood still"))
    kill(server.pid)
    wait_for(lambda: processes_of(server.data) == [], "all end")
    server._wait()
    server.start()
    server.wait_stored(2)
    assert [row["message"] for row in server.records()] == ["before", "while it stood still"]


def test_a_second_signal_during_a_reload_starts_another_reload(server: Installed) -> None:
    gate = server.home / "gate"
    server.edit("worker/worker.py", FUTURE, FUTURE + "import os, time\n"
                f"while os.path.exists({str(gate)!r}): time.sleep(0.01)\n")  # fmt: skip
    gate.touch()
    before = running(server)
    os.kill(server.pid, signal.SIGHUP)
    wait_for(lambda: running(server) - before)
    os.kill(server.pid, signal.SIGHUP)
    gate.unlink()
    wait_for(lambda: server.count_logged(NEW) == 2)
    assert server.count_logged(OLD) == 0
    assert server.stop() == 0


@pytest.mark.long
def test_signals_close_to_the_exec_are_not_lost(server: Installed) -> None:
    for _ in range(3):
        done = server.count_logged(NEW)
        os.kill(server.pid, signal.SIGHUP)
        while server.count_logged(NEW) == done:
            assert processes_of(server.data), "a signal has killed it"
            os.kill(server.pid, signal.SIGHUP)  # some of them arrive during the exec
    os.kill(server.pid, signal.SIGHUP)
    assert server.stop() == 0
    assert processes_of(server.data) == []


def test_a_full_disk_cancels_the_reload(tmp_path: Path) -> None:
    config = f'sink = ["sqlite://{tmp_path}/logs"]\n'
    with small_disk(tmp_path / "data", "8m") as disk, Installed(tmp_path, config=config) as server:
        server.logs = tmp_path / "logs"
        client = server.connect(stock_frame("before"))
        server.wait_stored(1)
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(1 << 16))
        client.sendall(stock_frame("x" * 10_000) * 3)
        wait_for(lambda: "cannot write" in server.messages())
        server.reload(OLD)
        assert (
            "the old receiver cannot hand over: cannot make the received records durable: cannot"
            in server.messages()
        )
        ballast.unlink()
        server.wait_stored(4)
        server.reload()
        client.sendall(stock_frame("after"))
        server.wait_stored(5)


def test_a_pending_block_is_handed_over(tmp_path: Path) -> None:
    config = SMALL_JOURNAL + 'when_full = "pause"\n'
    with Installed(tmp_path, config=config) as server:
        with stopped(server.children()["worker sqlite"]):
            sender = Sender("a", server, pause=0)
            wait_for(lambda: server.status().get("size", 0) > 900_000)
            frames = wait_for(lambda: unchanged_frames(server))
            os.kill(server.pid, signal.SIGHUP)
            wait_for(lambda: "took over in" in server.messages())
            sender.pause = 0.001  # else there are tens of thousands to store in the end
            assert server.status()["frames"] >= frames
        wait_for(lambda: server.count_logged(NEW))
        wait_for(lambda: server.status()["frames"] > frames + 500)
        sender.stop()
        server.wait_stored(sender.sent)
        assert numbers(server.records()) == {"a": list(range(sender.sent))}
        assert server.losses() == []


def unchanged_frames(server: Server) -> int:
    """Return the number of frames received, if it has not changed for a while."""
    before = server.status()
    later = wait_for(lambda: (s := server.status())["at"] > before["at"] and s)
    return int(later["frames"]) if later["frames"] == before["frames"] else 0
