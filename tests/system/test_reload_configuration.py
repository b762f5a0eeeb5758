"""A reload applies a changed configuration, and keeps counters, signals and descriptors."""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conditions import wait_for
from installed_server import OLD, Configured, Installed, inheritable
from senders import stock_frame
from servers import processes_of


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Installed]:
    with Installed(tmp_path) as server:
        yield server


def test_listeners_change_and_connections_stay(tmp_path: Path) -> None:
    server = Configured(tmp_path).configure([f"unix://{tmp_path}/one", "tcp://127.0.0.1:0"])
    with server:
        port = int(server.urls()[1].rpartition(":")[2])
        old = socket.socket(socket.AF_UNIX)
        old.connect(f"{tmp_path}/one")
        old.sendall(stock_frame("one")[:9])
        server.configure(["tcp://127.0.0.1:0", f"unix://{tmp_path}/two"])
        server.reload()
        assert not (tmp_path / "one").exists()
        old.sendall(stock_frame("one")[9:])
        new = socket.socket(socket.AF_UNIX)
        new.connect(f"{tmp_path}/two")
        new.sendall(stock_frame("two"))
        socket.create_connection(("127.0.0.1", port)).sendall(stock_frame("the same port"))
        server.wait_stored(3)
        assert {row["message"] for row in server.records()} == {"one", "two", "the same port"}
        assert server.stop() == 0
        assert not (tmp_path / "two").exists()


def test_a_reload_changes_limits_and_sinks_but_not_the_data_directory(tmp_path: Path) -> None:
    with Configured(tmp_path).configure(["tcp://127.0.0.1:0"]) as server:
        clients = [server.connect(stock_frame(f"{n}")) for n in range(5)]
        server.wait_stored(5)
        server.configure(
            ["tcp://127.0.0.1:0"],
            data_dir="elsewhere",
            more=f'sink = ["sqlite:", "ndjson://{tmp_path}/app.ndjson"]\n'
            "[limits]\nconnections = 3\nmax_frame = 5000\n",
        )
        server.reload()
        assert f"data_dir stays {server.data}: it changes at the next start" in server.messages()
        for n, client in enumerate(clients):
            client.sendall(
                stock_frame(f"more {n}")
            )  # more than the new limit, but connected before
        server.wait_stored(10)
        assert server.connect().recv(1) == b"", "no further connection is accepted"
        clients[0].sendall(struct.pack(">I", 5001))
        assert clients[0].recv(1) == b""
        lines = tmp_path / "app.ndjson"
        wait_for(lambda: lines.exists() and lines.read_text().count("\n") == 10)
        server.configure(["tcp://127.0.0.1:0"])
        server.reload()
        assert "worker ndjson" not in server.children()
        assert not (tmp_path / "elsewhere").exists()
        assert server.stop() == 0


def test_counters_continue_after_a_reload(server: Installed) -> None:
    for n in range(3):
        server.connect(stock_frame(f"{n}")).close()
        server.wait_stored(n + 1)
        rejected = server.connect(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(ConnectionResetError):
            assert rejected.recv(1) == b""
        server.reload()  # before the rejection is in the ledger
    wait_for(lambda: server.status()["connections"] == 0)
    status = server.status()
    assert [status["accepted"], status["frames"], status["rejected"]] == [6, 3, {"http": 3}]
    wait_for(lambda: sum(row["count"] for row in server.rejected()) == 3)


def test_a_reload_prints_no_second_ready_line(server: Installed) -> None:
    server.reload()
    assert server.process is not None
    assert server.process.stdout is not None
    server.process.send_signal(signal.SIGTERM)
    assert server.process.stdout.read() == ""
    assert server.process.wait(60) == 0


@contextmanager
def ignoring(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_a_server_started_with_ignored_signals_handles_them(tmp_path: Path) -> None:
    with ignoring(signal.SIGHUP), Installed(tmp_path) as server:
        server.reload()
        server.reload()
        assert server.stop() == 0


def test_a_reload_leaves_no_descriptor_open(server: Installed) -> None:
    client = server.connect(stock_frame("one"))
    server.wait_stored(1)
    server.reload()
    before = descriptors_by_role(server)
    good = server.edit("receiver/handover.py", "    def restore(self", "    def lose(self")
    server.reload(OLD)
    (server.package / "receiver/handover.py").write_text(good)
    for _ in range(2):
        server.reload()
    assert descriptors_by_role(server) == before
    assert inheritable(server.pid) == []
    client.close()


def descriptors_by_role(server: Installed) -> dict[str, int]:
    """Return how many descriptors each process has, without files that are open for a moment."""
    return {
        role: min(descriptors(pid) for _ in range(50)) for pid, role in processes_of(server.data)
    }


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
