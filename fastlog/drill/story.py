"""What happens in a drill: phase by phase, who logs, and what is done to the server meanwhile."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastlog.drill.clients import Client, Kind, Report, end_all
from fastlog.drill.ending import Ending
from fastlog.drill.evidence import Ledger, count_stored, read_ledger, read_numbers
from fastlog.drill.oracle import Account, Row, judge, settle
from fastlog.drill.proxy import Proxy
from fastlog.drill.server import KEEPALIVE, DrillServer
from fastlog.errors import FastlogError

SECONDS = 30.0
"""What a drill takes, beside the time in which programs start and queues become empty."""
RATE = 200.0
"""Records a second of each client."""
SETTLE = 30.0
"""Seconds in which the last records reach the store."""
SMALL = 192 * 1024
"""Bytes of memory that are full within two seconds of silence."""

STOCK = Kind("SocketHandler", "stock")
STOCK_BY_PROXY = Kind("SocketHandler, proxy", "stock", by_proxy=True)
RECONNECTING = Kind("ReconnectingSocketHandler", "reconnecting")
MEMORY = Kind("fastlog", "fastlog")
MEMORY_BY_PROXY = Kind("fastlog, proxy", "fastlog", by_proxy=True)
SMALL_MEMORY = Kind("fastlog, little memory", "fastlog", max_bytes=SMALL)
SPOOL = Kind("fastlog, spool", "fastlog", spools=True)
SPOOL_BY_PROXY = Kind("fastlog, spool, proxy", "fastlog", spools=True, by_proxy=True)


@dataclass(frozen=True)
class Phase:
    """A part of the drill, with clients of its own."""

    name: str
    share: float
    """Of the drill's time."""
    crew: tuple[Kind, ...]
    play: Callable[[Stage], None]
    only_reloads: bool = False
    """The server is replaced, and otherwise left in peace."""
    kills_clients: bool = False


@dataclass
class Voyage:
    """A client, when its phase is over."""

    phase: Phase
    client: Client
    report: Report


@dataclass
class Outcome:
    """What a drill has found."""

    seed: int
    rows: list[Row]
    promises: dict[str, int]
    """How often each was broken."""
    done: dict[str, int]
    """What was done to server, network and clients, and how often."""
    ledger: Ledger
    took: float
    """Seconds."""

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not any(self.promises.values())


