"""The fastlog protocol at a real server: silent clients, slow disks and full journals."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from conditions import wait_for
from protocol_client import Ack, ServerRejectedError, Speaker, batch, record
from protocol_records import QUIET, numbers, records
from senders import stock_frame
from servers import Server


def test_an_idle_client_gets_keepalives(tmp_path: Path) -> None:
    with (
        Server(tmp_path, config='[clients]\nkeepalive = "1 s"\n') as server,
        Speaker(server.port) as client,
    ):
        assert client.greet().keepalive == 1
        for _ in range(3):
            assert client.ack() == Ack(0, 1 << 20, 0)


def test_keepalives_are_sent_while_the_disk_does_not_respond(tmp_path: Path) -> None:
    """The worker is stopped, so the journal is full and the loop is paused, as by a slow disk."""
    config = '[clients]\nkeepalive = "1 s"\n[journal]\nsize = "512 KiB"\nsegment = "128 KiB"\n' \
        'memory = "1 MiB"\nwhen_full = "pause"\n'  # fmt: skip
    with Server(tmp_path, config=config) as server, Speaker(server.port) as client:
        client.greet()
        worker = server.children()["worker sqlite"]
        os.kill(worker, signal.SIGSTOP)
        with server.connect() as stock:
            stock.setblocking(False)
            wait_for(lambda: _is_stuck(stock), "a stock client is blocked")
            states = {client.ack().state for _ in range(3)}
            os.kill(worker, signal.SIGCONT)
        assert states <= {0, 1, 2}


def _is_stuck(stock: socket.socket) -> bool:
    try:
        stock.send(stock_frame("x" * 10_000))
    except BlockingIOError:
        return True
    return False


def test_a_client_that_never_reads_uses_no_memory_and_delays_no_other(
    tmp_path: Path,
) -> None:
    with Server(tmp_path) as server, Speaker(server.port) as silent, Speaker(server.port) as other:
        silent.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        silent.greet()
        other.greet()
        receiver = server.children()["receiver"]
        before = memory_of(receiver)
        for number in range(1, 20_001):
            silent.send(batch(number, [b"{}"], crc=False))
            if number % 2000 == 0:
                other.send(batch(number // 2000, [record(number)]))
                other.until(number // 2000)
        wait_for(lambda: server.status()["frames"] == 20_010)
        assert memory_of(receiver) < before + (8 << 20)


def memory_of(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_full_journal_closes_the_window_and_opens_it_again(tmp_path: Path) -> None:
    config = QUIET + '[journal]\nsize = "512 KiB"\nsegment = "128 KiB"\n'
    with Server(tmp_path, config=config).fixed() as server:
        worker = server.children()["worker sqlite"]
        os.kill(worker, signal.SIGSTOP)
        client, at = Speaker(server.port), 1
        client.greet()
        while True:  # ignoring the window, until the journal is full
            try:
                client.send(batch(at, [record(n, pad="x" * 1000) for n in range(at, at + 20)]))
                client.until(at + 19)
            except ServerRejectedError as rejected:
                assert (rejected.code, rejected.action) == (6, 0)
                break
            at += 20
        with client, Speaker(server.port, client.client) as again:
            welcome = again.greet(at, at + 20)
            assert (welcome.committed, welcome.window) == (at - 1, 0)
            os.kill(worker, signal.SIGCONT)
            while not (ack := again.ack()).window:
                pass
            assert ack == Ack(at - 1, 1 << 20, 0)
            again.send(batch(at, records(at, at + 19)))
            again.until(at + 19)
        server.wait_stored(at + 19)
        assert numbers(server) == list(range(1, at + 20))
        assert server.losses() == []
