"""Measure what `emit` costs an application: the stock SocketHandler beside fastlog_client's.

    python benchmarks/emit_cost.py [--python 2.7 3.11 …] [--rounds 61] [--records 2000]

For each interpreter, one process measures both handlers alternately, with a fastlog-server and
then without one. `emit` gets records that are made before: plain ones, and some with three
attributes in `extra`. The output has the medians of the rounds:

- microseconds for which a call of `emit` blocks the application;
- CPU microseconds of the process for a record until all of a round are sent, which includes the
  thread of the sender. (Without a server, nothing is sent.)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SUPPORT = ROOT / "tests" / "support"
SCRIPT = SUPPORT / "clients" / "measure_emit.py"
sys.path.insert(0, str(SUPPORT))

from interpreters import interpreters  # noqa: E402 - the tests' helpers are not a package
from servers import Server  # noqa: E402 - the same


def main() -> None:
    found = interpreters()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", nargs="+", default=list(found), choices=list(found))
    parser.add_argument("--rounds", type=int, default=61, help="of each handler")
    parser.add_argument("--records", type=int, default=2000, help="in a round")
    parser.add_argument("--json", action="store_true", help="the medians as JSON")
    options = parser.parse_args()
    rows = list(measure_all(options.python, options.rounds, options.records))
    if options.json:
        print(json.dumps(rows))
    else:
        print_table(rows)


def measure_all(versions: list[str], rounds: int, records: int) -> Iterator[dict[str, Any]]:
    with server() as running, free_port() as closed_port:
        for version in versions:
            for state, port in (("running", running), ("down", closed_port)):
                for kind in ("plain", "extras"):
                    words = [word for word in (state, kind) if word in ("down", "extras")]
                    figures = measure(version, port, rounds, records, words)
                    yield {"python": version, "server": state, "records": kind, **figures}


@contextlib.contextmanager
def server() -> Iterator[int]:
    with tempfile.TemporaryDirectory() as home, Server(Path(home)) as running:
        yield running.port


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    """Bind a port that rejects connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def measure(
    version: str, port: int, rounds: int, records: int, words: list[str]
) -> dict[str, float]:
    command = [
        interpreters()[version],
        "-B",
        SCRIPT,
        ROOT / "client",
        port,
        rounds,
        records,
        *words,
    ]
    out = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=True
    )
    result = json.loads(out.stdout)
    assert not result.pop("dropped"), "the memory was full: fewer rounds, or fewer records"
    return {
        f"{handler}_{figure}": round(statistics.median(pair[at] for pair in pairs), 2)
        for handler, pairs in result.items()
        for at, figure in enumerate(("emit", "cpu"))
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    print("| Python | server | records | emit: stock | ours | ratio | CPU: stock | ours |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [row["python"], row["server"], row["records"], row["stock_emit"], row["ours_emit"]]
        cells.append(f"{row['ours_emit'] / row['stock_emit']:.2f}")
        cells += [row["stock_cpu"], row["ours_cpu"]]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
