"""How busy the parts of a layout are, and which of them saturates first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from growth.costs import Costs, Layout, Load

ENOUGH: Final = 0.6
"""How busy a part may be at the busiest hour, so that it has room for a backlog after an outage."""

MOST: Final = 1e9
"""Records a second that nothing reaches."""
GROWING: Final = {
    "streams": ("stream: messages", "stream: bytes"),
    "cluster_cores": ("cluster: cores",),
    "centrals": ("central: cores",),
    "database_cores": ("PostgreSQL: cores",),
}
"""Fields of a layout that may grow, and the parts that this relieves."""


class Messages(NamedTuple):
    """What all collectors publish."""

    rate: float
    """Messages a second."""
    size: float
    """Bytes of one."""


def messages(load: Load, layout: Layout, rate: float, costs: Costs) -> Messages:
    """Return the messages for a rate of records.

    A collector waits for the linger after a first record, which comes by chance. So it publishes
    each `linger + 1/rate`.
    """
    each = rate / load.collectors
    published = max(each / (1 + each * layout.linger), each / costs.most_records)
    size = costs.message_bytes + (each / published if published else 0) * costs.published_bytes
    return Messages(published * load.collectors, size)


def stream_bytes(load: Load, layout: Layout, costs: Costs) -> float:
    """Return the bytes of a record in a stream, with its share of messages, at the mean rate."""
    sent = messages(load, layout, load.mean, costs)
    return sent.rate * sent.size / load.mean


class Part(NamedTuple):
    """A part, and its use: 1 is all that it can do."""

    name: str
    use: float


def parts(load: Load, layout: Layout, rate: float, costs: Costs) -> Iterator[Part]:
    """Yield how busy each part is at a rate of records a second of all collectors."""
    sent = messages(load, layout, rate, costs)
    received = sent.rate * sent.size
    one = Messages(sent.rate / load.collectors, sent.size)
    yield Part(
        "collector: a core",
        rate / load.collectors * costs.receiver_cpu + one.rate * costs.publish_cpu,
    )
    trip = costs.round_trip + one.size / costs.stream_bytes
    yield Part("collector: one message under way", one.rate * trip)
    yield Part("stream: messages", sent.rate / layout.streams / costs.stream_messages)
    yield Part("stream: bytes", received / layout.streams / costs.stream_bytes)
    cluster = sent.rate * costs.message_cpu + received * costs.message_byte_cpu
    yield Part("cluster: cores", cluster / layout.cluster_cores)
    central = rate * costs.central_cpu + sent.rate * (costs.fetch_cpu + costs.commit_cpu)
    yield Part("central: cores", central / layout.centrals)
    database = rate * costs.database_cpu + sent.rate * costs.transaction_cpu
    yield Part("PostgreSQL: cores", database / layout.database_cores)
    yield Part("PostgreSQL: disk", rate * (costs.wal_bytes + costs.row_bytes) / layout.disk_rate)


def busiest(load: Load, layout: Layout, costs: Costs) -> Part:
    """Return the part that saturates first, with its use in the busiest hour."""
    return max(parts(load, layout, load.mean * load.peak, costs), key=lambda part: part.use)


def capacity(load: Load, layout: Layout, costs: Costs, *, of: Sequence[str] = ("",)) -> float:
    """Return the records a second at which the first part saturates.

    Args:
        of: Only parts whose names begin with one of these.
    """
    low, high = 0.0, MOST
    while high - low > 1:
        rate = (low + high) / 2
        asked = (p for p in parts(load, layout, rate, costs) if p.name.startswith(tuple(of)))
        low, high = (rate, high) if max(part.use for part in asked) < 1 else (low, rate)
    return low


def draining(load: Load, layout: Layout, costs: Costs) -> float:
    """Return the records a second that are stored from a backlog of messages.

    They are as small as they were published, and stored by large transactions.
    """
    fetching = costs.fetch_cpu * messages(load, layout, load.mean, costs).rate / load.mean
    return min(
        layout.centrals / (costs.central_cpu + fetching),
        layout.database_cores / costs.database_cpu,
        layout.disk_rate / (costs.wal_bytes + costs.row_bytes),
    )


def fitting(load: Load, layout: Layout, costs: Costs) -> Layout:
    """Return the layout with as many streams, centrals and cores as the busiest hour needs."""
    grown = True
    while grown:
        grown = False
        use = {part.name: part.use for part in parts(load, layout, load.mean * load.peak, costs)}
        for field, names in GROWING.items():
            if max(use[name] for name in names) > ENOUGH:
                layout = layout._replace(**{field: getattr(layout, field) + 1})
                grown = True
    return layout


class Space(NamedTuple):
    """Bytes on disks."""

    database_day: float
    """A day of records in PostgreSQL."""
    stream_hour: float
    """What one copy of the streams keeps for an hour without the database, at the mean rate."""
    collector_hour: float
    """What the journal of one collector keeps for an hour without the database or the cluster."""


def space(load: Load, layout: Layout, costs: Costs) -> Space:
    """Return what a load needs on disks."""
    hour = load.records / 24
    return Space(
        load.records * costs.row_bytes,
        hour * stream_bytes(load, layout, costs),
        hour * costs.record_bytes / load.collectors,
    )
