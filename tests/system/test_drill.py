"""The drill sees every fault, its network is as bad as it says, and it leaves nothing behind."""

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
from fastlog.drill import Account, Outcome, Row
from fastlog.drill.clients import Client, Kind
from fastlog.drill.evidence import Ledger
from fastlog.drill.oracle import PROMISES, is_broken_to, judge, settle
from fastlog.drill.proxy import Proxy
from fastlog.drill.story import MEMORY, PHASES, STOCK, Voyage, compare
from fastlog.errors import FastlogError
from fastlog.ledger import Entry
from fastlog.ledger import Ledger as TheLedger
from fastlog.record import Loss

# the name fastlog.cli.drill is the command
command = importlib.import_module("fastlog.cli.drill")
ACK, WELCOME = 0x20, 0x04


# ---- the oracle ----------------------------------------------------------------------------


def test_an_account_without_a_fault() -> None:
    assert settle(3, [1, 2, 3]) == Account(sent=3, stored=3)


def test_what_is_missing_is_counted_or_not() -> None:
    account = settle(6, [1, 2, 6], [range(3, 5)])
    assert account == Account(sent=6, stored=3, counted=2, uncounted=1)


def test_the_last_record_may_be_the_one_that_is_missing() -> None:
    assert settle(3, [1, 2]).uncounted == 1
    assert settle(1, []).uncounted == 1


def test_a_double_is_seen_though_the_sum_is_right() -> None:
    assert settle(3, [1, 3, 3]) == Account(sent=3, stored=2, uncounted=1, twice=1)


def test_a_double_far_away_is_no_disorder() -> None:
    assert settle(3, [1, 2, 3, 1]) == Account(sent=3, stored=3, twice=1)


def test_records_behind_a_later_one_are_out_of_order() -> None:
    assert settle(5, [1, 4, 2, 3, 5]) == Account(sent=5, stored=5, disordered=2)


def test_what_is_declared_and_stored_is_declared_wrongly() -> None:
    assert settle(3, [1, 2, 3], [range(2, 4)]).wrong == 2


def test_what_was_never_sent_can_neither_be_stored_nor_declared() -> None:
    assert settle(3, [1, 2, 3, 4]).wrong == 1
    assert settle(3, [1, 2, 3], [range(4, 6)]).wrong == 2


def test_a_record_at_which_its_client_was_killed_may_be_stored_or_not() -> None:
    assert settle(3, [1, 2, 3, 4], unsure=[4]) == settle(3, [1, 2, 3], unsure=[4])
    assert settle(3, [1, 2, 3, 4], unsure=[4]).wrong == 0


def test_folded_losses_make_up_for_as_many_as_they_are() -> None:
    account = settle(9, [1, 2, 3], [range(4, 6)])
    assert account.count_folded(4) == account._replace(counted=6, uncounted=0)
    assert account.count_folded(3).uncounted == 1
    assert account.count_folded(5).wrong == 1


@given(st.integers(1, 60), st.sets(st.integers(1, 60)), st.data())
def test_any_fault_in_a_right_store_is_seen(sent: int, lost: set[int], data: Any) -> None:
    lost = {number for number in lost if number <= sent}
    stored = [number for number in range(1, sent + 1) if number not in lost]
    declared = [range(number, number + 1) for number in lost]
    right = settle(sent, stored, declared)
    assert right == Account(sent, len(stored), len(lost))
    if not stored:
        return
    at = data.draw(st.integers(0, len(stored) - 1))
    assert settle(sent, stored[:at] + stored[at + 1 :], declared).uncounted == 1
    assert settle(sent, [*stored, stored[at]], declared).twice == 1
    assert settle(sent, stored, [*declared, range(stored[at], stored[at] + 1)]).wrong == 1
    if at:
        assert settle(sent, [stored[at], *stored[:at], *stored[at + 1 :]], declared).disordered


def a_row(**fields: Any) -> Row:
    return Row(**{"phase": "kills", "kind": "x", "is_ours": True, "clients": 1, **fields})


def some_rows(**fields: Any) -> list[Row]:
    """Rows to which every promise was made, and kept; the first has these fields."""
    fine = Account(sent=10, stored=10)
    return [
        a_row(**{"account": fine, **fields}),
        a_row(account=fine, is_ours=False, keeps_connection=True, connections=1),
    ]


