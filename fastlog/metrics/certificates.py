"""The metrics of certificates: when those that are in use expire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from fastlog.tls.report import ListenerReport


def certificate_metrics(listeners: Iterable[ListenerReport]) -> Iterator[Metric]:
    """Yield the metrics of listeners, by their URLs."""
    texts = {
        "certificate": "When the first certificate of a listener's chain expires, as Unix time.",
        "client_ca": "When the first of the authorities of clients expires, as Unix time.",
        "crl": "When the first of the revocation lists of clients expires, as Unix time.",
    }
    families = {
        name: GaugeMetricFamily(f"fastlog_{name}_expiry_timestamp_seconds", text, labels=["url"])
        for name, text in texts.items()
    }
    for each in listeners:
        values = {
            "certificate": each.certificate_end,
            "client_ca": each.client_ca_end,
            "crl": each.crl_end,
        }
        for name, value in values.items():
            if value is not None:
                families[name].add_metric([each.url], value)
    yield from families.values()
