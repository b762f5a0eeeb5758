"""What a unit of work costs. All figures were measured, on one machine with two cores."""

from __future__ import annotations

from typing import Final, NamedTuple

DAY: Final = 86400


class Costs(NamedTuple):
    """Costs by part: CPU in seconds of one core, sizes in bytes. Sources: `docs/growth.md`."""

    record_bytes: float = 660
    """A record in the journal."""
    receiver_cpu: float = 0.8e-6
    """Receiving and journaling a record."""
    publish_cpu: float = 250e-6
    """Publishing a message, at the collector."""

    message_bytes: float = 500
    """A message with one record, less its share of a larger one: compressing gains little there."""
    published_bytes: float = 60
    """Each record in a message of many, compressed."""
    message_cpu: float = 130e-6
    """Storing and fetching a message on all three nodes, when many are under way."""
    message_byte_cpu: float = 14e-9
    """A byte of a message on all three nodes."""
    stream_messages: float = 7500
    """Messages a second that the leader of one stream takes."""
    stream_bytes: float = 50e6
    """Bytes a second that the leader of one stream takes."""
    round_trip: float = 0.002
    """Seconds from publishing a small message to its acknowledgement by a majority that synced."""
    most_records: float = 2000
    """Records of a message."""

    central_cpu: float = 1.4e-6
    """Decoding a record and writing it as COPY data."""
    fetch_cpu: float = 100e-6
    """Fetching and unpacking a message, at the central."""
    commit_cpu: float = 210e-6
    """A transaction, at the central: one for each message, but for many when they wait already."""
    database_cpu: float = 5e-6
    """Storing a record in PostgreSQL."""
    transaction_cpu: float = 195e-6
    """The same transaction in PostgreSQL, with the node's cursor."""
    wal_bytes: float = 400
    """A record in PostgreSQL's write-ahead log."""
    row_bytes: float = 380
    """A record in a table of PostgreSQL, with its index."""


class Load(NamedTuple):
    """What is sent."""

    collectors: int
    records: float
    """Records a day, of all collectors."""
    peak: float = 3.0
    """The rate of the busiest hour, divided by the mean rate."""

    @property
    def mean(self) -> float:
        """Records a second."""
        return self.records / DAY


class Layout(NamedTuple):
    """The parts that the records pass, and how many of each there are."""

    linger: float = 0.5
    """Seconds that a collector collects before it publishes a message."""
    streams: int = 1
    cluster_cores: int = 6
    """Cores of all nodes of the cluster."""
    centrals: int = 1
    """Central servers, each with a core. They have a connection to PostgreSQL for each node."""
    database_cores: int = 2
    disk_rate: float = 200e6
    """Bytes a second that PostgreSQL's disk writes."""