class Stage:
    """What a phase plays on.

    Args:
        home: where all files go.
        scale: how long things last, of what they last by default.
        say: told in a few words what happens.
    """

    def __init__(
        self,
        home: Path,
        server: DrillServer,
        proxy: Proxy,
        dice: random.Random,
        scale: float,
        ending: Ending,
        say: Callable[[str], None],
    ) -> None:
        self.home, self.server, self.proxy, self.dice = home, server, proxy, dice
        self.done: Counter[str] = Counter()
        self.clients: list[Client] = []
        """Those of the present phase."""
        self._scale, self._ending, self._say = scale, ending, say
        self._until = 0.0

    # ---- the clients ----

    def enter(self, phase: Phase) -> None:
        """Start the phase's clients, and its time once each of them logs."""
        self._say(phase.name)
        self.clients = []
        for number, kind in enumerate(phase.crew, 1):
            self.launch(kind, f"{phase.name.replace(' ', '-')}-{number}")
        self.wait_for_clients()
        self._until = time.monotonic() + phase.share * SECONDS * self._scale

    def launch(self, kind: Kind, name: str, spool: Path | None = None) -> None:
        """Start a client."""
        client = Client(kind, name, self.home, spool)
        self.clients.append(client)
        port = self.proxy.port if kind.by_proxy else self.server.port
        with self._ending.held():
            client.start(port, RATE, self.dice.randrange(1 << 32))

    def wait_for_clients(self) -> None:
        """Wait until each has logged something."""
        while any(not client.has_logged() for client in self.clients):
            for client in self.clients:
                client.check()
            time.sleep(0.01)

    def leave(self, phase: Phase) -> list[Voyage]:
        """Let everything heal, and the clients send what they have; then they end."""
        self.proxy.heal()
        if not self.server.is_running():
            self.start_server()
        for client in self.clients:
            client.check()
            if not client.was_killed:
                client.ask_to_end()
        voyages = [Voyage(phase, client, client.wait()) for client in self.clients]
        end_all(self.clients)
        return voyages

    # ---- time ----

    def goes_on(self) -> bool:
        """Whether the phase has time left."""
        return time.monotonic() < self._until

    def pause(self, shortest: float, longest: float) -> None:
        """So many seconds, of a drill of the usual length."""
        time.sleep(self._scale * self.dice.uniform(shortest, longest))

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Raises FastlogError when that does not come to be."""
        deadline = time.monotonic() + SETTLE
        while not condition():
            if time.monotonic() > deadline:
                raise FastlogError(f"no {what} within {SETTLE:.0f} s")
            time.sleep(0.01)

    def note(self, what: str) -> None:
        """It was done; say so."""
        self.done[what] += 1
        self._say(f"  {what}")

    # ---- what is done to the server ----

    def start_server(self) -> None:
        """Start it once more, when none of it is left."""
        self.server.kill_all()
        with self._ending.held():
            self.server.start()

    def reload(self) -> None:
        """SIGHUP.

        Raises:
            FastlogError: the server went on as it was.
        """
        self.note("reload")
        before = set(self.server.processes("receiver"))
        if not self.server.reload() or before & set(self.server.processes("receiver")):
            raise FastlogError(f"the server was not replaced by a reload; see {self.server.log}")

    def kill(self, victim: str) -> None:
        """kill -9 of `receiver`, `worker` or `everything`."""
        self.note(f"kill -9 of {victim}" if victim == "everything" else f"kill -9 of its {victim}")
        if victim != "everything":
            self.server.kill(victim)
            return
        self.server.kill_all()
        self.pause(0.2, 1.0)
        self.start_server()

    def stop(self) -> None:
        """SIGTERM."""
        self.note("stop the server")
        self.server.stop()

    def freeze(self, role: str | None, shortest: float, longest: float) -> None:
        """SIGSTOP for so many seconds."""
        self.note(f"freeze its {role}" if role else "freeze everything")
        with self.server.frozen(role):
            self.pause(shortest, longest)


# ---- the phases --------------------------------------------------------------------------------


def _reload(stage: Stage) -> None:
    stage.pause(0.2, 0.5)
    while True:
        stage.reload()
        stage.pause(0.2, 0.6)
        if not stage.goes_on():
            break


def _kill(stage: Stage) -> None:
    victims = ("receiver", "worker", "everything")
    _each_then_any(stage, [partial(stage.kill, victim) for victim in victims])


def _freeze(stage: Stage) -> None:
    silence = 3 * KEEPALIVE  # then our clients take the server for dead, and come again
    _each_then_any(
        stage,
        [
            lambda: stage.freeze("receiver", silence + 0.2, silence + 0.6),
            lambda: stage.freeze("worker", 0.5, 1.5),
            lambda: stage.freeze(None, 0.5, 1.5),
        ],
    )


def _disturb(stage: Stage) -> None:
    proxy = stage.proxy

    def cut() -> None:
        stage.note("cut connections at random bytes")
        proxy.draw_cut = lambda: stage.dice.randrange(1, 40_000)
        proxy.cut()
        stage.pause(1.0, 1.5)

    def swallow() -> None:
        stage.note("swallow everything")
        before = proxy.swallowed
        proxy.swallow()
        stage.pause(0.5, 1.0)
        stage.wait_for(lambda: proxy.swallowed > before, "byte was swallowed")

    def drop_acks() -> None:
        stage.note("drop all acks")
        before = proxy.dropped_acks
        proxy.drops_acks = True
        stage.pause(1.0, 1.5)
        stage.wait_for(lambda: proxy.dropped_acks > before, "ack was dropped")
        proxy.cut()

    def one_by_one(fault: Callable[[], None]) -> None:
        stage.wait_for(lambda: proxy.passing >= len(stage.clients) // 2, "connection was made")
        fault()
        proxy.heal()

    _each_then_any(stage, [partial(one_by_one, fault) for fault in (cut, swallow, drop_acks)])


def _kill_clients(stage: Stage) -> None:
    stage.pause(0.3, 0.6)
    stage.stop()
    stage.pause(0.3, 0.6)  # what is logged now nobody has but the client
    first = list(stage.clients)
    for client in first:
        stage.note("kill -9 of a client")
        client.kill()
    stage.start_server()
    for client in first:
        if client.kind.spools:
            stage.launch(client.kind, f"{client.name}-again", client.spool)
    stage.clients, lives = stage.clients[len(first) :], stage.clients
    stage.wait_for_clients()
    stage.clients = lives
    stage.pause(0.3, 0.6)


def _all_at_once(stage: Stage) -> None:
    proxy, dice = stage.proxy, stage.dice

    def kill_receiver() -> None:
        stage.pause(0.0, 1.0)
        stage.server.kill("receiver")

    def reload_and_kill() -> None:
        stage.note("kill -9 of its receiver during a reload")
        stage.server.reload(kill_receiver)

    def disturb() -> None:
        dice.choice((proxy.cut, proxy.swallow))()
        stage.pause(0.1, 0.3)
        proxy.heal()

    proxy.draw_cut = lambda: dice.choice((None, dice.randrange(1, 100_000)))
    _each_then_any(
        stage,
        [
            stage.reload,
            reload_and_kill,
            disturb,
            lambda: stage.kill("everything"),
            lambda: stage.freeze("receiver", 0.3, 0.8),
        ],
    )


def _each_then_any(stage: Stage, acts: Sequence[Callable[[], None]]) -> None:
    """Each of these in any order, and then more of them while there is time."""
    order = stage.dice.sample(acts, len(acts))
    while order or stage.goes_on():
        stage.pause(0.2, 0.5)
        (order.pop() if order else stage.dice.choice(acts))()
    stage.pause(0.2, 0.4)


PHASES = (
    Phase("reloads", 0.15, (STOCK, STOCK, MEMORY, SPOOL), _reload, only_reloads=True),
    Phase("kills", 0.15, (STOCK, RECONNECTING, MEMORY, MEMORY, SPOOL), _kill),
    Phase("freezes", 0.15, (STOCK, MEMORY, SMALL_MEMORY, SPOOL), _freeze),
    Phase(
        "a bad network",
        0.15,
        (STOCK_BY_PROXY, MEMORY_BY_PROXY, MEMORY_BY_PROXY, SPOOL_BY_PROXY),
        _disturb,
    ),
    Phase("clients killed", 0.05, (MEMORY, SPOOL, SPOOL), _kill_clients, kills_clients=True),
    Phase(
        "all at once",
        0.15,
        (STOCK, MEMORY, SPOOL, MEMORY_BY_PROXY, SPOOL_BY_PROXY),
        _all_at_once,
    ),
)


# ---- the whole ---------------------------------------------------------------------------------


def run(
    home: Path, seed: int, seconds: float, ending: Ending, say: Callable[[str], None]
) -> Outcome:
    """Play all phases, stop everything, and compare.

    Args:
        home: an empty directory.
        say: told in a few words what happens.

    Raises:
        FastlogError: the drill could not be carried out.
    """
    began = time.monotonic()
    server = DrillServer(home)
    stage = None
    try:
        with ending.held():
            server.start()
        with Proxy(server.port) as proxy:
            dice = random.Random(seed)  # noqa: S311 - repeatable is what it has to be
            stage = Stage(home, server, proxy, dice, seconds / SECONDS, ending, say)
            voyages: list[Voyage] = []
            for phase in PHASES:
                voyages += _play(stage, phase)
            stage.done["connection reset"] = proxy.cuts
            stage.done["ack dropped"] = proxy.dropped_acks
            stage.done["record sent again"] = sum(voyage.report.resent for voyage in voyages)
        say("compare")
        server.stop()
    finally:
        with ending.held():
            if stage is not None:
                end_all(stage.clients)
            server.kill_all()
    return compare(server.data, voyages, seed, stage.done, time.monotonic() - began)


def _play(stage: Stage, phase: Phase) -> list[Voyage]:
    before = count_stored(stage.server.logs)
    stage.enter(phase)
    phase.play(stage)
    voyages = stage.leave(phase)
    sent = sum(voyage.report.sent for voyage in voyages)
    if phase.only_reloads:
        # What a stock client has sent may still be with the kernel, which the next phase shall not
        # lose in this one's name.
        deadline = time.monotonic() + SETTLE
        while count_stored(stage.server.logs) < before + sent and time.monotonic() < deadline:
            time.sleep(0.05)
    return voyages


def compare(
    data: Path, voyages: Sequence[Voyage], seed: int, done: Counter[str], took: float
) -> Outcome:
    """What clients sent against what the server that used this data directory has kept."""
    numbers, ledger = read_numbers(data / "logs"), read_ledger(data / "ledger.db")
    declared = dict(ledger.declared)
    rows: dict[tuple[str, str], Row] = {}
    for voyage in voyages:
        phase, kind, report = voyage.phase, voyage.client.kind, voyage.report
        row = rows.setdefault((phase.name, kind.name), _make_row(phase, kind))
        row.clients += 1
        row.connections += report.connections
        row.unsent += report.unsent
        row.account = row.account.plus(
            settle(
                report.sent,
                numbers.get(voyage.client.name, ()),
                declared.pop(report.client_id or "", ()),
                range(report.sent + 1, report.begun + 1),
            )
        )
    if ledger.folded:
        dropping = next(row for row in rows.values() if row.may_drop)
        dropping.account = dropping.account.count_folded(ledger.folded)
    if declared:
        wrong = sum(len(span) for spans in declared.values() for span in spans)
        rows["", ""] = Row("", "unknown clients", is_ours=True, account=Account(wrong=wrong))
    found = list(rows.values())
    return Outcome(seed, found, judge(found), dict(done), ledger, took)


def _make_row(phase: Phase, kind: Kind) -> Row:
    keeps_connection = phase.only_reloads and not kind.is_ours
    may_lose = ""
    if not kind.is_ours and not keeps_connection:
        may_lose = "nobody acknowledges what it sends"
    elif phase.kills_clients and not kind.spools:
        may_lose = "it was killed with what was not acknowledged"
    return Row(
        phase=phase.name,
        kind=kind.name,
        is_ours=kind.is_ours,
        may_lose=may_lose,
        may_drop=kind.max_bytes is not None,
        keeps_connection=keeps_connection,
    )
