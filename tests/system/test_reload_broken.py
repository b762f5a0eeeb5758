"""New code or a new configuration that does not work: it is not used, and no client is affected.

The server runs from a copy of the package, which a test breaks between its start and the signal:
that is the code that is installed now.
"""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
from pathlib import Path

import pytest
from conditions import wait_for
from faults import numbers
from installed_server import (
    FUTURE,
    MAIN,
    OLD,
    Configured,
    Installed,
    inheritable,
    shorten_the_deadline,
)
from reload_clients import Batches
from senders import Sender, stock_frame
from servers import kill

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
        "fastlog-server: sink sqlite: fastlog.sinks.sqlite:SqliteSink cannot be loaded: "
        "RuntimeError: of the sink",
    ),
    "a supervisor that does not import": (
        ("server/supervisor.py", FUTURE, FUTURE + "import nothing_of_that_name\n"),
        "ModuleNotFoundError: No module named 'nothing_of_that_name'",
    ),
    "a command that is no Python": (("cli/serve.py", FUTURE, "def\n"), "SyntaxError: invalid"),
    "a program that knows nothing of a rehearsal": (
        ("cli/serve.py", '"--rehearse-fd"', '"--renamed-fd", "rehearse_fd"'),
        "fastlog-server: there is no option '--rehearse-fd'",
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
        "the new code was not ready to run after 6 s",
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
        ("receiver/handover.py", "        self._status.restore(state.counters, state.recent)\n",
         "        import os; os.kill(os.getpid(), 9)\n"),
        "the new receiver was killed by SIGKILL",
    ),
    "a receiver that hangs when it has the descriptors": (
        ("receiver/handover.py", "        self._status.restore(state.counters, state.recent)\n",
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


HANGING = [[what] for what in BROKEN if "hangs" in what]
"""Each with a server of its own, whose deadline is short."""
OTHERS = [what for what in BROKEN if "hangs" not in what]


@pytest.mark.parametrize(
    "faults", [OTHERS[::2], OTHERS[1::2], *HANGING], ids=lambda faults: faults[0]
)
def test_new_code_that_does_not_work_is_not_used(tmp_path: Path, faults: list[str]) -> None:
    """One fault after the other, at one server: none of them may leave anything behind."""
    server = Installed(tmp_path)
    if faults in HANGING:
        shorten_the_deadline(server, BROKEN[faults[0]][1])
    with server:
        partial = server.connect(stock_frame("partial")[:50])
        senders = [Sender("a", server), Batches(server, "b"), Batches(server, "c")]
        wait_for(lambda: server.stored() > 30)
        children = server.children()
        for count, what in enumerate(faults, 1):
            (file, old, new), reason = BROKEN[what]
            good = server.edit(file, old, new)
            server.reload(OLD)
            lines = [line for line in server.messages().splitlines() if OLD in line]
            assert len(lines) == count, what
            assert f"ERROR supervisor: reload: {reason}" in lines[-1], what
            assert server.children() == children, f"{what}: the same processes as before"
            sent = senders[0].sent
            wait_for(lambda sent=sent: senders[0].sent > sent + 50)
            server.restore(file, good)
        partial.sendall(stock_frame("partial")[50:])
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
            ('sink = ["sqlit:"]\n', "sink sqlit: no kind of sink is called 'sqlit'"),
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
