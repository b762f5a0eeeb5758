"""Print how busy each part is with many collectors, and what an outage does.

PYTHONPATH=benchmarks python -m growth [--collectors 1000] [--records 1e9] [--peak 3] ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from growth.costs import Costs, Layout, Load
from growth.day import Limits, Outage, Step, simulate
from growth.layout import busiest, capacity, fitting, messages, parts, space, stream_bytes

LINGERS = (0.0, 0.1, 0.5, 2.0)
OUTAGES = (
    (),
    (Outage("database", 10, 2),),
    (Outage("database", 8, 8),),
    (Outage("cluster", 10, 2),),
    (Outage("cluster", 8, 8),),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="growth", description=__doc__.split("\n")[0])
    parser.add_argument("--collectors", type=int, default=1000, help="how many there are")
    parser.add_argument(
        "--records", type=float, default=1e9, help="records a day of all collectors together"
    )
    parser.add_argument(
        "--peak",
        type=float,
        default=3.0,
        help="the rate of the busiest hour, divided by the mean rate",
    )
    asked = parser.parse_args()
    load, costs = Load(asked.collectors, asked.records, asked.peak), Costs()
    peak = load.mean * load.peak
    print(f"{load.collectors:,} collectors, {load.mean:,.0f} records/s, {peak:,.0f} at the peak\n")
    print_lingers(load, costs)
    layout = fitting(load, Layout(), costs)
    print_parts(load, layout, costs)
    print_space(load, layout, costs)
    print_days(load, layout, costs)


def print_lingers(load: Load, costs: Costs) -> None:
    """Print what saturates first in the smallest layout, by the linger."""
    rows = []
    for linger in LINGERS:
        layout = Layout(linger=linger)
        sent = messages(load, layout, load.mean * load.peak, costs)
        part = busiest(load, layout, costs)
        most = capacity(load, layout, costs)
        rows.append(
            [f"{linger:g} s", f"{sent.rate:,.0f}", f"{sent.size / 1000:,.1f}", part.name,
             f"{part.use:.0%}", f"{most:,.0f}"]
        )  # fmt: skip
    titles = (
        "linger",
        "messages/s at the peak",
        "KB each",
        "first to saturate",
        "at the peak",
        "records/s then",
    )
    print_table(titles, rows)


def print_parts(load: Load, layout: Layout, costs: Costs) -> None:
    """Print how busy the parts of a layout are."""
    print(
        f"Streams: {layout.streams}; cores in the cluster: {layout.cluster_cores}; "
        f"central servers: {layout.centrals}; cores of PostgreSQL: {layout.database_cores}; "
        f"linger: {layout.linger:g} s\n"
    )
    mean, peak = (
        dict(parts(load, layout, rate, costs)) for rate in (load.mean, load.mean * load.peak)
    )
    print_table(("part", "mean", "peak"), [[n, f"{mean[n]:.0%}", f"{peak[n]:.0%}"] for n in mean])


def print_space(load: Load, layout: Layout, costs: Costs) -> None:
    """Print what disks need."""
    needed = space(load, layout, costs)
    print_table(
        ("on disk", "GB"),
        [
            ["PostgreSQL, a day", f"{needed.database_day / 1e9:,.0f}"],
            [
                "one copy of the streams, an hour without PostgreSQL",
                f"{needed.stream_hour / 1e9:,.1f}",
            ],
            [
                "journal of a collector, an hour without storing",
                f"{needed.collector_hour / 1e9:,.3f}",
            ],
        ],
    )


def print_days(load: Load, layout: Layout, costs: Costs) -> None:
    """Print what outages do."""
    rows = []
    for outages in OUTAGES:
        steps = list(simulate(load, layout, outages, Limits(), costs))
        name = "; ".join(f"no {o.part} {o.begin:g} to {o.begin + o.hours:g} h" for o in outages)
        rows.append([name or "no outage", *outcome(steps, outages, load, layout, costs)])
    titles = (
        "two days with",
        "GB in streams",
        "MB in a journal",
        "longest lag, min",
        "over after, h",
        "dropped",
    )
    print_table(titles, rows)


def outcome(
    steps: Sequence[Step], outages: Sequence[Outage], load: Load, layout: Layout, costs: Costs
) -> list[str]:
    """Return the largest values, and the hours until the backlog of the outages is stored."""
    streams = max(step.in_streams for step in steps) * stream_bytes(load, layout, costs)
    unstored = max(step.in_streams + step.unpublished for step in steps)
    end = max((outage.begin + outage.hours for outage in outages), default=0.0)
    over = next((step.hour - end for step in steps if step.hour >= end and step.lag == 0), None)
    return [
        f"{streams / 1e9:,.1f}",
        f"{unstored * costs.record_bytes / load.collectors / 1e6:,.0f}",
        f"{max(step.lag for step in steps) / 60:,.0f}",
        "never" if over is None else f"{over:.1f}",
        f"{steps[-1].dropped:,.0f}",
    ]


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of Markdown."""
    widths = [max(len(row[at]) for row in (titles, *rows)) for at in range(len(titles))]
    lines = [titles, ["-" * width for width in widths], *rows]
    for cells in lines:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(f"| {' | '.join(padded)} |")
    print()


if __name__ == "__main__":
    main()
