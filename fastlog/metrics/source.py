"""The metrics of a central server: what it takes from a stream, node by node."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from fastlog.source.report import SourceReport


def source_metrics(source: SourceReport, now: float) -> Iterator[Metric]:
    """Yield the metrics of a source.

    Args:
        now: the time, in seconds since the epoch.
    """
    failing = 1.0 if source.error is not None else 0.0
    text = "1 if the cluster of the source cannot be used now."
    yield GaugeMetricFamily("fastlog_source_failing", text, failing)
    yield GaugeMetricFamily(
        "fastlog_stream_bytes", "Bytes of the stream that the central reads.", source.bytes
    )
    text = "Bytes that the stream may have; 0: any number."
    yield GaugeMetricFamily("fastlog_stream_limit_bytes", text, source.limit)
    texts = {
        "last_block_timestamp_seconds": "When the newest stored block was received, as Unix time.",
        "pending_messages": "Messages of the node in the stream that were not read yet.",
        "lag_seconds": "How old the newest stored block is while others wait; 0 if none do.",
        "gap": "1 if blocks of the node are missing in the stream.",
        "failing": "1 if blocks of the node cannot be stored now.",
    }
    families = {
        name: GaugeMetricFamily(f"fastlog_node_{name}", text, labels=["node"])
        for name, text in texts.items()
    }
    for node in source.nodes:
        values = {
            "last_block_timestamp_seconds": node.received,
            "pending_messages": node.pending,
            "lag_seconds": node.lag(now),
            "gap": node.gap is not None,
            "failing": node.error is not None,
        }
        for name, value in values.items():
            if value is not None:
                families[name].add_metric([node.node], float(value))
    yield from families.values()
