"""Hosts other than this one, without another machine: addresses in a network namespace."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Sequence

import pytest

CLONE_NEWNET = 0x40000000


def in_a_network_of_its_own(body: Callable[[], None], addresses: Sequence[str]) -> None:
    """Runs `body` where this machine has these addresses (`10.0.0.0/16`: all of those).

    Sockets that it makes, and processes that it starts, are there too; nothing leaves the machine.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can make the network namespace that this needs")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
                pytest.skip("this machine lets nobody make a network namespace")
            for words in ("link set lo up", *(f"address add {a} dev lo" for a in addresses)):
                subprocess.run(["ip", *words.split()], check=True)
            body()
        except BaseException as failure:  # raised again below, in the thread of the test
            failures.append(failure)

    thread = threading.Thread(target=run)  # the namespace is that of the thread, and ends with it
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
