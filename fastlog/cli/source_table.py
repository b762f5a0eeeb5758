"""The table of `fastlog stats` on a central server: each node that it takes from a stream."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastlog.config import format_duration, format_size
from fastlog.source.report import NodeReport, SourceReport
from fastlog.terminal import one_line


def print_source(console: Console, source: SourceReport, now: float) -> None:
    """Print the nodes, and what is unusual about them and the stream.

    Args:
        now: the time, in seconds since the epoch.
    """
    if source.nodes:
        console.print(_table(source, now))
    limit = f" of {format_size(source.limit)}" if source.limit else ""
    console.print(
        Text(one_line(f"stream {source.url}: {format_size(source.bytes)}{limit}")),
    )
    if source.elsewhere:
        console.print(f"nodes that other centrals take, or none: {source.elsewhere}")
    for line in lines(source):
        console.print(Text(one_line(line)))


def _table(source: SourceReport, now: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(("node", "last block", "messages behind", "time behind", "gap")):
        table.add_column(name, justify="left" if at == 0 else "right", overflow="fold")
    for node in source.nodes:
        lag = node.lag(now)
        table.add_row(
            node.node,
            "?" if node.received is None else f"{format_duration(max(0, now - node.received))} ago",
            str(node.pending),
            "?" if lag is None else format_duration(lag),
            "none" if node.gap is None else f"from offset {node.gap}",
        )
    return table


def lines(source: SourceReport) -> list[str]:
    """Return what is unusual, a line each."""
    found = [] if source.error is None else [f"source: {source.error}"]
    found += [f"source: {warning}" for warning in source.warnings]
    for node in source.nodes:
        found += [f"node {node.node}: {text}" for text in faults(node)]
    return found


def faults(node: NodeReport) -> list[str]:
    """Return what is wrong with a node, a line each."""
    found = [] if node.error is None else [node.error]
    if node.gap is not None:
        found.append(
            f"blocks from offset {node.gap} on are missing in the stream; its collector has to "
            "publish them again"
        )
    if node.damaged:
        found.append(f"{node.damaged} messages were damaged, or of another version of fastlog")
    return found
