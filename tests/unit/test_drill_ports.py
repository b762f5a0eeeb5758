"""Ports that the drill reserves: nobody else gets one, but a server can listen on it."""

from __future__ import annotations

import socket

import pytest

from fastlog.drill.ports import ReservedPort


def test_a_reserved_port_is_not_chosen_for_another_socket() -> None:
    reserved = [ReservedPort() for _ in range(200)]
    others = [socket.create_server(("127.0.0.1", 0)) for _ in range(200)]
    numbers = {port.number for port in reserved}
    assert len(numbers) == 200
    assert numbers.isdisjoint(other.getsockname()[1] for other in others)
    for each in (*reserved, *others):
        each.close()


def test_servers_listen_on_a_reserved_port_one_after_another() -> None:
    with ReservedPort() as port:
        address = ("127.0.0.1", port.number)
        for _ in range(3):
            with socket.create_server(address) as server, socket.create_connection(address):
                server.accept()[0].close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
