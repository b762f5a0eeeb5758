"""SIGHUP replaces the running server without closing a connection.

The server runs from a copy of the package, which a test can break between its start and the signal:
that is the code that is installed now. Each client numbers its records; what is stored must be each
number once, in order, over one and the same connection.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conditions import wait_for
from faults import SMALL_JOURNAL, numbers, small_disk, stopped
from installed_server import NEW, OLD, Installed
from interpreters import environment, interpreters
from places import SUPPORT
from protocol_client import ServerRejectedError, Speaker, batch, frame, record
from senders import Sender, stock_frame
from servers import SERVER, Server, kill, processes_of

SCRIPT = SUPPORT / "clients" / "log_numbers.py"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Installed]:
    with Installed(tmp_path) as server:
        yield server


class Program:
    """A process that logs numbered records through the stock SocketHandler."""

    def __init__(self, server: Server, version: str, pause: float) -> None:
        self.client = f"Python {version}"
        command = [interpreters()[version], SCRIPT, "127.0.0.1", server.port, self.client, pause]
        self._process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )

    def stop(self) -> int:
        """Return the number of records logged, all of them over one connection."""
        out, err = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, err
        result = json.loads(out)
        assert len(result["ports"]) == 1, "it has connected again"
        return int(result["logged"])


class Batches(threading.Thread):
    """A fastlog client that sends batches over one connection and reads the acknowledgements."""

    def __init__(self, server: Server, client: str, pause: float = 0.01) -> None:
        super().__init__(daemon=True)
        self.client, self.sent = client, 0
        self._speaker, self._pause = Speaker(server.port), pause
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._committed = self._speaker.greet().committed
        self.start()

    def run(self) -> None:
        try:
            while not self._ended.wait(self._pause):
                records = [record(self.sent + n, client=self.client) for n in range(5)]
                self._speaker.send(batch(self.sent + 1, records))
                self.sent += len(records)
                while select.select([self._speaker.socket], [], [], 0)[0]:
                    self._read_ack()
            while self._committed < self.sent:
                self._read_ack()
        except BaseException as error:
            self._failure = error

    def _read_ack(self) -> None:
        committed = self._speaker.ack().committed
        assert self._committed <= committed <= self.sent
        self._committed = committed

    def stop(self) -> None:
        self._ended.set()
        self.join(60)
        assert not self.is_alive()
        assert self._failure is None, repr(self._failure)
        self._speaker.socket.close()


def some_versions() -> list[str]:
    found = list(interpreters())
    return sorted({found[0], found[len(found) // 2], found[-1]})  # 2.7 is the first, where it is


# ---- under load ----------------------------------------------------------------------------


def test_a_reload_under_load_closes_no_connection(tmp_path: Path) -> None:
    replace_under_load(tmp_path, reloads=4)


@pytest.mark.soak
def test_twenty_reloads_under_load_close_no_connection(tmp_path: Path) -> None:
    replace_under_load(tmp_path, reloads=20)


def replace_under_load(home: Path, reloads: int) -> None:
    with Installed(home) as server:
        pid = server.pid
        programs = [Program(server, version, 0.0005) for version in some_versions()]
        senders: list[Sender | Batches] = []
        senders += [Sender(f"sender {n}", lambda: server.port, pause=0.0005) for n in range(5)]
        senders += [Batches(server, f"batches {n}") for n in range(3)]
        accepted = len(programs) + len(senders)
        wait_for(lambda: len(numbers(server.records())) == accepted)
        for _ in range(reloads):
            before, frames = server.children(), server.status()["frames"]
            server.reload()
            after = server.children()
            assert before.keys() == after.keys()
            assert not set(before.values()) & set(after.values()), "all of them are new"
            wait_for(lambda n=frames: server.status()["frames"] > n + 100)
        logged = {program.client: program.stop() for program in programs}
        for sender in senders:
            sender.stop()
            logged[sender.client] = sender.sent
        assert server.status()["accepted"] == accepted, "no connection but the first"
        server.wait_stored(sum(logged.values()))
        stored = numbers(server.records())
        assert stored == {client: list(range(count)) for client, count in logged.items()}
        assert server.losses() == server.rejected() == []
        assert server.count_logged("Traceback") == 0
        assert [server.stop(), server.pid] == [0, pid]
        assert processes_of(server.data) == []


def test_partial_stock_frames_of_any_length_are_handed_over(server: Installed) -> None:
    small, large = stock_frame("small"), stock_frame("x" * ((1 << 20) - 1000))
    cuts = [(small, cut) for cut in (*range(1, 12), len(small) // 2, len(small) - 1)]
    cuts += [(large, cut) for cut in (3, 4, 5, 1000, 100_000, 1 << 19, len(large) - 1)]
    clients = [(server.connect(frame[:cut]), frame[cut:]) for frame, cut in cuts]
    idle = server.connect()
    wait_for(lambda: server.status().get("connections") == len(clients) + 1)
    server.reload()
    server.reload()
    assert server.stored() == 0
    for client, rest in clients:
        client.sendall(rest)
    idle.sendall(small)
    server.wait_stored(len(clients) + 1)
    messages = sorted(len(row["message"]) for row in server.records())
    assert messages == [5] * 14 + [(1 << 20) - 1000] * 7
    assert server.status()["accepted"] == len(clients) + 1
    assert server.rejected() == server.losses() == []


def test_data_that_arrives_during_the_handover_is_read_by_the_new_receiver(
    server: Installed,
) -> None:
    client = server.connect(stock_frame("before"))
    server.wait_stored(1)
    with stopped(server.children()["receiver"]):
        client.sendall(stock_frame("between")[:30])
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: server.children() and len(receivers(server)) == 2)
        client.sendall(stock_frame("between")[30:])
        client.shutdown(socket.SHUT_WR)
    wait_for(lambda: server.count_logged(NEW))
    server.wait_stored(2)
    assert [row["message"] for row in server.records()] == ["before", "between"]
    wait_for(lambda: server.status()["connections"] == 0)


def receivers(server: Server) -> list[int]:
    return [pid for pid, role in processes_of(server.data) if role == "receiver"]


def test_a_thousand_connections_pause_for_tens_of_milliseconds(server: Installed) -> None:
    clients = [server.connect(stock_frame(f"{n}") + b"\0\0") for n in range(1000)]
    server.wait_stored(1000)
    server.reload()
    (pause,) = re.findall(r"took over in ([\d.]+) ms", server.messages())
    print(f"1,000 connections paused for {pause} ms")
    assert float(pause) < 500, "13 ms here; a loaded machine may take its time"
    for n, client in enumerate(clients):
        client.sendall(stock_frame(f"again {n}")[2:])
    server.wait_stored(2000)
    assert server.status()["accepted"] == 1000


# ---- clients of the fastlog protocol -----------------------------------------------------------


def test_partial_fastlog_frames_of_any_length_are_handed_over(server: Installed) -> None:
    clients = []
    for cut in (1, 2, 7, 8, 9, 24, 25, 100, 50_000, -1):
        speaker = Speaker(server.port)
        speaker.greet()
        sent = batch(1, [record(n, client=f"{cut}", x="y" * 50_000) for n in range(3)])
        speaker.send(sent[:cut])
        clients.append((speaker, sent[cut:]))
    server.reload()
    server.reload()
    for speaker, rest in clients:
        speaker.send(rest)
        assert speaker.until(3).committed == 3
        speaker.socket.close()
    server.wait_stored(30)
    assert set(map(tuple, numbers(server.records()).values())) == {(0, 1, 2)}


def test_clients_and_their_sequences_are_known_after_a_reload(server: Installed) -> None:
    gone, stays = Speaker(server.port), Speaker(server.port)
    for client in (gone, stays):
        client.greet()
        client.send(batch(1, [record(n, client=client.client.hex()) for n in range(10)]))
        client.until(10)
    gone.socket.close()
    server.reload()
    for client in (gone, stays):  # as if the connected one had lost its network
        again = Speaker(server.port, client.client)
        assert again.greet(1, 21).committed == 10
        again.send(batch(1, [record(n, client=client.client.hex()) for n in range(20)]))
        again.until(20)
    server.wait_stored(40)
    assert set(map(tuple, numbers(server.records()).values())) == {tuple(range(20))}
    with pytest.raises(EOFError):
        for _ in range(5):  # what was sent before
            stays.ack()


def test_owners_of_ids_outlive_a_reload_and_connections_of_a_removed_key_are_closed(
    tmp_path: Path,
) -> None:
    keys = '[auth]\nkeys = ["web:old", "batch:other"]\n'
    with Installed(tmp_path, config=keys) as server:
        owners = "web:old", "batch:other", ""
        web, batch_, free = (Speaker(server.port, key=key) for key in owners)
        for client in (web, batch_, free):
            client.greet()
            client.send(batch(1, [record(n, client=client.client.hex()) for n in range(10)]))
            client.until(10)
        server.reload()
        for client, key in ((web, "batch:other"), (batch_, ""), (free, "web:old")):
            with Speaker(server.port, client.client, key=key) as thief:
                with pytest.raises(ServerRejectedError) as error:
                    thief.greet(1, 1000, incarnation=2)
                assert (error.value.code, error.value.action) == (3, 2)
        config = tmp_path / "fastlog.toml"
        config.write_text(keys.replace('"web:old"', '"web:old", "web:new"'))
        server.reload()
        for client in (web, batch_, free):
            client.send(batch(11, [record(10, client=client.client.hex())]))
            client.until(11)
        config.write_text('[auth]\nkeys = ["web:new"]\n')
        server.reload()
        for client in (web, batch_):
            rejection = client.rejection()
            assert (rejection.code, rejection.action) == (2, 1)
        free.send(batch(12, [record(11, client=free.client.hex())]))
        free.until(12)
        assert Speaker(server.port, web.client, key="web:new").greet(1, 12).committed == 11
        with pytest.raises(ServerRejectedError) as error:
            Speaker(server.port, batch_.client, key="batch:other").greet(1, 12)
        assert (error.value.code, error.value.action) == (2, 1)
        server.wait_stored(34)
        assert server.losses() == []


def test_an_unfinished_handshake_is_closed(server: Installed) -> None:
    speaker = Speaker(server.port)
    speaker.send(frame(1, speaker.hello_payload())[:40])
    wait_for(lambda: server.status().get("connections") == 1)
    server.reload()
    assert speaker.at_end()
    assert Speaker(server.port, speaker.client).greet().committed == 0


def test_fastlog_clients_send_the_pending_block_again(tmp_path: Path) -> None:
    config = SMALL_JOURNAL + 'when_full = "pause"\n'
    with Installed(tmp_path, config=config) as server:
        stock, speaker = server.connect(), Speaker(server.port)
        speaker.greet()
        speaker.socket.settimeout(0.5)
        with stopped(server.children()["worker sqlite"]):
            sent = 0
            with pytest.raises(TimeoutError):  # it ignores the window
                while True:
                    speaker.send(batch(sent + 1, [record(sent, client="a", x="y" * 20_000)]))
                    stock.sendall(stock_frame(client="b", number=sent))
                    sent += 1
            stock_sent = sent
            os.kill(server.pid, signal.SIGHUP)
            wait_for(lambda: "took over in" in server.messages())
        wait_for(lambda: server.count_logged(NEW))
        speaker.socket.settimeout(30)
        rejected = speaker.rejection()
        assert (rejected.code, rejected.action) == (6, 0), "the journal is full; try again"
        again = Speaker(server.port, speaker.client)
        committed = again.greet(1, sent + 1).committed
        assert 0 < committed < sent
        for n in range(sent):
            again.send(batch(n + 1, [record(n, client="a", x="y" * 20_000)]))
        again.until(sent)
        server.wait_stored(sent + stock_sent)
        stored = numbers(server.records())
        assert stored["a"] == list(range(sent))
        assert stored["b"] == list(range(stock_sent))
        assert server.losses() == []


# ---- new code that does not work -------------------------------------------------------------

FUTURE = "from __future__ import annotations\n"
MAIN = "\nimport os, sys, time\nif __name__ == '__main__':\n    "
BROKEN = {
    "a receiver that does not import": (
        ("receiver/receiver.py", FUTURE, FUTURE + "import nothing_of_that_name\n"),
        "ModuleNotFoundError: No module named 'nothing_of_that_name'",
    ),
    "a worker that does not import": (
        ("worker/worker.py", FUTURE, FUTURE + "raise RuntimeError('of the worker')\n"),
        "RuntimeError: of the worker",
    ),
    "a sink that does not import": (
        ("sinks/sqlite.py", FUTURE, FUTURE + "raise RuntimeError('of the sink')\n"),
        "fastlog-server: sink 'sqlite' (fastlog.sinks.sqlite:SqliteSink) cannot be loaded: "
        "RuntimeError: of the sink",
    ),
    "a supervisor that does not import": (
        ("server/supervisor.py", FUTURE, FUTURE + "import nothing_of_that_name\n"),
        "ModuleNotFoundError: No module named 'nothing_of_that_name'",
    ),
    "a command that is no Python": (("cli/serve.py", FUTURE, "def\n"), "SyntaxError: invalid"),
    "a program that knows nothing of a rehearsal": (
        ("cli/serve.py", '"--rehearse-fd"', '"--renamed-fd", "rehearse_fd"'),
        "fastlog-server: No such option '--rehearse-fd'",
    ),
    "a program that prints nonsense": (
        ("cli/serve.py", "    sys.exit(run(", "    sys.exit(print('ha'))\n    sys.exit(run("),
        "the new code has no plan, but 'ha'",
    ),
    "a program whose plan is another": (
        ("cli/serve.py", "    sys.exit(run(", "    sys.exit(print('[7]'))\n    sys.exit(run("),
        "the old code cannot follow the new one's plan: Expected `object`, got `array`",
    ),
    "a program that ends without a word": (
        ("cli/serve.py", "def main() -> None:\n", "def main() -> None:\n    sys.exit(7)\n"),
        "the new code ended with 7",
    ),
    "a worker that hangs when it is imported": (
        ("worker/worker.py", FUTURE, FUTURE + "import time; time.sleep(600)\n"),
        "the new code was not ready to run after 4 s",
    ),
    "a supervisor that cannot read the state": (
        ("server/state.py", "VERSION = 2", "VERSION = 3"),
        "fastlog-server: the old supervisor leaves its state in version 2, the new code takes 3: "
        "only stopping and starting will do",
    ),
    "a receiver that dies before it is ready": (
        ("receiver/__main__.py", FUTURE, FUTURE + MAIN + "os._exit(3)\n"),
        "the new receiver ended with 3",
    ),
    "a receiver that hangs before it is ready": (
        ("receiver/__main__.py", FUTURE, FUTURE + MAIN + "time.sleep(600)\n"),
        "the new receiver was not ready after 4 s",
    ),
    "a receiver that dies when it is ready": (
        ("receiver/handover_transport.py", "    (memory,) =", "    os._exit(4)\n    (memory,) ="),
        "the new receiver ended with 4",
    ),
    "a receiver that raises when it has the descriptors": (
        ("receiver/handover.py", "    def restore(self", "    restore = None\n\n    def _(self"),
        "the new receiver ended with 1",
    ),
    "a receiver that is killed when it has the descriptors": (
        ("receiver/handover.py", "        self._status.previous = state.counters\n",
         "        import os; os.kill(os.getpid(), 9)\n"),
        "the new receiver was killed by SIGKILL",
    ),
    "a receiver that hangs when it has the descriptors": (
        ("receiver/handover.py", "        self._status.previous = state.counters\n",
         "        time.sleep(600)\n"),
        "the new receiver had not taken over after 4 s",
    ),
    "a receiver that takes another version": (
        ("receiver/handover.py", "VERSION = 3", "VERSION = 4"),
        "the new receiver cannot continue: the old receiver's handover state has version 3, "
        "the new receiver reads version 4: stop and start the server instead",
    ),
    "a receiver that cannot read what it gets": (
        ("receiver/handover.py", "    pending: tuple[bytes, int] | None", "    pending: int"),
        "the new receiver cannot continue: cannot read the handover state of the old receiver: "
        "Expected `int`, got `None` - at `$.pending`",
    ),
}  # fmt: skip


DEADLINES = {
    "not ready to run": ("server/rehearsal.py", "PATIENCE = 10.0", "PATIENCE = 4.0"),
    "was not ready after": ("server/reload.py", "READY = 10.0", "READY = 4.0"),
    "not taken over": ("server/reload.py", "HAND_OVER = 10.0", "HAND_OVER = 4.0"),
}
"""By the log text after it has passed: the deadline of each phase, and a shorter one.

