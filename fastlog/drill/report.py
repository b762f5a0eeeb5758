"""The report of a drill: which promises were kept, as data, as JSON, and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastlog.drill.clients import Kind
from fastlog.drill.comparison import Account, Row, compare_numbers, count_breaches, is_broken
from fastlog.drill.harness import ClientRun, Phase
from fastlog.drill.stored import LedgerTotals
from fastlog.terminal import one_line
from fastlog.version import __version__


@dataclass
class Outcome:
    """The result of a drill."""

    seed: int
    rows: list[Row]
    breaches: dict[str, int]
    """How often each promise was broken."""
    events: dict[str, int]
    """How often each event happened to server, network and clients."""
    ledger: LedgerTotals
    seconds: float
    """How long the drill took."""
    left_out: dict[str, str] = field(default_factory=dict)
    """The faults that could not be injected on this machine, and why."""

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not any(self.breaches.values())


def compare(
    numbers: Mapping[str, Sequence[int]],
    ledger: LedgerTotals,
    runs: Sequence[ClientRun],
    seed: int,
    events: Counter[str],
    seconds: float,
) -> Outcome:
    """Compare what the clients sent with what is stored.

    Args:
        numbers: the stored numbers by client, in the order of the store.
        ledger: the sums of the ledgers of all servers.
    """
    declared = dict(ledger.declared)
    rows: dict[tuple[str, str], Row] = {}
    for run in runs:
        phase, kind, report = run.phase, run.client.kind, run.report
        row = rows.setdefault((phase.name, kind.name), _make_row(phase, kind))
        row.clients += 1
        row.connections += report.connections
        row.unsent += report.unsent
        row.account = row.account.plus(
            compare_numbers(
                report.sent,
                numbers.get(run.client.name, ()),
                declared.pop(report.client_id or "", ()),
                range(report.sent + 1, report.attempted + 1),
            )
        )
    if ledger.folded:
        dropping = [row for row in rows.values() if row.may_drop] or list(rows.values())
        dropping[0].account = dropping[0].account.count_folded(ledger.folded)
    if declared:
        wrong = sum(len(numbers) for ranges in declared.values() for numbers in ranges)
        rows["", ""] = Row("", "unknown clients", is_fastlog=True, account=Account(wrong=wrong))
    all_rows = list(rows.values())
    return Outcome(seed, all_rows, count_breaches(all_rows), dict(events), ledger, seconds)


def _make_row(phase: Phase[Any], kind: Kind) -> Row:
    keeps_connection = phase.keeps_connections and not kind.is_fastlog
    may_lose = ""
    if not kind.is_fastlog and not keeps_connection:
        may_lose = "its records are not acknowledged"
    elif phase.kills_clients and not kind.has_spool:
        may_lose = "it was killed while it held records that were not acknowledged"
    return Row(
        phase=phase.name,
        kind=kind.name,
        is_fastlog=kind.is_fastlog,
        may_lose=may_lose,
        may_drop=kind.max_bytes is not None,
        keeps_connection=keeps_connection,
    )


# ---- printing ----------------------------------------------------------------------------------


def to_tree(outcome: Outcome, directory: Path | None) -> dict[str, Any]:
    """Return the outcome as what `fastlog drill --json` prints.

    Args:
        directory: where the drill's files are kept; `None`: they are removed.
    """
    return {
        "holds": outcome.holds,
        "version": __version__,
        "seed": outcome.seed,
        "seconds": round(outcome.seconds, 1),
        "rows": [
            {
                "phase": row.phase,
                "clients": row.kind,
                "processes": row.clients,
                "connections": row.connections,
                **row.account._asdict(),
                "unsent": row.unsent,
                "may_lose": row.may_lose or None,
                "holds": not is_broken(row),
            }
            for row in outcome.rows
        ],
        "promises": [
            {"promise": text, "holds": not count, "breaches": count}
            for text, count in outcome.breaches.items()
        ],
        "done": outcome.events,
        "left_out": outcome.left_out,
        "losses": outcome.ledger.losses,
        "rejected": outcome.ledger.rejected,
        "directory": None if directory is None else str(directory),
    }


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print the outcome as a table with a verdict for each promise."""
    console.print(_row_table(outcome.rows))
    console.print()
    for text, count in outcome.breaches.items():
        line = f"{text}: {count} times not" if count else text
        console.print(_verdict(not count, "    " if not count else "  ").append(line))
    events = ", ".join(f"{event} ({count})" for event, count in outcome.events.items())
    console.print(f"\nin {outcome.seconds:.0f} s, with seed {outcome.seed}: {events}")
    for fault, reason in outcome.left_out.items():
        console.print(Text(f"left out: {fault}: {one_line(reason)}"))
    ledger = outcome.ledger
    for title, counts in (("lost", ledger.losses), ("rejected", ledger.rejected)):
        for reason, count in counts.items():
            console.print(Text(f"the ledger has {count} {title}: {one_line(reason)}"))


def _row_table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("phase", "clients"):
        table.add_column(name, no_wrap=True, vertical="bottom")
    for name in (
        *("con-\nnected", "sent", "stored", "lost,\ncounted", "lost,\nuncounted"),
        *("stored\ntwice", "out of\norder"),
    ):
        table.add_column(name, justify="right")
    table.add_column("promises")
    before = ""
    for row in rows:
        account = row.account
        verdict = _verdict(not is_broken(row), ", may lose" if row.may_lose else "")
        table.add_row(
            row.phase if row.phase != before else "",
            f"{row.clients} {row.kind}",
            str(row.connections),
            *map(str, (account.sent, account.stored, account.counted, account.uncounted)),
            *map(str, (account.twice, account.disordered)),
            verdict,
        )
        before = row.phase
    return table


def _verdict(holds: bool, rest: str) -> Text:
    word = ("kept", "green") if holds else ("BROKEN", "bold red")
    return Text.assemble(word, rest)
