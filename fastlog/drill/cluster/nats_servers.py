"""A real JetStream cluster: processes of nats-server on loopback.

The ports of a cluster are reserved here, since each server must know the routes to the others.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastlog.drill.ports import ReservedPort
from fastlog.drill.processes import TIMEOUT, last_line, start_program, wait_for
from fastlog.errors import FastlogError


class NatsServer:
    """One server of a cluster, with its own store.

    Args:
        home: The directory in which it gets one of its own, `name`.
        ports: For clients, for the other servers, and for monitoring.
        routes: The ports for each other of all servers.
        more: More of its configuration.
        sync: Its `sync_interval`.
    """

    def __init__(self, program: Path, home: Path, name: str, ports: Sequence[int],
                 routes: Sequence[int], more: str, sync: str) -> None:  # fmt: skip
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
        self._program = program
        self._config = self.home / "nats.conf"
        self._config.write_text(f"""
            server_name: {name}, listen: "127.0.0.1:{self.port}", http: "127.0.0.1:{self._monitor}"
            jetstream {{ store_dir: "{self.store}", sync_interval: {sync} }}
            {cluster if len(routes) > 1 else ""}
            {more}
        """)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, and do not wait."""
        self._process = start_program([self._program, "-c", self._config], self.log)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal, and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(TIMEOUT)
            self._process = None

    def check(self) -> None:
        """Raise FastlogError if the process has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise FastlogError(f"nats-server {self.name} ended: {last_line(self.log)}")

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    @property
    def monitor(self) -> str:
        """The URL of its monitoring endpoint."""
        return f"http://127.0.0.1:{self._monitor}"

    def ask(self, what: str) -> dict[str, Any]:
        """Return what the monitoring endpoint answers; {} while it does not."""
        url = f"{self.monitor}/{what}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - http
                return dict(json.load(answer))
        except OSError:
            return {}

    def messages(self) -> str:
        """Return its log."""
        return self.log.read_text("utf-8", "replace")

    def messages_of(self, stream: str) -> list[Path]:
        """Return the files in which it stores messages of a stream, without empty ones."""
        blocks = self.store.glob(f"jetstream/*/streams/{stream}/msgs/*.blk")
        with contextlib.suppress(FileNotFoundError):  # the server removes them, too
            return sorted(path for path in blocks if path.stat().st_size)
        return []

    def flip_bit(self, stream: str, rng: random.Random) -> None:
        """Flip a bit in a message of a stream. Call this while it is stopped.

        Raises:
            FastlogError: It has stored no message.
        """
        files = self.messages_of(stream)
        if not files:
            raise FastlogError(f"nats-server {self.name} has stored nothing of {stream}")
        with rng.choice(files).open("r+b") as file:
            content = bytearray(file.read())
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            file.seek(0)
            file.write(content)


class NatsCluster:
    """Some servers, of which any may be killed and started again."""

    def __init__(
        self, home: Path, size: int = 3, more: str = "", sync: str = "10s", *, program: Path
    ) -> None:
        self._reserved = [ReservedPort() for _ in range(3 * size)]
        ports = [each.number for each in self._reserved]
        routes = ports[1::3]
        self.servers = [
            NatsServer(program, home, f"n{at}", ports[3 * at : 3 * at + 3], routes, more, sync)
            for at in range(size)
        ]

    def start(self) -> NatsCluster:
        """Start all servers, and wait until they are ready.

        Raises:
            FastlogError: They are not.
        """
        for server in self.servers:
            server.start()
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Wait until the servers that run answer, and agree on a leader.

        Raises:
            FastlogError: They do not, or one has ended by itself.
        """

        def is_ready() -> bool:
            for server in self.servers:
                server.check()
            return self.is_ready()

        wait_for(is_ready, "the cluster has a leader and all its servers", interval=0.05)

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
        """Kill all servers for good: their ports are no longer reserved."""
        for server in self.servers:
            server.stop()
        for port in self._reserved:
            port.close()

    def url(self, stream: str = "LOGS", user: str = "", **options: object) -> str:
        """Return the URL of a stream."""
        given = {"max_bytes": "1GiB", "replicas": min(3, len(self.servers)), **options}
        return stream_url([server.port for server in self.servers], stream, user, **given)

    def leader(self, stream: str = "LOGS") -> NatsServer:
        """Return the server that leads the stream now.

        Raises:
            FastlogError: None does, for a long time.
        """

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

        found = wait_for(find, f"a leader of {stream}", interval=0.05)
        assert found is not None
        return found


def stream_url(ports: Sequence[int], stream: str, user: str = "", **options: object) -> str:
    """Return the URL of a stream whose servers are reached on these ports of 127.0.0.1."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    more = "&".join(f"{name}={value}" for name, value in options.items())
    return f"nats://{user + '@' if user else ''}{hosts}/{stream}?{more}"
