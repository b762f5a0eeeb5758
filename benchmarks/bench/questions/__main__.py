"""python -m bench.questions [--store 1000000x1 --store 10000000x4] [--repeat 5]"""

from __future__ import annotations

import click

from bench import build, machine
from bench.places import BUILD
from bench.questions.measure import measure
from bench.questions.page import measure_page
from bench.questions.store import make_store
from bench.report import machine_line


@click.command(help="Measure what questions to large stores cost, beside other tools.")
@click.option(
    "--store",
    "stores",
    multiple=True,
    default=["1000000x1", "10000000x1", "10000000x4"],
    show_default=True,
    metavar="RECORDSxDAYS",
    help="A store to ask. May be repeated. Each is made once, in build/bench/questions.",
)
@click.option(
    "--ask",
    "parts",
    multiple=True,
    type=click.Choice(["commands", "page"]),
    default=["commands", "page"],
    show_default=True,
    help="What to ask: `fastlog query` and other tools, or the requests of the page.",
)
@click.option("--repeat", default=5, show_default=True, type=click.IntRange(1))
def main(stores: tuple[str, ...], parts: tuple[str, ...], repeat: int) -> None:
    click.echo(machine_line(machine.describe(build.build())))
    for store in stores:
        try:
            records, days = map(int, store.split("x"))
        except ValueError:
            raise click.UsageError(f"--store: expected RECORDSxDAYS, got {store!r}") from None
        click.echo(f"making a store of {records:,} records …", err=True)
        made = make_store(BUILD / "questions" / f"{records}-{days}", records, days)
        if "commands" in parts:
            click.echo("\n" + measure(made, repeat))
        if "page" in parts:
            click.echo("\n" + measure_page(made, repeat))


if __name__ == "__main__":
    main()
