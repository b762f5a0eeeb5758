"""The network between servers and a cluster: a proxy for each server of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from fastlog.drill.proxy import Proxy


class Network:
    """Proxies to these ports, as one network, as a context manager."""

    def __init__(self, targets: Sequence[int]) -> None:
        self._proxies = [Proxy(target, filters_acks=False) for target in targets]
        self._stack = ExitStack()

    def __enter__(self) -> Network:
        for proxy in self._proxies:
            self._stack.enter_context(proxy)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def ports(self) -> list[int]:
        """The ports of the proxies."""
        return [proxy.port for proxy in self._proxies]

    @property
    def forwarding(self) -> int:
        """How many connections forward bytes."""
        return sum(proxy.forwarding for proxy in self._proxies)

    @property
    def cuts(self) -> int:
        """Connections that were reset."""
        return sum(proxy.cuts for proxy in self._proxies)

    @property
    def discarded(self) -> int:
        """Bytes that were read and not forwarded."""
        return sum(proxy.discarded for proxy in self._proxies)

    def cut(self) -> None:
        """Reset all connections."""
        for proxy in self._proxies:
            proxy.cut()

    def cut_after(self, choose: Callable[[], int | None]) -> None:
        """Reset each new connection after so many bytes to the cluster; None: never."""
        for proxy in self._proxies:
            proxy.choose_cut = choose

    def discard(self) -> None:
        """Discard all traffic; see `Proxy.discard`."""
        for proxy in self._proxies:
            proxy.discard()

    def clear_faults(self) -> None:
        """End all faults."""
        for proxy in self._proxies:
            proxy.clear_faults()
