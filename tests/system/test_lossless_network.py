"""The fastlog client and the server, with faults of the network between them.

What is stored is what was sent, each record once and in order, as in `test_lossless.py`.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from lossless_clients import FAST, Client, assert_exact, server
from places import SUPPORT
from protocol_client import Speaker, batch, record
from servers import Server

from fastlog.drill.proxy import Proxy

__all__ = ["server"]


def test_resets_within_hello_and_batch_lose_nothing(server: Server) -> None:
    """A HELLO has 89 bytes with its header, a batch of one of these records about 500."""
    _cut_everywhere(server, step=13)


@pytest.mark.soak
def test_a_reset_at_every_single_byte_loses_nothing(server: Server) -> None:
    _cut_everywhere(server, step=1)


def _cut_everywhere(server: Server, step: int) -> None:
    chosen = range(random.randrange(step) + 1, 700, step)
    print(f"first cut after {chosen[0]} bytes")  # printed if the test fails
    offsets = iter(chosen)
    with Proxy(server.port) as proxy:
        proxy.choose_cut = lambda: next(offsets, None)
        with Client(proxy.port) as client:
            while proxy.cuts < len(chosen):
                seen = proxy.cuts
                client.log()
                wait_for(lambda seen=seen: proxy.cuts > seen)  # type: ignore[misc]
            client.flush()
            assert client.stats["reconnects"] >= proxy.cuts
    assert_exact(server, "a", client.sent)


def test_a_peer_that_drops_all_data_is_detected(server: Server) -> None:
    with Proxy(server.port) as proxy, Client(proxy.port) as client:
        client.log(100)
        client.flush()
        proxy.discard()
        client.log(100)
        wait_for(lambda: proxy.discarded > 0)
        proxy.clear_faults()  # new connections pass; the old one stays dead
        client.flush()
        assert client.stats["reconnects"] >= 1
        assert_exact(server, "a", 200)


def test_dropped_acks_cause_a_reconnection_and_no_double(server: Server) -> None:
    with Proxy(server.port) as proxy, Client(proxy.port) as client:
        client.log(100)
        client.flush()
        proxy.drops_acks = True
        for _ in range(2):
            seen = proxy.connections
            client.log(100)
            wait_for(lambda seen=seen: proxy.connections > seen)  # type: ignore[misc]
        proxy.clear_faults()
        client.log(1)
        client.flush()
    assert_exact(server, "a", 301)
    assert proxy.dropped_acks > 0


def test_batches_that_are_sent_three_times_are_stored_once(server: Server) -> None:
    """By a client that has received no ack, with its batches split differently each time."""
    client, dice = os.urandom(16), random.Random(3)
    for first in range(1, 301, 30):
        for _ in range(3):
            with Speaker(server.port, client) as speaker:
                speaker.greet(first, first + 30)
                at = first
                while at < first + 30:
                    size = min(dice.randrange(1, 31), first + 30 - at)
                    made = [record(number, client="a") for number in range(at, at + size)]
                    speaker.send(batch(at, made))
                    at += size
                speaker.until(first + 29)
    assert_exact(server, "a", 300)
    wait_for(lambda: server.status()["repeated"] == 600)


def test_a_dead_peer_is_detected(tmp_path: Path) -> None:
    """Its network namespace loses its link, like a host without power."""
    with _neighbour(tmp_path) as (host, port, switch):
        listen = ["tcp://127.0.0.1:0", f"unix://{tmp_path}/s"]
        with Server(tmp_path, listen=listen, config=FAST) as server:
            with Client(port, host=host, connect_timeout=1.0) as client:
                client.log(100)
                client.flush()
                switch("down")
                client.log(100)
                wait_for(lambda: not client.stats["connected"], "the connection is given up")
                client.log(100)
                switch("up")
                client.flush()
            assert_exact(server, "a", 300)


@contextlib.contextmanager
def _neighbour(home: Path) -> Iterator[tuple[str, int, Callable[[str], None]]]:
    """Make a host that forwards a port to the Unix socket `s`, and a switch for its link.

    The server itself uses only this machine's network.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can make the network namespace that this needs")
    name, mine, its = f"fastlog-{os.getpid()}", f"flm{os.getpid()}", f"fli{os.getpid()}"
    inside = ["ip", "netns", "exec", name]
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    forwarder = None
    try:
        for words in (
            f"ip link add {mine} type veth peer name {its} netns {name}",
            f"ip address add 10.254.77.1/30 dev {mine}",
            f"ip link set {mine} up",
            f"{' '.join(inside)} ip address add 10.254.77.2/30 dev {its}",
            f"{' '.join(inside)} ip link set {its} up",
        ):
            subprocess.run(words.split(), check=True)
        program = [*inside, sys.executable, SUPPORT / "clients" / "forward.py", home / "s"]
        forwarder = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        assert forwarder.stdout is not None
        port = int(forwarder.stdout.readline())

        def switch(state: str) -> None:
            subprocess.run([*inside, "ip", "link", "set", its, state], check=True)

        yield "10.254.77.2", port, switch
    finally:
        if forwarder is not None:
            forwarder.kill()
            forwarder.communicate()
        subprocess.run(["ip", "netns", "delete", name], check=True)
