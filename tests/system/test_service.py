"""The whole service: start, valid and invalid input, stop, restart."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_for
from installed_server import Installed
from places import SUPPORT
from senders import stock_frame
from servers import FASTLOG, REJECTED, SERVER, Server, kill, processes_of


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with Server(tmp_path) as server:
        yield server


def one_line_error(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> Any:
    out = subprocess.run(
        [SERVER, *arguments],
        cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    lines = out.stderr.splitlines()
    assert len(lines) == 1, out.stderr
    return out.returncode, lines[0]


# ---- starting and stopping -----------------------------------------------------------------


def test_the_ready_line_has_the_listeners_and_the_store(
    tmp_path: Path,
) -> None:
    listen = ["tcp://127.0.0.1:0", "tcp://[::1]:0", f"unix://{tmp_path}/s"]
    with Server(tmp_path, listen=listen) as server:
        first, second, third = server.urls()
        assert server.ready_line == (
            f"fastlog-server 0.1.0 listening on {first} {second} {third}; "
            f"storing in {tmp_path}/data/logs\n"
        )
        assert first.startswith("tcp://127.0.0.1:")
        assert second.startswith("tcp://[::1]:")
        assert third == f"unix://{tmp_path}/s"
        for family, address in (
            (socket.AF_INET, ("127.0.0.1", server.port)),
            (socket.AF_INET6, ("::1", int(second.rpartition(":")[2]))),
            (socket.AF_UNIX, f"{tmp_path}/s"),
        ):
            with socket.socket(family) as client:
                client.connect(address)
                client.sendall(stock_frame(f"over {family.name}"))
        server.wait_stored(3)
        assert {row["host"] for row in server.records()} == {"127.0.0.1", "::1", "unix"}
        assert server.stop() == 0
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_loses_nothing_that_the_kernel_had_accepted(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Server(tmp_path) as server:
        clients = [server.connect() for _ in range(20)]
        for i in range(50):
            for n, client in enumerate(clients):
                client.sendall(stock_frame(f"{n}:{i}"))
        assert server.process is not None
        server.process.send_signal(number)
        assert server.process.wait(60) == 0
        assert processes_of(server.data) == []
        messages = [row["message"] for row in server.records()]
        for n in range(20):
            own = [m for m in messages if m.startswith(f"{n}:")]
            assert own == [f"{n}:{i}" for i in range(50)]


@pytest.mark.parametrize("flooded", [False, True])
def test_a_stop_signal_ends_an_idle_or_flooded_server(tmp_path: Path, flooded: bool) -> None:
    server = Installed(tmp_path)
    server.set("fastlog.receiver.shutdown", DRAIN_PATIENCE=1.0)  # usually five
    if flooded:  # a pause of the flood, on a busy machine, does not end it
        server.set("fastlog.receiver.shutdown", QUIET=30.0)
    with server:
        client = server.connect(stock_frame())
        server.wait_stored(1)
        thread = threading.Thread(target=_flood, args=[client])
        if flooded:
            thread.start()
            wait_for(lambda: server.status().get("frames", 0) > 1000)
        assert server.stop() == 0  # after a second, or after the first 0.1 s without a byte
        if flooded:
            thread.join()  # the server closed its connection
            assert "closing connections after 1 s" in server.messages()
        client.close()


def _flood(client: socket.socket) -> None:
    data = stock_frame() * 100
    with contextlib.suppress(OSError):
        while True:
            client.sendall(data)


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    with Server(tmp_path, listen=[f"unix://{tmp_path}/s"]) as first:
        other = tmp_path / "other"
        status, line = one_line_error(
            "--listen", f"unix://{tmp_path}/s", "--data-dir", other, cwd=tmp_path
        )
        assert (status, "in use" in line) == (1, True)
        first.kill()
        assert (tmp_path / "s").exists()
        first.start()
        assert first.stop() == 0


def test_mistakes_get_one_line_and_no_traceback(server: Server, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[journal]\nsise = 3\n")
    status, line = one_line_error("--config", "bad.toml", cwd=tmp_path)
    assert (status, "bad.toml:2" in line, "'size'" in line) == (2, True, True), line

    port = f"tcp://127.0.0.1:{server.port}"
    status, line = one_line_error("--listen", port, "--data-dir", tmp_path / "b", cwd=tmp_path)
    assert (status, port in line, "in use" in line) == (1, True, True), line

    status, line = one_line_error(
        "--listen", "tcp://127.0.0.1:0", "--data-dir", server.data, cwd=tmp_path
    )
    assert (status, str(server.data) in line, str(server.pid) in line) == (1, True, True), line

    (tmp_path / "file").write_text("")
    status, line = one_line_error("--data-dir", tmp_path / "file" / "data", cwd=tmp_path)
    assert (status, "file/data" in line) == (1, True), line

    status, line = one_line_error(
        "--listen", "tcp://127.0.0.1:0", "--data-dir", tmp_path / "c", "--sink", "nowhere:",
        cwd=tmp_path,
    )  # fmt: skip
    assert (status, "nowhere" in line) == (2, True), line


def test_the_children_of_a_killed_supervisor_end_and_the_next_one_continues(server: Server) -> None:
    with server.connect(stock_frame("before")):
        server.wait_stored(1)
        kill(server.pid)
        wait_for(lambda: not processes_of(server.data), "its children have ended")
    server.start()
    server.connect(stock_frame("after")).close()
    server.wait_stored(2)


@pytest.mark.parametrize("role", ["receiver", "worker sqlite"])
def test_a_child_that_dies_is_started_again(server: Server, role: str) -> None:
    server.connect(stock_frame("before")).close()
    server.wait_stored(1)
    before = server.children()[role]
    kill(before)
    wait_for(lambda: server.children().get(role, before) != before, f"another {role}")
    server.connect(stock_frame("after")).close()
    server.wait_stored(2)
    assert "was killed by SIGKILL; starting it again" in server.messages()


def test_a_reload_adds_a_sink_keeps_connections_and_rejects_a_bad_configuration(
    tmp_path: Path,
) -> None:
    config = 'sink = ["sqlite:"]\n'
    with Server(tmp_path, config=config) as server:
        client = server.connect(stock_frame("one"))
        server.wait_stored(1)
        toml = tmp_path / "fastlog.toml"
        toml.write_text(f'sink = ["sqlite:", "ndjson://{tmp_path}/app.ndjson"]\n')
        server.reload()
        wait_for(lambda: "worker ndjson" in server.children())
        client.sendall(stock_frame("two"))
        server.wait_stored(2)
        lines = tmp_path / "app.ndjson"
        wait_for(lambda: lines.exists() and lines.read_text().count("\n") == 2)
        assert [json.loads(line)["message"] for line in lines.open()] == ["one", "two"]
        for mistake in ("sink = 5\n", 'sink = ["sqlit:"]\n'):
            toml.write_text(mistake)
            server.reload(REJECTED)
        toml.write_text('sink = ["sqlite:"]\n[journal]\nsize = "1 MiB"\nsegment = "64 KiB"\n')
        server.reload()
        wait_for(lambda: "worker ndjson" not in server.children())
        client.sendall(stock_frame("three"))
        server.wait_stored(3)
        assert server.stop() == 0
        assert lines.read_text().count("\n") == 2


# ---- invalid input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01"),
        ("syslog", b"<34>1 2026-11-23T00:00:00Z host app - - - hello\n"),
        ("frame over the limit", struct.pack(">I", (1 << 20) + 1) + b"the first bytes"),
        ("truncated", stock_frame()[:20]),
    ],
)
def test_a_rejected_connection_is_closed_and_has_a_row_in_the_ledger(
    server: Server, reason: str, data: bytes
) -> None:
    client = server.connect(data)
    host, port = client.getsockname()
    client.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(100) == b"", "closed without a reply"
    (row,) = wait_for(server.rejected)
    assert (row["reason"], row["peer"], row["count"]) == (reason, f"{host}:{port}", 1)
    assert row["raw"] == data
    if reason == "frame over the limit":
        assert row["length"] == (1 << 20) + 1
    wait_for(lambda: server.status()["rejected"] == {reason: 1})
    out = subprocess.run(
        [FASTLOG, "stats", "--data-dir", server.data], capture_output=True, text=True, check=False
    )
    assert reason in out.stdout


def test_frames_at_the_limit_arrive(server: Server) -> None:
    message = "x" * (1 << 20)
    frame = stock_frame(message)
    fitting = stock_frame(message[: len(message) - (len(frame) - 4 - (1 << 20))])
    assert len(fitting) - 4 == 1 << 20
    one_less = stock_frame(message[: len(message) - (len(frame) - 4 - (1 << 20)) - 1])
    server.connect(one_less + fitting).close()
    server.wait_stored(2)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_hostile_pickle_is_not_executed_and_the_connection_stays_open(
    server: Server, tmp_path: Path
) -> None:
    touched = tmp_path / "executed"
    attacks = [
        pickle.dumps(Hostile(touched), 1),
        pickle.dumps({"msg": "in a record", "x": Hostile(touched)}, 2),
        b"\x80\x04garbage",
        pickle.dumps(["not", "a", "record"], 1),
        pickle.dumps(7, 1),
        b"",
        b"\x82\x01.",
    ]
    data = b"".join(struct.pack(">I", len(a)) + a for a in attacks)
    client = server.connect(data + stock_frame("unharmed"))
    server.wait_stored(2)
    rows = wait_for(lambda: len(server.rejected()) == 6 and server.rejected())
    assert [row["message"] for row in server.records()] == ["in a record", "unharmed"]
    assert json.loads(server.records()[0]["extra"])["x"]["!"] in ("posix.system", "os.system")
    assert [row["raw"] for row in rows] == [attacks[i] for i in (0, 2, 3, 4, 5, 6)]
    assert all(row["reason"] and row["peer"] for row in rows)
    assert not touched.exists()
    client.sendall(stock_frame("and again"))
    server.wait_stored(3)


def test_json_objects_are_records_too(server: Server) -> None:
    payload = json.dumps(
        {"name": "js", "levelname": "ERROR", "message": "from elsewhere", "user": {"id": 7}}
    ).encode()
    server.connect(struct.pack(">I", len(payload)) + payload).close()
    server.wait_stored(1)
    (row,) = server.records()
    assert (row["name"], row["levelno"], row["message"]) == ("js", 40, "from elsewhere")
    assert json.loads(row["extra"]) == {"user": {"id": 7}}


def test_many_rejections_per_second_fill_neither_ledger_nor_log(server: Server) -> None:
    for _ in range(300):
        server.connect(b"GET / HTTP/1.0\r\n\r\n").close()
    rows = wait_for(
        lambda: sum(row["count"] for row in server.rejected()) == 300 and server.rejected()
    )
    assert len(rows) < 150
    assert len(server.messages().splitlines()) < 150


# ---- many clients --------------------------------------------------------------------------


def test_five_thousand_connections_and_a_slow_one_are_served_at_once(server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5200:
        pytest.skip(f"this machine allows {hard} file descriptors, the test needs 5200")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = []
    try:
        slow = server.connect()
        trickle = iter(stock_frame("a byte at a time"))
        for n in range(5000):
            clients.append(server.connect())
            if n % 100 == 0:
                slow.sendall(bytes([next(trickle)]))
        wait_for(lambda: server.status().get("connections") == 5001)
        for n, client in enumerate(clients):
            client.sendall(stock_frame(f"from {n}"))
            if n % 100 == 0:
                slow.sendall(bytes([next(trickle)]))
        server.wait_stored(5000)
        assert {row["message"] for row in server.records()} == {f"from {n}" for n in range(5000)}
        slow.sendall(bytes(trickle))
        server.wait_stored(5001)
        assert server.rejected() == server.losses() == []
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connections_over_the_limit_are_closed_and_older_ones_stay(tmp_path: Path) -> None:
    with Server(tmp_path, config="[limits]\nconnections = 5\n") as server:
        kept = [server.connect(stock_frame(f"{n}")) for n in range(5)]
        server.wait_stored(5)
        rejected = [server.connect() for _ in range(3)]
        assert [client.recv(1) for client in rejected] == [b""] * 3
        for client in kept:
            client.sendall(stock_frame("still here"))
        server.wait_stored(10)
        wait_for(lambda: server.status()["rejected"] == {"too many connections": 3})
        kept.pop().close()
        wait_for(lambda: server.status()["connections"] == 4)
        server.connect(stock_frame("there is room again"))
        server.wait_stored(11)


def test_few_file_descriptors_limit_the_connections(tmp_path: Path) -> None:
    with Server(tmp_path, open_files=100) as server:
        assert "36 connections at most: the system allows 100 open files" in server.messages()
        clients = [server.connect() for _ in range(90)]
        wait_for(lambda: server.status().get("rejected") == {"too many connections": 54})
        for client in clients[:36]:
            client.sendall(stock_frame("still served"))
        server.wait_stored(36)
        for client in clients:
            client.close()
        wait_for(lambda: server.status()["connections"] == 0)
        server.connect(stock_frame("and it recovers")).close()
        server.wait_stored(37)
        assert "Traceback" not in server.messages()


def test_two_sinks_store_the_same_records(tmp_path: Path) -> None:
    sinks = ["sqlite:", f"ndjson://{tmp_path}/app.ndjson"]
    with Server(tmp_path, sinks=sinks) as server:
        server.connect(b"".join(stock_frame(f"{n}", n=n) for n in range(500))).close()
        server.wait_stored(500)
        lines = tmp_path / "app.ndjson"
        wait_for(lambda: lines.read_text().count("\n") == 500)
        stored = [
            {**row, "extra": json.loads(row["extra"])}
            for row in server.records()
        ]  # fmt: skip
        written = [json.loads(line) for line in lines.open()]
        assert written == [{name: row[name] for name in written[0]} for row in stored]


ABANDON = """
import os, sys
from pathlib import Path
from servers import Server

Server(Path(sys.argv[1])).start()
os._exit(1)
"""


def test_a_server_under_test_ends_with_the_test_process(tmp_path: Path) -> None:
    """So an interrupted suite, or one that a deadline ended, leaves no server behind."""
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    command = [sys.executable, "-c", ABANDON, tmp_path]
    assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == 1
    wait_for(lambda: not processes_of(tmp_path / "data"), "all processes are gone")
