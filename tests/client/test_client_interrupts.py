"""A call of the handler that is interrupted does not wait for itself, and loses nothing.

`clients/interrupt.py` interrupts a call at every bytecode, or at pairs of bytecodes. `make test`
takes every bytecode of `emit`, and strides through the other calls and the pairs; `make soak` takes
them all, in several interpreters, as far as it gets in its time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from interpreters import environment, interpreters
from places import CLIENT, SUPPORT
from protocol_server import FakeServer

STUCK_SECONDS = 120
CALLS = ("emit", "first", "again", "full", "flush", "stats", "close")
ACTIONS = ("log", "raise", "flush", "stats", "close", "collect", "fork")
SHORT_CALLS = ("emit", "full", "stats")
QUICK_ACTIONS = ("log", "raise", "stats", "collect")
VERSIONS = ("3.8", "3.11", "3.13")

versions = pytest.mark.parametrize("version", VERSIONS)
stores = pytest.mark.parametrize("spool", [False, True], ids=["memory", "spool"])


def interrupt(
    version: str,
    call: str,
    action: str,
    steps: tuple[int, int],
    seconds: float,
    spool: Path | None,
    thread: str = "thread",
) -> dict[str, Any]:
    """Interrupt a call repeatedly; compare what was logged with what arrived."""
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    with FakeServer() as server:
        words = [
            interpreters()[version],
            "-W",
            "ignore",
            SUPPORT / "clients" / "interrupt.py",
            CLIENT,
        ]
        words += [server.port, call, action, *steps, seconds, thread, *([spool] if spool else [])]
        out = run([str(word) for word in words], seconds + STUCK_SECONDS, f"{call} and {action}")
        found: dict[str, Any] = json.loads(out)
        compare(found, server, call)
        return found


def run(command: list[str], seconds: float, name: str) -> str:
    """Run a program and the children that it forks; at the deadline, kill them all."""
    process = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        out, errors = process.communicate()
        pytest.fail(f"{name}: not done after {seconds:.0f} s: {errors}")
    finally:
        kill_session(process.pid)
        process.wait()
    assert (process.returncode, errors) == (0, ""), f"{name}: {errors}"
    return out


def kill_session(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # all have ended
        os.killpg(leader, signal.SIGKILL)


def compare(found: dict[str, Any], server: FakeServer, call: str) -> None:
    stats, must, may = found["stats"], set(found["must"]), set(found["may"])
    assert stats["pending"] == 0
    assert stats["emitted"] == stats["acked"] + sum(stats["dropped"].values())
    arrived = [(id_, row["number"]) for id_, _, row in server.table.records if row["number"] > 0]
    twice = [pair for pair, count in Counter(arrived).items() if count > 1]
    rows = [(id_, seq, row["number"], row["process"]) for id_, seq, row in server.table.records]
    assert twice == [], [row for row in rows if (row[0], row[2]) in twice]
    numbers = {number for _, number in arrived}
    assert numbers <= must | may
    declared = sum(gap.last - gap.first + 1 for _, gap in server.table.gaps)
    if call == "full":
        assert declared == stats["dropped"]["memory full"]
        assert 0 <= declared - len(must - numbers) <= len(may)
    else:
        assert must - numbers == set()
        assert declared == 0


@stores
@pytest.mark.parametrize("action", ("log", "raise"))
def test_at_every_bytecode_of_emit(action: str, spool: bool, tmp_path: Path):
    found = interrupt("3.11", "emit", action, (1, 0), 60, tmp_path if spool else None)
    assert found["done"]
    assert found["bytecodes"] > 30


@pytest.mark.soak
@stores
@versions
@pytest.mark.parametrize("action", QUICK_ACTIONS)
@pytest.mark.parametrize("call", SHORT_CALLS)
def test_at_every_bytecode(version: str, call: str, action: str, spool: bool, tmp_path: Path):
    if call == "full" and spool:
        pytest.skip("a spool knows no full memory")
    found = interrupt(version, call, action, (1, 0), 120, tmp_path if spool else None)
    assert found["done"]
    assert found["bytecodes"] > 30


@stores
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("call", CALLS)
def test_at_bytecodes_of_a_stride(call: str, action: str, spool: bool, tmp_path: Path):
    if call == "full" and spool:
        pytest.skip("a spool knows no full memory")
    if call == "full" and action == "fork":
        pytest.skip("the child drops records of its own, which cannot be distinguished")
    step = 211 if action in ("fork", "close", "flush") else 97
    interrupt("3.11", call, action, (step, 0), 3, tmp_path if spool else None)


@stores
@pytest.mark.parametrize("action", ("log", "raise"))
@pytest.mark.parametrize("call", ("emit", "first", "flush", "stats", "close"))
def test_at_pairs_of_bytecodes(call: str, action: str, spool: bool, tmp_path: Path):
    interrupt("3.11", call, action, (151, 149), 1, tmp_path if spool else None)


@stores
@pytest.mark.parametrize("action", ("log", "raise"))
@pytest.mark.parametrize("call", ("emit", "flush", "close"))
def test_where_no_thread_sends(call: str, action: str, spool: bool, tmp_path: Path):
    interrupt("3.11", call, action, (41, 0), 3, tmp_path if spool else None, "alone")


@pytest.mark.soak
@stores
@versions
@pytest.mark.parametrize("action", ("log", "raise"))
@pytest.mark.parametrize("call", ("emit", "flush", "close"))
def test_at_every_bytecode_where_no_thread_sends(
    version: str, call: str, action: str, spool: bool, tmp_path: Path
):
    found = interrupt(version, call, action, (1, 0), 600, tmp_path if spool else None, "alone")
    assert found["done"]


@pytest.mark.soak
@stores
@versions
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("call", CALLS)
def test_at_every_pair(version: str, call: str, action: str, spool: bool, tmp_path: Path):
    seconds = 60 * float(os.environ.get("SOAK_MINUTES", "10"))
    directory = tmp_path if spool and call != "full" else None
    found = interrupt(version, call, action, (1, 0), seconds, directory)
    assert found["done"]
    found = interrupt(version, call, action, (1, 1), seconds / 10, directory)
    print(version, call, action, spool, found["calls"], "pairs; all of them:", found["done"])


_TWICE = r"""
import itertools, logging, os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
import fastlog_client
options = {"spool": sys.argv[3]} if len(sys.argv) > 3 else {"max_bytes": 100 * 1000}
handler = fastlog_client.SocketHandler("127.0.0.1", int(sys.argv[2]), close_timeout=60, **options)
numbers, arrived, armed, main = itertools.count(1), [], False, threading.current_thread()
def log(*_):
    handler.handle(logging.makeLogRecord({"msg": "x", "number": next(numbers)}))