def test_promises_that_were_kept() -> None:
    rows = some_rows()
    assert judge(rows) == {promise.text: 0 for promise in PROMISES}
    assert not any(map(is_broken_to, rows))


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
    rows = some_rows(account=Account(sent=10, stored=10)._replace(**{field: 2}))
    assert {text for text, count in judge(rows).items() if count} == broken
    assert [is_broken_to(row) for row in rows] == [True, False]


def test_a_connection_that_did_not_survive_a_reload_breaks_a_promise() -> None:
    rows = some_rows()
    rows[1].connections = 2
    assert sum(judge(rows).values()) == 1


def test_records_that_a_client_still_has_at_the_end_break_a_promise() -> None:
    assert sum(judge(some_rows(unsent=1)).values()) == 1


def test_who_was_promised_nothing_may_lose_and_not_double() -> None:
    lossy = {"is_ours": False, "may_lose": "nobody acknowledges"}
    lost = a_row(**lossy, account=Account(sent=10, stored=5, uncounted=5, disordered=1))
    assert not is_broken_to(lost)
    assert is_broken_to(a_row(**lossy, account=Account(sent=10, stored=10, twice=1)))


def test_what_was_not_tried_is_not_proven() -> None:
    assert all(judge([]).values())
    assert all(judge([a_row(keeps_connection=True)]).values())


# ---- the oracle and a real store -----------------------------------------------------------


