"""The chart: CPU-seconds per million records, as bars. Needs matplotlib, an extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {
    "64k 100": "saturated, 64 KiB a send",
    "record 100": "saturated, a record a send",
    "paced 100": "10,000 records/s, a record a send",
}
"""The cases in the chart, all with 100 connections."""
COLOURS = {
    "fastlog": "#c0392b",
    "python": "#7f8c9a",
    "syslog": "#4a7fb0",
    "floor": "#c9ccd1",
    "other": "#8e6bb0",
}
LABELS = {
    "fastlog": "fastlog",
    "python": "servers in Python (unpickle)",
    "syslog": "syslog servers (text instead of pickles)",
    "floor": "floors",
    "other": "others",
}


def draw(results: Results, paths: Sequence[Path]) -> bool:
    """Draw the chart to each file, as PNG or SVG by its suffix.

    Returns:
        Whether there was anything to draw.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "fastlog", "font.size": 9, "svg.fonttype": "none"})
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    cases = [case for case in PANELS if any(run.case == case for run in results.runs)]
    if not cases:
        return False
    tallest = max(len(_bars(results, case)) for case in cases)
    figure, axes = plt.subplots(
        1, len(cases), figsize=(5.2 * len(cases), 1.6 + 0.27 * tallest), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, case in zip(axes[0], cases, strict=True):
        _panel(axis, results, case)
    figure.suptitle(
        "CPU-seconds per million records: all processes of the server, 100 connections",
        weight="bold",
    )
    used = dict.fromkeys(run.family for run in results.runs)
    patches = [Patch(color=COLOURS[family]) for family in used]
    figure.legend(
        patches, [LABELS[f] for f in used], loc="outside lower center", ncols=4, frameon=False
    )
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, dpi=130, metadata=metadata)
    plt.close(figure)
    return True


def _bars(results: Results, case: str) -> list[tuple[float, str, str]]:
    """Return CPU-seconds, name and family; the fastest is last, which is drawn at the top."""
    families = {run.server: run.family for run in results.runs}
    found = []
    for server in results.servers:
        value = results.median(server, case, lambda run: run.cpu_per_million)
        if value is not None:
            lossy = any(run.faults for run in results.of(server, case))
            found.append((value, server + (" (lost records)" if lossy else ""), families[server]))
    return sorted(found, reverse=True)


def _panel(axis: Axes, results: Results, case: str) -> None:
    bars = _bars(results, case)
    values = [value for value, _, _ in bars]
    axis.barh([name for _, name, _ in bars], values, color=[COLOURS[f] for _, _, f in bars])
    for at, value in enumerate(values):
        axis.text(value, at, f" {value:.1f}" if value >= 10 else f" {value:.2f}", va="center")
    for label, (_, _, family) in zip(axis.get_yticklabels(), bars, strict=True):
        label.set_fontweight("bold" if family == "fastlog" else "normal")
    axis.set_title(PANELS[case], fontsize=10)
    axis.set_xlabel("CPU-seconds per million records (less is better)")
    axis.set_xlim(0, max(values) * 1.15 or 1)
    axis.margins(y=0.01)
    axis.spines[["top", "right"]].set_visible(False)
