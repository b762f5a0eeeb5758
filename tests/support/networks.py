"""Addresses of other hosts, in a network namespace of this machine."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence

import pytest
from conditions import wait_for

CLONE_NEWNET = 0x40000000


def ip(words: str) -> None:
    """Run `ip` with these arguments."""
    subprocess.run(["ip", *words.split()], check=True)


def in_a_network_of_its_own(body: Callable[[], None], addresses: Sequence[str]) -> None:
    """Run `body` in a new network namespace that has these addresses (`10.0.0.0/16`: all of them).

    Its sockets and its child processes are in the namespace too. No packet leaves the machine.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can make the network namespace that this needs")
    if shutil.which("ip") is None:
        pytest.skip("no `ip` on this machine (Debian: iproute2)")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
                pytest.skip("this machine does not allow a new network namespace")
            ip("link set lo up")
            for address in addresses:  # an IPv6 address is unusable while it is tentative
                ip(f"address add {address} dev lo" + (" nodad" if ":" in address else ""))
            for address in addresses:  # the kernel makes the routes of IPv6 a little later
                wait_for(lambda to=address: has_route(to.partition("/")[0]), f"route to {address}")
            body()
        except BaseException as failure:  # raised again below, in the thread of the test
            failures.append(failure)

    thread = threading.Thread(target=run)  # the namespace belongs to the thread, and ends with it
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def has_route(address: str) -> bool:
    """Return whether this thread's network has a route to an address; sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except PermissionError:  # a broadcast address
            return True
        except OSError:
            return False
    return True