log()
handler.flush()
handler._outbox.room = -1  # the next record is put into the memory by emit itself
def log_inside(*_):
    global armed
    armed = False  # Python 3.6 and 2.7 would run the next one afterwards
    log()
    armed = True
signal.signal(signal.SIGUSR1, log_inside)
def interrupt(place):
    if armed and place not in arrived and threading.current_thread() is main:
        arrived.append(place)
        os.kill(os.getpid(), signal.SIGUSR1)
        "the signal handler runs here"
class Guard(fastlog_client.guard.Guard):
    def _take(self, hold):
        interrupt("before the lock is taken")
        return fastlog_client.guard.Guard._take(self, hold)
    def release(self):
        interrupt("while it is held")
        fastlog_client.guard.Guard.release(self)
        interrupt("when it is free")
handler._outbox.guard.__class__ = Guard
armed = True
log()
armed = False
assert len(arrived) == 3, arrived
assert handler.flush(), handler.stats()
stats = handler.stats()
assert stats["emitted"] == stats["acked"] == 5, stats
"""


@stores
@pytest.mark.parametrize("version", ["2.7", "3.6", "3.11", "3.13"])
def test_a_signal_handler_that_logs_before_and_inside_the_lock(
    version: str, spool: bool, tmp_path: Path
):
    """Each of these signals once made the next call wait for the lock of its own thread."""
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    with FakeServer() as server:
        words = [interpreters()[version], "-c", _TWICE, CLIENT, server.port]
        words += [tmp_path] if spool else []
        run([str(word) for word in words], STUCK_SECONDS, "two signals")
        assert sorted(server.table.numbers()) == [1, 2, 3, 4, 5]


_TIMER = r"""
import itertools, json, logging, os, signal, sys
sys.path.insert(0, sys.argv[1])
import fastlog_client
options = {"spool": sys.argv[3]} if len(sys.argv) > 3 else {}
handler = fastlog_client.SocketHandler("127.0.0.1", int(sys.argv[2]), close_timeout=60, **options)
numbers = itertools.count(1)
def log(*_):
    handler.handle(logging.makeLogRecord({"msg": "x", "number": next(numbers)}))
signal.signal(signal.SIGALRM, log)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0007)
for number in range(4000):
    log()
    if number % 100 == 0:
        handler.stats()
    if number % 1000 == 0:
        handler.close()
signal.setitimer(signal.ITIMER_REAL, 0)
handler.flush(60)
print(json.dumps([next(numbers) - 1, handler.stats()["emitted"], handler.stats()["acked"]]))
"""


@stores
@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7", "3.12"])
def test_by_signals_of_a_timer(version: str, spool: bool, tmp_path: Path):
    """Interpreters without a trace of bytecodes, and one with it."""
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    with FakeServer() as server:
        words = [interpreters()[version], "-c", _TIMER, CLIENT, server.port]
        words += [tmp_path] if spool else []
        out = run([str(word) for word in words], STUCK_SECONDS, "signals of a timer")
        count, emitted, acked = json.loads(out)
        assert emitted == acked == count
        assert sorted(server.table.numbers()) == list(range(1, count + 1))


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.13"])
def test_a_guard_is_not_taken_while_another_thread_owns_it(version: str) -> None:
    """Python 2 finds the owner by the frames of its thread, which may leave a generator."""
    if version not in interpreters():
        pytest.skip(f"no Python {version} on this machine")
    command = [interpreters()[version], str(SUPPORT / "clients" / "hold_guard.py"), "1"]
    env = {**environment(), "PYTHONPATH": str(CLIENT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "0\n"
