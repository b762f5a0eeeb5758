"""The drill detects every broken promise, its proxy injects faults, and it removes its files."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conditions import wait_for
from hypothesis import given
from hypothesis import strategies as st
from places import CLIENT
from servers import FASTLOG, Server

from fastlog.cli import fastlog
from fastlog.drill.clients import Client, Kind
from fastlog.drill.comparison import (
    PROMISES,
    Account,
    Row,
    compare_numbers,
    count_breaches,
    is_broken,
)
from fastlog.drill.harness import ClientRun
from fastlog.drill.proxy import Proxy
from fastlog.drill.report import Outcome, compare
from fastlog.drill.scenario import MEMORY, PHASES, STOCK
from fastlog.drill.stored import LedgerTotals
from fastlog.errors import FastlogError
from fastlog.ledger import Entry, Ledger
from fastlog.record import Loss

# the name fastlog.cli.drill is the command
command = importlib.import_module("fastlog.cli.drill")
ACK, WELCOME = 0x20, 0x04


# ---- the comparison ------------------------------------------------------------------------


def test_a_complete_store_has_no_faults() -> None:
    assert compare_numbers(3, [1, 2, 3]) == Account(sent=3, stored=3)


def test_a_missing_record_is_counted_if_it_is_declared() -> None:
    account = compare_numbers(6, [1, 2, 6], [range(3, 5)])
    assert account == Account(sent=6, stored=3, counted=2, uncounted=1)


def test_a_missing_last_record_is_detected() -> None:
    assert compare_numbers(3, [1, 2]).uncounted == 1
    assert compare_numbers(1, []).uncounted == 1


def test_a_duplicate_is_detected_when_the_sum_is_right() -> None:
    assert compare_numbers(3, [1, 3, 3]) == Account(sent=3, stored=2, uncounted=1, twice=1)


def test_a_late_duplicate_is_not_out_of_order() -> None:
    assert compare_numbers(3, [1, 2, 3, 1]) == Account(sent=3, stored=3, twice=1)


def test_records_behind_a_later_one_are_out_of_order() -> None:
    assert compare_numbers(5, [1, 4, 2, 3, 5]) == Account(sent=5, stored=5, disordered=2)


def test_a_stored_record_that_is_declared_lost_is_wrong() -> None:
    assert compare_numbers(3, [1, 2, 3], [range(2, 4)]).wrong == 2


def test_a_record_that_was_never_sent_is_wrong_if_stored_or_declared() -> None:
    assert compare_numbers(3, [1, 2, 3, 4]).wrong == 1
    assert compare_numbers(3, [1, 2, 3], [range(4, 6)]).wrong == 2


def test_a_record_that_a_kill_interrupted_may_be_stored_or_not() -> None:
    assert compare_numbers(3, [1, 2, 3, 4], unsure=[4]) == compare_numbers(3, [1, 2, 3], unsure=[4])
    assert compare_numbers(3, [1, 2, 3, 4], unsure=[4]).wrong == 0


def test_folded_losses_account_for_their_count() -> None:
    account = compare_numbers(9, [1, 2, 3], [range(4, 6)])
    assert account.count_folded(4) == account._replace(counted=6, uncounted=0)
    assert account.count_folded(3).uncounted == 1
    assert account.count_folded(5).wrong == 1


@given(st.integers(1, 60), st.sets(st.integers(1, 60)), st.data())
def test_any_fault_in_a_complete_store_is_detected(sent: int, lost: set[int], data: Any) -> None:
    lost = {number for number in lost if number <= sent}
    stored = [number for number in range(1, sent + 1) if number not in lost]
    declared = [range(number, number + 1) for number in lost]
    right = compare_numbers(sent, stored, declared)
    assert right == Account(sent, len(stored), len(lost))
    if not stored:
        return
    at = data.draw(st.integers(0, len(stored) - 1))
    assert compare_numbers(sent, stored[:at] + stored[at + 1 :], declared).uncounted == 1
    assert compare_numbers(sent, [*stored, stored[at]], declared).twice == 1
    assert compare_numbers(sent, stored, [*declared, range(stored[at], stored[at] + 1)]).wrong == 1
    if at:
        assert compare_numbers(
            sent, [stored[at], *stored[:at], *stored[at + 1 :]], declared
        ).disordered


def make_row(**fields: Any) -> Row:
    return Row(**{"phase": "kills", "kind": "x", "is_fastlog": True, "clients": 1, **fields})


def kept_rows(**fields: Any) -> list[Row]:
    """Return rows to which every promise applies, all kept; the first has these fields."""
    fine = Account(sent=10, stored=10)
    return [
        make_row(**{"account": fine, **fields}),
        make_row(account=fine, is_fastlog=False, keeps_connection=True, connections=1),
    ]


def test_kept_promises_have_no_breaches() -> None:
    rows = kept_rows()
    assert count_breaches(rows) == {promise.text: 0 for promise in PROMISES}
    assert not any(map(is_broken, rows))


@pytest.mark.parametrize(
    ("field", "broken"),
    [
        ("uncounted", {"what was sent is stored, or declared as lost",
                       "nothing is lost by a client that has room for it"}),
        ("counted", {"nothing is lost by a client that has room for it"}),
        ("twice", {"nothing is stored twice"}),
        ("disordered", {"each client's order is kept"}),
        ("wrong", {"nothing is declared as lost that is stored, or was never sent"}),
    ],
)  # fmt: skip
def test_each_fault_breaks_its_promise(field: str, broken: set[str]) -> None:
    rows = kept_rows(account=Account(sent=10, stored=10)._replace(**{field: 2}))
    assert {text for text, count in count_breaches(rows).items() if count} == broken
    assert [is_broken(row) for row in rows] == [True, False]


def test_a_connection_that_did_not_survive_a_reload_breaks_a_promise() -> None:
    rows = kept_rows()
    rows[1].connections = 2
    assert sum(count_breaches(rows).values()) == 1


def test_records_that_a_client_still_has_at_the_end_break_a_promise() -> None:
    assert sum(count_breaches(kept_rows(unsent=1)).values()) == 1


def test_a_client_that_may_lose_records_must_not_duplicate_them() -> None:
    lossy = {"is_fastlog": False, "may_lose": "not acknowledged"}
    lost = make_row(**lossy, account=Account(sent=10, stored=5, uncounted=5, disordered=1))
    assert not is_broken(lost)
    assert is_broken(make_row(**lossy, account=Account(sent=10, stored=10, twice=1)))


def test_a_promise_that_was_not_tested_counts_as_broken() -> None:
    assert all(count_breaches([]).values())
    assert all(count_breaches([make_row(keeps_connection=True)]).values())


# ---- the comparison and a real store -------------------------------------------------------


@pytest.fixture
def with_client(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Let started programs import fastlog_client; return their environment."""
    path = os.pathsep.join([str(CLIENT), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    return {**os.environ, "PYTHONPATH": path}


def run_client(server: Server, home: Path, kind: Kind) -> ClientRun:
    client = Client(kind, f"a {kind.handler} client", home)
    client.start(server.port, rate=500, seed=1)
    try:
        wait_for(lambda: client.count_logged() > 300)
        client.request_stop()
        return ClientRun(PHASES[0], client, client.wait())
    finally:
        client.close()


def delete_record(day: sqlite3.Connection) -> None:
    day.execute("DELETE FROM entries WHERE id = (SELECT max(id) FROM entries) / 2")


def duplicate_record(day: sqlite3.Connection) -> None:
    names = [row[1] for row in day.execute("PRAGMA table_info(entries)") if row[1] != "id"]
    listed = ", ".join(names)
    day.execute(f"INSERT INTO entries ({listed}) SELECT {listed} FROM entries LIMIT 1")


def swap_records(day: sqlite3.Connection) -> None:
    """Swap the first and the last record of the fastlog client."""
    condition = "json_extract(extra, '$.client') = 'a fastlog client'"
    first, last = day.execute(f"SELECT min(id), max(id) FROM entries WHERE {condition}").fetchone()
    extras = dict(day.execute("SELECT id, extra FROM entries"))
    for at, other in ((first, last), (last, first)):
        day.execute("UPDATE entries SET extra = ? WHERE id = ?", (extras[other], at))


def declare_loss(data: Path, client_id: str) -> None:
    """Declare a stored record as lost in the ledger."""
    loss = Loss("", "memory full", 1, 0.0, 0.0, f"client {client_id}, records 7 to 7")
    with Ledger(data / "ledger.db") as ledger:
        ledger.record("a node", [Entry(1, 0, loss)], 2)


def test_a_store_with_a_fault_breaks_its_promise(
    tmp_path: Path, with_client: dict[str, str]
) -> None:
    with Server(tmp_path) as server:
        runs = [run_client(server, tmp_path, kind) for kind in (STOCK, MEMORY)]
        sent = [run.report.sent for run in runs]
        server.wait_stored(sum(sent))
        assert server.stop() == 0

    def outcome(data: Path) -> Outcome:
        return compare(data, runs, 0, Counter(), 0.0)

    def broken(damage: Callable[[sqlite3.Connection], None]) -> set[str]:
        data = shutil.copytree(server.data, tmp_path / damage.__name__)
        (day,) = (data / "logs").glob("*.db")
        with closing(sqlite3.connect(day, isolation_level=None)) as connection:
            damage(connection)
        return {text for text, count in outcome(data).breaches.items() if count}

    assert outcome(server.data).holds
    assert [row.account for row in outcome(server.data).rows] == [Account(n, n) for n in sent]
    assert "what was sent is stored, or declared as lost" in broken(delete_record)
    assert broken(duplicate_record) == {"nothing is stored twice"}
    assert broken(swap_records) == {"each client's order is kept"}
    known, unknown = runs[1].report.client_id, "0" * 8
    assert known is not None
    for client_id in (known, unknown):
        data = shutil.copytree(server.data, tmp_path / f"declared {client_id}")
        declare_loss(data, client_id)
        assert sum(outcome(data).breaches.values()) == 1


# ---- the proxy -----------------------------------------------------------------------------


class Echo(threading.Thread):
    """A server that keeps what each connection sent, and how it ended; `answer` is its reply."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__(daemon=True)
        self.received: list[bytearray] = []
        self.ends: list[str] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.received.append(bytearray())
            threading.Thread(
                target=self._serve, args=(connection, self.received[-1]), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, received: bytearray) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    received += data
                    connection.sendall(self._answer)
                self.ends.append("end")
            except ConnectionError:
                self.ends.append("reset")

    def __enter__(self) -> Echo:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def make_answer(kind: int, payload: bytes) -> bytes:
    return struct.pack(">2sBBI", b"\xfaW", kind, 0, len(payload)) + payload


def is_reset(connection: socket.socket) -> bool:
    with pytest.raises(ConnectionError):
        while True:
            connection.sendall(b"x")
            assert connection.recv(1), "the connection ended without a reset"
    return True


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo(make_answer(WELCOME, b"hello")) as echo:
        yield echo


def test_without_faults_the_proxy_forwards_all_bytes_and_the_end_both_ways(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, connect(proxy) as client:
        sent = os.urandom(3_000_000)
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        assert client.recv(13, socket.MSG_WAITALL) == make_answer(WELCOME, b"hello")
        sender.join()
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
        assert bytes(echo.received[0]) == sent
        assert (echo.ends, proxy.cuts) == (["end"], 0)


@pytest.mark.parametrize("after", [1, 2, 7, 99, 100])
def test_a_connection_is_reset_after_the_chosen_number_of_bytes(echo: Echo, after: int) -> None:
    with Proxy(echo.port) as proxy:
        proxy.choose_cut = lambda: after
        with connect(proxy) as client:
            client.sendall(bytes(100))
            assert is_reset(client)
        wait_for(lambda: echo.ends == ["reset"])
        assert len(echo.received[0]) == after
        assert proxy.cuts == 1


def test_cut_resets_all_connections_and_new_ones_are_forwarded(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, connect(proxy) as one, connect(proxy) as other:
        wait_for(lambda: proxy.forwarding == 2)
        proxy.cut()
        assert is_reset(one)
        assert is_reset(other)
        with connect(proxy) as third:
            third.sendall(b"x")
            assert third.recv(1)


def test_a_discarded_connection_stays_dead_and_new_ones_wait(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, connect(proxy) as old:
        old.sendall(b"a")
        assert old.recv(13, socket.MSG_WAITALL)
        proxy.discard()
        wait_for(lambda: not proxy.forwarding)
        with connect(proxy) as new:
            for each in (old, new):
                each.sendall(b"b")
            wait_for(lambda: proxy.discarded == 1)
            proxy.clear_faults()
            assert new.recv(13, socket.MSG_WAITALL) == make_answer(WELCOME, b"hello")
            old.sendall(b"c")
            wait_for(lambda: proxy.discarded == 2)
        assert [bytes(received) for received in echo.received] == [b"a", b"b"]
        old.settimeout(0.05)
        with pytest.raises(TimeoutError):  # neither an end nor a reset
            old.recv(1)


@pytest.mark.parametrize("linger", [b"", struct.pack("ii", 1, 0)], ids=["end", "reset"])
def test_the_end_of_one_side_of_a_dead_connection_is_not_forwarded(
    echo: Echo, linger: bytes
) -> None:
    with Proxy(echo.port) as proxy:
        with connect(proxy) as client:
            client.sendall(b"a")
            assert client.recv(13, socket.MSG_WAITALL)
            proxy.discard()
            wait_for(lambda: not proxy.forwarding)
            proxy.clear_faults()
            if linger:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        with connect(proxy) as client:
            client.sendall(b"a")
            assert client.recv(13, socket.MSG_WAITALL)
        wait_for(lambda: echo.ends)
        assert (echo.ends, proxy.cuts) == (["end"], 0)
    wait_for(lambda: echo.ends == ["end", "end"])


def test_acks_are_dropped_and_other_frames_forwarded() -> None:
    answer = make_answer(WELCOME, b"1") + make_answer(ACK, b"22") + make_answer(0x40, b"333")
    with Echo(answer) as echo, Proxy(echo.port) as proxy, connect(proxy) as client:
        proxy.drops_acks = True
        client.sendall(b"x")
        rest = make_answer(WELCOME, b"1") + make_answer(0x40, b"333")
        assert client.recv(len(rest), socket.MSG_WAITALL) == rest
        assert proxy.dropped_acks == 1
        proxy.clear_faults()
        client.sendall(b"x")
        assert client.recv(len(answer), socket.MSG_WAITALL) == answer


def test_a_connection_ends_if_nothing_listens_on_the_target() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Proxy(port) as proxy, connect(proxy) as client:
        assert client.recv(1) == b""


def test_pending_bytes_for_a_side_that_does_not_read_are_limited() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Proxy(silent.getsockname()[1]) as proxy,
        connect(proxy) as client,
    ):
        client.settimeout(1.0)
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                client.sendall(bytes(1_000_000))
        wait_for(lambda: proxy.forwarding)
        proxy.cut()  # and it can still be cut
        wait_for(lambda: not proxy.forwarding)


# ---- the command ---------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, with_client: dict[str, str]) -> dict[str, str]:
    """Return an environment whose temporary files are in `tmp_path / "tmp"`."""
    (tmp_path / "tmp").mkdir()
    return {**with_client, "TMPDIR": str(tmp_path / "tmp")}


def left_behind(tmp_path: Path) -> list[str]:
    """Return what a drill has not removed: files, and processes that use its directory."""
    place = str(tmp_path / "tmp")
    found = [str(path) for path in (tmp_path / "tmp").iterdir()]
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (
                place in str((entry / "cwd").readlink()) or place in (entry / "cmdline").read_text()
            ):
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_a_drill_on_this_machine_keeps_all_promises(
    tmp_path: Path, temporary: dict[str, str]
) -> None:
    out = subprocess.run(
        [FASTLOG, "drill", "--json", "--seconds", "3", "--seed", "5"],
        env=temporary, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert out.returncode == 0, out.stdout + out.stderr
    result = json.loads(out.stdout)
    assert result["holds"]
    assert result["seed"] == 5
    assert "seed 5" in out.stderr
    assert {row["phase"] for row in result["rows"]} == {phase.name for phase in PHASES}
    assert all(row["sent"] > 10 and row["stored"] for row in result["rows"])
    assert all(row["twice"] == row["wrong"] == 0 for row in result["rows"])
    assert all(row["uncounted"] == 0 or row["may_lose"] for row in result["rows"])
    done = result["done"]
    assert min(done.values()) > 0, done
    assert {"kill -9 of everything", "freeze everything", "discard all traffic"} <= set(done)
    assert done["record sent again"] > 0
    assert result["directory"] is None
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("seed", signal.SIGINT),
        ("reloads", signal.SIGTERM),
        ("freeze everything", signal.SIGHUP),
        ("kill -9 of a client", signal.SIGINT),
        ("compare", signal.SIGTERM),
    ],
)
def test_an_interrupted_drill_leaves_nothing_behind(
    tmp_path: Path, temporary: dict[str, str], moment: str, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [FASTLOG, "drill", "--seconds", "1"],
        env=temporary, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any(moment in line for line in process.stderr)
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()
    wait_for(lambda: left_behind(tmp_path) == [], "all of it is gone")


def test_without_the_client_package_a_drill_names_what_to_install(
    tmp_path: Path, temporary: dict[str, str]
) -> None:
    (tmp_path / "fastlog_client.py").write_text("raise ImportError")
    env = {**temporary, "PYTHONPATH": str(tmp_path)}
    out = subprocess.run(
        [FASTLOG, "drill"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert out.returncode == 1
    assert out.stdout == ""
    assert out.stderr == (
        "fastlog drill: the drill needs fastlog-client: "
        "pip install fastlog-client, or ./client in a checkout\n"
    )
    assert left_behind(tmp_path) == []


def make_outcome(**fields: Any) -> Outcome:
    rows = kept_rows(**fields)
    return Outcome(
        7, rows, count_breaches(rows), {"reload": 3}, LedgerTotals({}, 0, {}, {"truncated": 1}), 1.0
    )


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the drill's directory; return it."""
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(command, "has_package", lambda: True)
    monkeypatch.setattr(command.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "home"))
    return tmp_path / "home"


def invoke_drill(
    monkeypatch: pytest.MonkeyPatch, result: Outcome | Exception, *args: str
) -> tuple[int, str, str]:
    def run(*_: object) -> Outcome:
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(command, "run", run)
    out = CliRunner().invoke(fastlog, ["drill", *args], standalone_mode=False)
    return out.return_value, out.stdout, out.stderr


def test_a_broken_promise_sets_the_exit_code_and_keeps_the_directory(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    broken = make_outcome(account=Account(sent=10, stored=10, twice=2))
    code, out, _ = invoke_drill(monkeypatch, broken)
    assert code == 1
    assert "BROKEN  nothing is stored twice: 2 times not" in out
    assert str(directory) in "".join(out.split("\n"))
    assert directory.exists()
    code, out, _ = invoke_drill(monkeypatch, broken, "--json")
    assert (code, json.loads(out)["holds"]) == (1, False)
    assert json.loads(out)["directory"] == str(directory)


def test_the_directory_is_kept_with_keep_and_else_removed(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    code, out, _ = invoke_drill(monkeypatch, make_outcome(), "--keep")
    assert code in (0, None)
    assert str(directory) in out
    assert directory.exists()
    code, out, _ = invoke_drill(monkeypatch, make_outcome())
    assert code in (0, None)
    assert "BROKEN" not in out
    assert not directory.exists()


def test_a_failed_drill_keeps_the_directory(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    code, out, err = invoke_drill(
        monkeypatch, FastlogError("the server did not start"), "--seed", "3"
    )
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"fastlog drill: the server did not start; the files are in {directory}, the seed was 3"
    )
    assert directory.exists()
