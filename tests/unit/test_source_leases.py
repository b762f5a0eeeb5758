"""What a central knows of the others that take nodes of its stream."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import msgspec
from builders import NODE, Clock

from fastlog.jetstream.connection import Connection
from fastlog.jetstream.node_state import NodeState
from fastlog.source.leases import LEASE, Leases


def test_other_centrals_are_those_that_have_renewed_the_state_of_a_node() -> None:
    clock = Clock()
    leases = Leases(cast("Connection", None), "own", clock)

    def hear(node: str, owner: str) -> None:
        data = msgspec.json.encode(NodeState(owner=owner))
        message = SimpleNamespace(data=data, subject=f"fastlog-stored.{node}")
        asyncio.run(leases._on_state(message))

    hear(NODE, "another")
    hear("a", "own")
    hear("b", "")
    assert leases.others([NODE, "a", "b", "never heard of"]) == {"another"}
    assert leases.others(["a", "b"]) == set()
    clock.now += LEASE + 1
    assert leases.others([NODE]) == set()