@pytest.fixture
def with_client(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Programs that are started find fastlog_client; returns their environment."""
    path = os.pathsep.join([str(CLIENT), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    return {**os.environ, "PYTHONPATH": path}


def a_voyage(server: Server, home: Path, kind: Kind) -> Voyage:
    client = Client(kind, f"a {kind.handler} client", home)
    client.start(server.port, rate=500, seed=1)
    try:
        wait_for(lambda: client.has_logged() > 300)
        client.ask_to_end()
        return Voyage(PHASES[0], client, client.wait())
    finally:
        client.end()


def delete_one(day: sqlite3.Connection) -> None:
    day.execute("DELETE FROM records WHERE rowid = (SELECT max(rowid) FROM records) / 2")


def double_one(day: sqlite3.Connection) -> None:
    names = [row[1] for row in day.execute("PRAGMA table_info(records)")]
    listed = ", ".join(f'"{name}"' for name in names)
    day.execute(f"INSERT INTO records ({listed}) SELECT {listed} FROM records LIMIT 1")


def swap_two(day: sqlite3.Connection) -> None:
    """The first and the last record of our client change places."""
    ours = "json_extract(extra, '$.client') = 'a fastlog client'"
    first, last = day.execute(f"SELECT min(rowid), max(rowid) FROM records WHERE {ours}").fetchone()
    extras = dict(day.execute("SELECT rowid, extra FROM records"))
    for at, other in ((first, last), (last, first)):
        day.execute("UPDATE records SET extra = ? WHERE rowid = ?", (extras[other], at))


def declare_one(data: Path, client_id: str) -> None:
    """The ledger says that a record is lost which is stored."""
    loss = Loss("", "memory full", 1, 0.0, 0.0, f"client {client_id}, records 7 to 7")
    with TheLedger(data / "ledger.db") as ledger:
        ledger.record("a node", [Entry(1, 0, loss)], 2)


def test_a_store_with_a_fault_breaks_its_promise(
    tmp_path: Path, with_client: dict[str, str]
) -> None:
    with Server(tmp_path) as server:
        voyages = [a_voyage(server, tmp_path, kind) for kind in (STOCK, MEMORY)]
        sent = [voyage.report.sent for voyage in voyages]
        server.wait_stored(sum(sent))
        assert server.stop() == 0

    def outcome(data: Path) -> Outcome:
        return compare(data, voyages, 0, Counter(), 0.0)

    def broken(spoil: Callable[[sqlite3.Connection], None]) -> set[str]:
        data = shutil.copytree(server.data, tmp_path / spoil.__name__)
        (day,) = (data / "logs").glob("*.db")
        with closing(sqlite3.connect(day, isolation_level=None)) as connection:
            spoil(connection)
        return {text for text, count in outcome(data).promises.items() if count}

    assert outcome(server.data).holds
    assert [row.account for row in outcome(server.data).rows] == [Account(n, n) for n in sent]
    assert "what was sent is stored, or declared as lost" in broken(delete_one)
    assert broken(double_one) == {"nothing is stored twice"}
    assert broken(swap_two) == {"each client's order is kept"}
    ours, nobody = voyages[1].report.client_id, "0" * 8
    assert ours is not None
    for client_id in (ours, nobody):
        data = shutil.copytree(server.data, tmp_path / f"declared {client_id}")
        declare_one(data, client_id)
        assert sum(outcome(data).promises.values()) == 1


# ---- the proxy -----------------------------------------------------------------------------


class Echo(threading.Thread):
    """A server that notes what each connection brings, and how it ended; `answer` is its reply."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__(daemon=True)
        self.got: list[bytearray] = []
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
            self.got.append(bytearray())
            threading.Thread(
                target=self._serve, args=(connection, self.got[-1]), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, got: bytearray) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    got += data
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


def an_answer(kind: int, payload: bytes) -> bytes:
    return struct.pack(">2sBBI", b"\xfaW", kind, 0, len(payload)) + payload


def is_reset(connection: socket.socket) -> bool:
    with pytest.raises(ConnectionError):
        while True:
            connection.sendall(b"x")
            assert connection.recv(1), "an end, and no reset"
    return True


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo(an_answer(WELCOME, b"hello")) as echo:
        yield echo


def test_without_a_fault_the_proxy_passes_all_both_ways_and_the_end_too(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, connect(proxy) as client:
        sent = os.urandom(3_000_000)
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        assert client.recv(13, socket.MSG_WAITALL) == an_answer(WELCOME, b"hello")
        sender.join()
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
        assert bytes(echo.got[0]) == sent
        assert (echo.ends, proxy.cuts) == (["end"], 0)


@pytest.mark.parametrize("after", [1, 2, 7, 99, 100])
def test_a_connection_is_reset_after_exactly_so_many_bytes(echo: Echo, after: int) -> None:
    with Proxy(echo.port) as proxy:
        proxy.draw_cut = lambda: after
        with connect(proxy) as client:
            client.sendall(bytes(100))
            assert is_reset(client)
        wait_for(lambda: echo.ends == ["reset"])
        assert len(echo.got[0]) == after
        assert proxy.cuts == 1


def test_all_connections_can_be_cut_at_once_and_new_ones_pass(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, connect(proxy) as one, connect(proxy) as other:
        wait_for(lambda: proxy.passing == 2)
        proxy.cut()
        assert is_reset(one)
        assert is_reset(other)
        with connect(proxy) as third:
            third.sendall(b"x")
            assert third.recv(1)


def test_a_swallowed_connection_stays_dead_and_new_ones_wait(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, connect(proxy) as old:
        old.sendall(b"a")
        assert old.recv(13, socket.MSG_WAITALL)
        proxy.swallow()
        wait_for(lambda: not proxy.passing)
        with connect(proxy) as new:
            for each in (old, new):
                each.sendall(b"b")
            wait_for(lambda: proxy.swallowed == 1)
            proxy.heal()
            assert new.recv(13, socket.MSG_WAITALL) == an_answer(WELCOME, b"hello")
            old.sendall(b"c")
            wait_for(lambda: proxy.swallowed == 2)
        assert [bytes(got) for got in echo.got] == [b"a", b"b"]
        old.settimeout(0.05)
        with pytest.raises(TimeoutError):  # it is not told that it is dead
            old.recv(1)


@pytest.mark.parametrize("linger", [b"", struct.pack("ii", 1, 0)], ids=["end", "reset"])
def test_the_other_side_of_a_dead_connection_is_not_told_how_one_ends(
    echo: Echo, linger: bytes
) -> None:
    with Proxy(echo.port) as proxy:
        with connect(proxy) as client:
            client.sendall(b"a")
            assert client.recv(13, socket.MSG_WAITALL)
            proxy.swallow()
            wait_for(lambda: not proxy.passing)
            proxy.heal()
            if linger:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        with connect(proxy) as client:
            client.sendall(b"a")
            assert client.recv(13, socket.MSG_WAITALL)
        wait_for(lambda: echo.ends)
        assert (echo.ends, proxy.cuts) == (["end"], 0)
    wait_for(lambda: echo.ends == ["end", "end"])


def test_acks_are_dropped_and_nothing_else() -> None:
    answer = an_answer(WELCOME, b"1") + an_answer(ACK, b"22") + an_answer(0x40, b"333")
    with Echo(answer) as echo, Proxy(echo.port) as proxy, connect(proxy) as client:
        proxy.drops_acks = True
        client.sendall(b"x")
        rest = an_answer(WELCOME, b"1") + an_answer(0x40, b"333")
        assert client.recv(len(rest), socket.MSG_WAITALL) == rest
        assert proxy.dropped_acks == 1
        proxy.heal()
        client.sendall(b"x")
        assert client.recv(len(answer), socket.MSG_WAITALL) == answer


def test_while_nobody_listens_there_whoever_comes_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Proxy(port) as proxy, connect(proxy) as client:
        assert client.recv(1) == b""


def test_a_side_that_does_not_read_does_not_fill_the_memory() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        Proxy(deaf.getsockname()[1]) as proxy,
        connect(proxy) as client,
    ):
        client.settimeout(1.0)
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                client.sendall(bytes(1_000_000))
        wait_for(lambda: proxy.passing)
        proxy.cut()  # and it can still be cut
        wait_for(lambda: not proxy.passing)


# ---- the command ---------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, with_client: dict[str, str]) -> dict[str, str]:
    """An environment in which all temporary files are in `tmp_path / "tmp"`."""
    (tmp_path / "tmp").mkdir()
    return {**with_client, "TMPDIR": str(tmp_path / "tmp")}


def left_behind(tmp_path: Path) -> list[str]:
    """What a drill has not removed: files, and processes that were started there, or for there."""
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


def test_a_drill_on_this_machine_holds(tmp_path: Path, temporary: dict[str, str]) -> None:
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
    assert {"kill -9 of everything", "freeze everything", "swallow everything"} <= set(done)
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
def test_a_drill_that_is_ended_leaves_nothing_behind(
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


def test_without_the_client_a_drill_says_what_to_install(
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
        "fastlog drill: the drill needs the client too: "
        "pip install fastlog-client, or ./client in a checkout\n"
    )
    assert left_behind(tmp_path) == []


def an_outcome(**fields: Any) -> Outcome:
    rows = some_rows(**fields)
    return Outcome(7, rows, judge(rows), {"reload": 3}, Ledger({}, 0, {}, {"truncated": 1}), 1.0)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a drill that is not run."""
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(command, "has_package", lambda: True)
    monkeypatch.setattr(command.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "home"))
    return tmp_path / "home"


def a_drill(
    monkeypatch: pytest.MonkeyPatch, result: Outcome | Exception, *args: str
) -> tuple[int, str, str]:
    def run(*_: object) -> Outcome:
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(command, "run", run)
    out = CliRunner().invoke(fastlog, ["drill", *args], standalone_mode=False)
    return out.return_value, out.stdout, out.stderr


def test_a_broken_promise_is_an_exit_code_and_keeps_the_directory(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    broken = an_outcome(account=Account(sent=10, stored=10, twice=2))
    code, out, _ = a_drill(monkeypatch, broken)
    assert code == 1
    assert "BROKEN  nothing is stored twice: 2 times not" in out
    assert str(directory) in "".join(out.split("\n"))
    assert directory.exists()
    code, out, _ = a_drill(monkeypatch, broken, "--json")
    assert (code, json.loads(out)["holds"]) == (1, False)
    assert json.loads(out)["directory"] == str(directory)


def test_the_directory_is_kept_where_that_is_wanted_and_else_removed(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    code, out, _ = a_drill(monkeypatch, an_outcome(), "--keep")
    assert code in (0, None)
    assert str(directory) in out
    assert directory.exists()
    code, out, _ = a_drill(monkeypatch, an_outcome())
    assert code in (0, None)
    assert "BROKEN" not in out
    assert not directory.exists()


def test_a_drill_that_cannot_be_carried_out_fails_and_keeps_the_directory(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    code, out, err = a_drill(monkeypatch, FastlogError("the server did not start"), "--seed", "3")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"fastlog drill: the server did not start; the files are in {directory}, the seed was 3"
    )
    assert directory.exists()