The same supervisor has to keep it in the reload that follows and succeeds, on a loaded machine too.
"""


def shorten_the_deadline(server: Installed, reason: str) -> None:
    """Shorten the deadline that this failure waits for."""
    for phase, edit in DEADLINES.items():
        if phase in reason:
            server.edit(*edit)


@pytest.mark.parametrize("what", BROKEN)
def test_new_code_that_does_not_work_is_not_used(tmp_path: Path, what: str) -> None:
    (file, old, new), reason = BROKEN[what]
    server = Installed(tmp_path)
    shorten_the_deadline(server, reason)
    with server:
        partial = server.connect(stock_frame("partial")[:50])
        senders = [Sender("a", lambda: server.port), Batches(server, "b"), Batches(server, "c")]
        wait_for(lambda: server.stored() > 30)
        children = server.children()
        good = server.edit(file, old, new)
        server.reload(OLD)
        (line,) = [line for line in server.messages().splitlines() if OLD in line]
        assert f"ERROR supervisor: reload: {reason}" in line
        assert server.children() == children, "the same processes as before"
        sent = senders[0].sent
        wait_for(lambda: senders[0].sent > sent + 50)
        partial.sendall(stock_frame("partial")[50:])
        (server.package / file).write_text(good)
        server.reload()
        for sender in senders:
            sender.stop()
        server.wait_stored(1 + sum(sender.sent for sender in senders))
        rows = [row for row in server.records() if row["message"] != "partial"]
        assert numbers(rows) == {sender.client: list(range(sender.sent)) for sender in senders}
        assert server.status()["accepted"] == 4
        assert server.losses() == server.rejected() == []
        assert server.stop() == 0


def test_an_invalid_configuration_is_not_used(tmp_path: Path) -> None:
    with Installed(tmp_path, config="[limits]\nconnections = 5\n") as server:
        client = server.connect(stock_frame("before"))
        children = server.children()
        toml = tmp_path / "fastlog.toml"
        for text, reason in (
            ("[limits]\nconnection = 5\n", "fastlog.toml:2: [limits] has no key 'connection'"),
            ('sink = ["sqlit:"]\n', "no sink is called 'sqlit'"),
        ):
            toml.write_text(text)
            server.reload(OLD)
            assert reason in server.messages()
        assert server.children() == children
        client.sendall(stock_frame("after"))
        server.wait_stored(2)


def test_an_address_in_use_cancels_the_reload(tmp_path: Path) -> None:
    server = Configured(tmp_path).configure(["tcp://127.0.0.1:0"])
    with server, socket.create_server(("127.0.0.1", 0)) as blocker:
        children = server.children()
        port = blocker.getsockname()[1]
        server.configure([f"unix://{tmp_path}/new", f"tcp://127.0.0.1:{port}"])
        server.reload(OLD)
        assert (
            f"cannot listen on tcp://127.0.0.1:{port}: the address is in use" in server.messages()
        )
        assert server.children() == children
        assert not (tmp_path / "new").exists(), "what was bound already is closed again"
        server.connect(stock_frame("still here")).close()
        server.wait_stored(1)


def test_a_bound_address_is_released_when_the_reload_fails(tmp_path: Path) -> None:
    with Configured(tmp_path).configure(["tcp://127.0.0.1:0"]) as server:
        server.configure(["tcp://127.0.0.1:0", f"unix://{tmp_path}/new"])
        good = server.edit("receiver/__main__.py", FUTURE, FUTURE + MAIN + "os._exit(3)\n")
        server.reload(OLD)
        assert not (tmp_path / "new").exists()
        (server.package / "receiver/__main__.py").write_text(good)
        server.reload()
        assert (tmp_path / "new").exists()


def test_a_supervisor_whose_new_code_fails_stays_and_runs_the_new_children(
    tmp_path: Path,
) -> None:
    with Installed(tmp_path) as server:
        client = server.connect(stock_frame("before"))
        children = server.children()
        breaking = f"open({str(server.package / 'server/supervisor.py')!r}, 'a').write('1/0')"
        good = (server.package / "server/supervisor.py").read_text()
        server.edit("receiver/__main__.py", FUTURE, FUTURE + MAIN + breaking + "\n")
        server.reload("reload: done, but for the supervisor, which stays as it was: "
                      "ZeroDivisionError: division by zero")  # fmt: skip
        assert not set(server.children().values()) & set(children.values())
        client.sendall(stock_frame("after"))
        server.wait_stored(2)
        (server.package / "server/supervisor.py").write_text(good)
        kill(server.children()["receiver"])
        wait_for(lambda: "receiver" in server.children(), "it is watched as before")
        wait_for(lambda: server.connect(stock_frame("and after that")))
        server.wait_stored(3)
        assert server.stop() == 0


def test_a_missing_program_leaves_the_supervisor_running(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    libraries = sysconfig.get_path("purelib")

    class Linked(Installed):
        def command(self) -> list[str | Path]:
            return [python, *super().command()]

    server = Linked(tmp_path)
    server._env["PYTHONPATH"] += os.pathsep + libraries
    with server:
        client = server.connect(stock_frame("before"))
        removing = f"    state.final and os.unlink({str(python)!r})\n    return 0\n"
        server.edit("server/rehearsal.py", "    return 0\n", removing)
        server.reload("reload: done, but for the supervisor, which stays as it was: ")
        assert "No such file or directory" in server.messages()
        assert inheritable(server.pid) == []
        client.sendall(stock_frame("after"))
        server.wait_stored(2)
        python.symlink_to(sys.executable)
        server.edit("server/rehearsal.py", removing, "    return 0\n")
        server.reload("reload: done, fastlog")
        assert server.stop() == 0


# ---- while other things happen ----------------------------------------------------------------


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
    server.edit("receiver/handover.py", "        self._status.previous = state.counters\n",
                "        self._status.previous = state.counters\n"
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
        ("receiver/handover.py", "        self._status.previous = state.counters\n",
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
    server.edit("receiver/handover.py", "        self._status.previous = state.counters\n",
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


def test_signals_close_to_the_exec_are_not_lost(server: Installed) -> None:
    for _ in range(5):
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
            sender = Sender("a", lambda: server.port, pause=0)
            wait_for(lambda: server.status().get("size", 0) > 900_000)
            frames = wait_for(lambda: unchanged_frames(server))
            os.kill(server.pid, signal.SIGHUP)
            wait_for(lambda: "took over in" in server.messages())
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


# ---- the new configuration -------------------------------------------------------------------


class Configured(Installed):
    """A server with all its settings in a configuration file that a test can change."""

    def command(self) -> list[str | Path]:
        return [SERVER, "--config", self.home / "fastlog.toml"]

    def configure(
        self, listen: Sequence[str], data_dir: str = "data", more: str = ""
    ) -> Configured:
        text = f"listen = {json.dumps(listen)}\ndata_dir = {json.dumps(data_dir)}\n{more}"
        (self.home / "fastlog.toml").write_text(text)
        return self


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
    before = {role: descriptors(pid) for pid, role in processes_of(server.data)}
    good = server.edit("receiver/handover.py", "    def restore(self", "    def lose(self")
    server.reload(OLD)
    (server.package / "receiver/handover.py").write_text(good)
    for _ in range(3):
        server.reload()
    after = {role: descriptors(pid) for pid, role in processes_of(server.data)}
    assert after == before
    assert inheritable(server.pid) == []
    client.close()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def inheritable(pid: int) -> list[str]:
    """Return the descriptors above 2 that its child processes would inherit."""
    found = []
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        (flags,) = re.findall(r"^flags:\s+(\d+)$", entry.read_text(), flags=re.MULTILINE)
        if not int(flags, 8) & os.O_CLOEXEC and int(entry.name) > 2:
            found.append(str(Path(f"/proc/{pid}/fd/{entry.name}").readlink()))
    return found
