"""The loop limits connections, in all and by host, and makes room for new ones."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

from connections import no_descriptors_left
from loop_receiver import Receiver, encode, receiving, was_closed
from networks import in_a_network_of_its_own
from places import ROOT


def test_without_descriptors_new_connections_are_closed_until_there_are_some() -> None:
    with receiving() as receiver:
        old = receiver.connect(encode(b"old"))
        receiver.until(lambda: receiver.loop.stats().frames == 1)
        waiting = [socket.socket() for _ in range(3)]
        with no_descriptors_left():
            for client in waiting:
                client.connect(receiver.listener.getsockname())
            started = time.monotonic()
            polls = 0
            while receiver.loop.stats().rejected.get("no file descriptor left", 0) < 3:
                receiver.poll(5)
                polls += 1
            # One connection is closed, then the listener is disarmed for 100 ms (of a clock that
            # counts whole ms): no busy loop.
            assert 0.198 <= time.monotonic() - started < 5
            assert polls < 20
            old.sendall(encode(b"unharmed"))
            receiver.until(lambda: receiver.loop.stats().frames == 2)
        assert all(was_closed(client) for client in waiting)
        receiver.connect(encode(b"new"))
        receiver.until(lambda: receiver.loop.stats().frames == 3)
        for client in waiting:
            client.close()


def test_connections_beyond_the_limit_are_closed_and_others_are_unaffected() -> None:
    with receiving(max_connections=3) as receiver:
        first = [receiver.connect() for _ in range(3)]
        receiver.until(lambda: receiver.loop.stats().connections == 3)
        late = [receiver.connect() for _ in range(4)]
        receiver.until(lambda: receiver.loop.stats().rejected == {"too many connections": 4})
        assert all(was_closed(client) for client in late)
        for client in first:
            client.sendall(encode(b"here"))
        receiver.until(lambda: receiver.loop.stats().frames == 3)
        first[0].close()
        receiver.until(lambda: receiver.loop.stats().connections == 2)
        receiver.connect(encode(b"there is room again"))
        receiver.until(lambda: receiver.loop.stats().frames == 4)


def test_connections_that_never_sent_a_byte_make_room_the_oldest_first() -> None:
    with receiving(max_connections=4, handshake=0.3) as receiver:
        complete, begun = receiver.connect(encode(b"here")), receiver.connect(b"\0")
        receiver.until(lambda: receiver.loop.stats().partials == 1)
        older = receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 3)
        younger = receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 4)
        early = receiver.connect(encode(b"too early"))
        receiver.until(lambda: receiver.loop.stats().rejected == {"too many connections": 1})
        assert was_closed(early)
        _wait(receiver, 0.3)
        receiver.connect(encode(b"a new one"))
        receiver.until(lambda: receiver.loop.stats().frames == 2)
        assert receiver.loop.stats().rejected == {
            "too many connections": 1,
            "never sent a byte; closed to make room": 1,
        }
        host, port = older.getsockname()
        assert receiver.loop.rejections()[-1].peer == f"{host}:{port}"
        assert was_closed(older)
        receiver.connect(encode(b"another"))
        receiver.until(lambda: receiver.loop.stats().frames == 3)
        assert was_closed(younger)
        rejected = receiver.connect(encode(b"all have sent now"))
        receiver.until(lambda: receiver.loop.stats().rejected["too many connections"] == 2)
        assert was_closed(rejected)
        complete.sendall(encode(b"still here"))
        begun.sendall(encode(b"and it")[1:])
        receiver.until(lambda: receiver.loop.stats().frames == 5)


def test_a_connection_with_unread_bytes_is_not_closed_to_make_room() -> None:
    with receiving(max_connections=2, handshake=0.1) as receiver:
        sends, ends = receiver.connect(), receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 2)
        _wait(receiver, 0.1)
        receiver.loop.pause(True)  # so that the loop accepts the new one before it reads
        sends.sendall(encode(b"unread"))
        ends.close()
        receiver.connect(encode(b"a new one"))
        receiver.until(lambda: receiver.loop.stats().rejected == {"too many connections": 1})
        receiver.loop.pause(False)
        receiver.until(lambda: receiver.frames() == [b"unread"])
        receiver.until(lambda: receiver.loop.stats().connections == 1)


def test_without_descriptors_a_connection_that_never_sent_a_byte_makes_room() -> None:
    with receiving(handshake=0.1) as receiver:
        silent = receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 1)
        _wait(receiver, 0.1)
        waiting = [socket.socket() for _ in range(2)]
        with no_descriptors_left():
            for client in waiting:
                client.connect(receiver.listener.getsockname())
                client.sendall(encode(b"a new one"))
            receiver.until(lambda: receiver.loop.stats().frames == 1)
            receiver.until(lambda: len(receiver.loop.stats().rejected) == 2)
        assert was_closed(silent)
        assert receiver.loop.stats().rejected == {
            "never sent a byte; closed to make room": 1,
            "no file descriptor left": 1,
        }
        for client in waiting:
            client.close()


def _wait(receiver: Receiver, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        receiver.poll()


OTHERS = ["10.1.0.0/16", "fd00:0:0:1::1/128", "fd00:0:0:1::2/128", "fd00:0:0:2::1/128"]


def test_connections_of_one_host_are_limited_and_other_hosts_are_unaffected() -> None:
    def body() -> None:
        with receiving(max_connections=20, connections_per_host=2) as receiver:
            every = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
            receiver.loop.listen(every.fileno())
            port = every.getsockname()[1]

            def connect(to: str, host: str) -> socket.socket:
                client = socket.create_connection((to, port), 30, source_address=(host, 0))
                receiver.clients.append(client)
                client.sendall(encode(host.encode()))
                return client

            def rejected() -> int:
                return receiver.loop.stats().rejected.get("too many connections from this host", 0)

            many = [connect("10.1.0.1", "10.1.2.3") for _ in range(5)]
            receiver.until(lambda: rejected() == 3)
            assert {r.peer.partition(":")[0] for r in receiver.loop.rejections()} == {"10.1.2.3"}
            assert all(was_closed(client) for client in many[2:])
            for _ in range(2):
                connect("10.1.0.1", "10.1.2.4")
                connect("fd00:0:0:2::1", "fd00:0:0:2::1")
            for _ in range(5):
                connect("127.0.0.1", "127.0.0.1")
                connect("::1", "::1")
            connect("fd00:0:0:1::1", "fd00:0:0:1::1")
            receiver.until(lambda: receiver.loop.stats().frames == 17)
            connect("fd00:0:0:1::1", "fd00:0:0:1::2")
            receiver.until(lambda: receiver.loop.stats().frames == 18)
            assert rejected() == 3
            connect("fd00:0:0:1::1", "fd00:0:0:1::2")  # a third from that network
            receiver.until(lambda: rejected() == 4)
            for client in many:
                client.close()
            receiver.until(lambda: receiver.loop.stats().connections == 16)
            connect("10.1.0.1", "10.1.2.3")
            receiver.until(lambda: receiver.loop.stats().frames == 19)
            every.close()

    in_a_network_of_its_own(body, OTHERS)


def test_a_host_over_its_limit_makes_no_room() -> None:
    def body() -> None:
        with receiving(max_connections=2, connections_per_host=1, handshake=0.0) as receiver:
            every = socket.create_server(("", 0))
            receiver.loop.listen(every.fileno())
            to, own = ("10.1.0.1", every.getsockname()[1]), ("10.1.2.3", 0)
            receiver.connect()
            first = socket.create_connection(to, 30, source_address=own)
            receiver.until(lambda: receiver.loop.stats().connections == 2)
            second = socket.create_connection(to, 30, source_address=own)
            receiver.until(lambda: receiver.loop.stats().rejected)
            assert receiver.loop.stats().rejected == {"too many connections from this host": 1}
            for one in (first, second, every):
                one.close()

    in_a_network_of_its_own(body, OTHERS)


def test_connections_that_are_taken_over_are_counted_and_never_rejected() -> None:
    def body() -> None:
        with receiving(connections_per_host=1) as receiver, receiving() as before:
            for peer in ("10.1.2.3:1", "10.1.2.3:2"):
                ours, theirs = socket.socketpair()
                before.clients.append(theirs)
                before.loop.add(ours.detach(), peer)
            for exported in before.loop.export():
                receiver.loop.take(exported._replace(fd=os.dup(exported.fd)))
            assert receiver.loop.stats().connections == 2
            every = socket.create_server(("", 0))
            receiver.loop.listen(every.fileno())
            for host in ("10.1.2.3", "10.1.2.4"):
                one = socket.create_connection(every.getsockname(), source_address=(host, 0))
                receiver.clients.append(one)
                one.sendall(encode(host.encode()))
            receiver.until(lambda: receiver.frames() == [b"10.1.2.4"])
            receiver.until(lambda: receiver.loop.stats().rejected)
            assert receiver.loop.stats().rejected == {"too many connections from this host": 1}
            every.close()

    in_a_network_of_its_own(body, OTHERS)


def test_the_table_of_hosts_counts_like_an_array(tmp_path: Path) -> None:
    program = tmp_path / "try_hosts"
    compiler = sysconfig.get_config_var("CC").split()[0]
    subprocess.run(
        [compiler, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-g",
         f"-I{ROOT / 'csrc'}",
         str(ROOT / "csrc/loop/hosts.c"), str(ROOT / "tests/support/try_hosts.c"),
         "-o", str(program)],
        check=True,
    )  # fmt: skip
    out = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (out.returncode, out.stdout) == (0, "ok\n"), out.stderr


def test_connections_of_another_process_are_limited_by_their_peer() -> None:
    with receiving(max_connections=20, connections_per_host=2) as receiver:
        clients = []
        for peer in ("10.0.0.7:1 pay: ments", "10.0.0.7:2", "10.0.0.7:3 x", "10.0.0.8:1"):
            ours, theirs = socket.socketpair()
            receiver.loop.accept(ours.detach(), peer)
            with contextlib.suppress(BrokenPipeError):  # that one is closed already
                theirs.sendall(encode(peer.encode()))
            clients.append(theirs)
        receiver.until(lambda: receiver.loop.stats().frames == 3)
        [rejected] = receiver.loop.rejections()
        assert (rejected.peer, rejected.reason) == (
            "10.0.0.7:3 x",
            "too many connections from this host",
        )
        assert clients[2].recv(1) == b""
        for client in clients:
            client.close()


def test_a_connection_of_another_process_obeys_the_rules_of_its_listener() -> None:
    with receiving() as receiver:
        ours, theirs = socket.socketpair()
        receiver.loop.accept(ours.detach(), "10.0.0.7:1 x", stock=False)
        theirs.sendall(encode(b"stock"))
        receiver.until(lambda: receiver.loop.stats().connections == 0)
        [rejected] = receiver.loop.rejections()
        assert "stock" in rejected.reason
        theirs.close()
