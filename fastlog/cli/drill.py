"""`fastlog drill`: whether the promises hold on this machine."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastlog.cli.command import FAILED, OK, Command
from fastlog.cli.options import colour_option, wants_colour
from fastlog.drill import SECONDS, Ending, Outcome, Row, has_package, is_broken_to, run
from fastlog.errors import FastlogError
from fastlog.version import __version__

_WIDTH = 132
"""Columns of the table where the output is no terminal."""


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
@click.option("--keep", is_flag=True, help="Keep the directory of the drill, and say where it is.")
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="Draw the same chances as the drill N."
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=SECONDS,
    metavar="N",
    help=f"How long the clients log in all (default: {SECONDS:.0f}).",
)
@colour_option
def drill(as_json: bool, keep: bool, seed: int | None, seconds: float, colour: bool | None) -> int:
    """Start a server and clients, ill-treat them, and compare what was sent with what is stored.

    Everything happens in a temporary directory and on 127.0.0.1. No other server is touched.
    """
    if not has_package():
        raise FastlogError(
            "the drill needs the client too: pip install fastlog-client, or ./client in a checkout"
        )
    if seed is None:
        seed = random.randrange(1 << 32)  # noqa: S311 - no secret
    home = Path(tempfile.mkdtemp(prefix="fastlog-drill-"))
    ending = Ending()
    with ending.watched():
        try:
            outcome = run(home, seed, seconds, ending, _narrator(seed))
            keep = keep or not outcome.holds
            _report(outcome, home if keep else None, as_json=as_json, colour=colour)
        except FastlogError as error:
            keep = True
            raise FastlogError(f"{error}; the files are in {home}, the seed was {seed}") from None
        finally:
            with ending.held():
                if not keep:
                    shutil.rmtree(home, ignore_errors=True)
    return OK if outcome.holds else FAILED


def _narrator(seed: int) -> Callable[[str], None]:
    """What tells on stderr how the drill goes."""
    began = time.monotonic()

    def say(what: str) -> None:
        click.echo(f"{time.monotonic() - began:5.1f} s  {what}", err=True)

    say(f"seed {seed}")
    return say


def _report(
    outcome: Outcome, directory: Path | None, *, as_json: bool, colour: bool | None
) -> None:
    if as_json:
        click.echo(msgspec.json.encode(_to_tree(outcome, directory)).decode())
        return
    _print(outcome, wants_colour(colour))
    if directory is not None:
        click.echo(f"the files are in {directory}")


def _to_tree(outcome: Outcome, directory: Path | None) -> dict[str, Any]:
    return {
        "holds": outcome.holds,
        "version": __version__,
        "seed": outcome.seed,
        "seconds": round(outcome.took, 1),
        "rows": [
            {
                "phase": row.phase,
                "clients": row.kind,
                "processes": row.clients,
                "connections": row.connections,
                **row.account._asdict(),
                "unsent": row.unsent,
                "may_lose": row.may_lose or None,
                "holds": not is_broken_to(row),
            }
            for row in outcome.rows
        ],
        "promises": [
            {"promise": text, "holds": not count, "breaches": count}
            for text, count in outcome.promises.items()
        ],
        "done": outcome.done,
        "losses": outcome.ledger.losses,
        "rejected": outcome.ledger.rejected,
        "directory": None if directory is None else str(directory),
    }


def _print(outcome: Outcome, colour: bool) -> None:
    console = Console(no_color=not colour, highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(_row_table(outcome.rows))
    console.print()
    for text, count in outcome.promises.items():
        line = f"{text}: {count} times not" if count else text
        console.print(_verdict(not count, "    " if not count else "  ").append(line))
    done = ", ".join(f"{what} ({count})" for what, count in outcome.done.items())
    console.print(f"\nin {outcome.took:.0f} s, with seed {outcome.seed}: {done}")
    ledger = outcome.ledger
    for title, counts in (("lost", ledger.losses), ("rejected", ledger.rejected)):
        for reason, count in counts.items():
            console.print(f"the ledger has {count} {title}: {reason}")


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
        verdict = _verdict(not is_broken_to(row), ", may lose" if row.may_lose else "")
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
