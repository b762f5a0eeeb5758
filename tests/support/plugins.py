"""Sinks of other projects, as pip would install them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastlog.sinks import GROUP

BLOCKING = """
import os
from fastlog.sinks import Sink

class Sink(Sink):
    at = 0

    def open(self, node):
        return self.at

    def apply(self, blocks):
        with open(self.context.url.path):  # a FIFO: this waits until something writes to it
            pass
        self.at = blocks[-1].block.end

    def cursor(self):
        return self.at

    def sync(self):
        return self.at

    def close(self):
        pass
"""
"""A sink whose `apply` waits until the test opens a FIFO."""


def install(
    site: Path, sources: Mapping[str, str], *, points: Mapping[str, str] | None = None
) -> None:
    """Put a distribution into `site`, with a module `NAME_sink` for each source.

    The class `Sink` of the module becomes the sink `NAME`.

    Args:
        points: further entry points, or replacements of these.
    """
    metadata = site / "test_sinks-1.0.dist-info"
    metadata.mkdir(parents=True)
    found = {name: f"{name}_sink:Sink" for name in sources} | dict(points or {})
    for name, source in sources.items():
        (site / f"{name}_sink.py").write_text(source, "utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: test-sinks\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in found.items())
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
