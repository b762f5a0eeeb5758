"""Clients that number their records over one connection, which a reload must not close."""

from __future__ import annotations

import json
import select
import subprocess
import threading

from interpreters import environment, interpreters
from places import SUPPORT
from protocol_client import Speaker, batch, record
from servers import Server

SCRIPT = SUPPORT / "clients" / "log_numbers.py"


class Program:
    """A process that logs numbered records through the stock SocketHandler."""

    def __init__(self, server: Server, version: str, pause: float) -> None:
        self.client = f"Python {version}"
        command = [interpreters()[version], SCRIPT, "127.0.0.1", server.port, self.client, pause]
        self._process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )

    def stop(self) -> int:
        """Return the number of records logged, all of them over one connection."""
        out, err = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, err
        result = json.loads(out)
        assert len(result["ports"]) == 1, "it has connected again"
        return int(result["logged"])


class Batches(threading.Thread):
    """A fastlog client that sends batches over one connection and reads the acknowledgements."""

    def __init__(self, server: Server, client: str, pause: float = 0.01) -> None:
        super().__init__(daemon=True)
        self.client, self.sent = client, 0
        self._speaker, self._pause = Speaker(server.port), pause
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._committed = self._speaker.greet().committed
        self.start()

    def run(self) -> None:
        try:
            while not self._ended.wait(self._pause):
                records = [record(self.sent + n, client=self.client) for n in range(5)]
                self._speaker.send(batch(self.sent + 1, records))
                self.sent += len(records)
                while select.select([self._speaker.socket], [], [], 0)[0]:
                    self._read_ack()
            while self._committed < self.sent:
                self._read_ack()
        except BaseException as error:
            self._failure = error

    def _read_ack(self) -> None:
        committed = self._speaker.ack().committed
        assert self._committed <= committed <= self.sent
        self._committed = committed

    def stop(self) -> None:
        self._ended.set()
        self.join(60)
        assert not self.is_alive()
        assert self._failure is None, repr(self._failure)
        self._speaker.socket.close()


def some_versions() -> list[str]:
    found = list(interpreters())
    return sorted({found[0], found[len(found) // 2], found[-1]})  # 2.7 is the first, where it is
