"""Rotel, a collector of OpenTelemetry from PyPI, between fastlog and a receiver of the tests."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from conditions import wait_for

from fastlog.drill.ports import ReservedPort
from fastlog.drill.processes import dying_with_parent


def agent() -> Path | None:
    """Return the program; None where it is not installed."""
    spec = find_spec("rotel")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("rotel-agent")
    return path if path.exists() else None


@contextmanager
def rotel(home: Path, to: str) -> Iterator[int]:
    """Run Rotel, which passes everything on to another receiver.

    Args:
        home: Where it may write.
        to: The URL of the other receiver, without a path.

    Yields:
        The port of its OTLP/HTTP.
    """
    program = agent()
    assert program is not None
    with ReservedPort() as grpc, ReservedPort() as http:
        flags = {
            "otlp-grpc-endpoint": f"127.0.0.1:{grpc.number}",
            "otlp-http-endpoint": f"127.0.0.1:{http.number}",
            "exporter": "otlp",
            "otlp-exporter-endpoint": to,
            "otlp-exporter-protocol": "http",
            "batch-timeout": "20ms",
            "pid-file": home / "rotel.pid",
            "log-file": home / "rotel.log",
        }
        command = [program, "start", *(f"--{name}={value}" for name, value in flags.items())]
        with (home / "rotel.out").open("w") as out:
            process = subprocess.Popen(dying_with_parent(command), stdout=out, stderr=out)
        try:
            wait_for(lambda: accepts(http.number) or process.poll() is not None, "rotel listens")
            assert process.poll() is None, (home / "rotel.out").read_text()
            yield http.number
        finally:
            process.kill()
            process.wait(30)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
