"""The handler and the answers of a server: acknowledgements, errors, notices and proofs."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import fastlog_client as client
import pytest
from client_handlers import Hook, emit, end, handler_of, record
from conditions import wait_for
from protocol_server import FIX_CONFIG, NEW_ID, RETRY, FakeServer, Peer


@pytest.mark.parametrize("has_spool", [False, True])
def test_an_acknowledgement_of_what_was_not_sent_drops_nothing(has_spool: bool, tmp_path: Path):
    options = {"spool": str(tmp_path)} if has_spool else {}
    with FakeServer(acks=False) as server, handler_of(server, **options) as handler:
        emit(handler, range(1, 11))
        wait_for(lambda: len(server.table.records) == 10)
        server.send("ack", 4)
        wait_for(lambda: handler.stats()["acked"] == 4)
        server.terms.acks = True
        server.send("ack", 11)
        wait_for(lambda: handler.stats()["new_ids"] == 1)
        assert handler.flush()
        stats = handler.stats()
        assert (stats["acked"], stats["pending"], sum(stats["dropped"].values())) == (10, 0, 0)
        assert stats["resent_records"] == 6
        assert server.table.numbers() == [*range(1, 11), *range(5, 11)]
        assert len({hello.client for hello in server.table.hellos}) == 2
        assert handler._reporter.hook.count_with("acknowledged records that were not sent") == 1
        assert (
            handler._reporter.hook.count_with("6 records are sent again: some may be stored") == 1
        )


@pytest.mark.parametrize("has_spool", [False, True])
def test_a_server_that_always_acknowledges_too_much_gets_no_flood_and_nothing_is_dropped(
    has_spool: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = {"spool": str(tmp_path)} if has_spool else {}
    ack = Peer.ack
    monkeypatch.setattr(Peer, "ack", lambda self: ack(self, (1 << 64) - 1))
    with FakeServer() as server, handler_of(server, **options) as handler:
        emit(handler, range(1, 4))
        begin = time.monotonic()
        wait_for(lambda: server.connections >= 4)
        assert time.monotonic() - begin >= 0.2
        stats = handler.stats()
        assert (stats["acked"], stats["pending"]) == (0, 3)
        assert handler._reporter.hook.count_with("acknowledged records that were not sent") == 1
        monkeypatch.setattr(Peer, "ack", ack)
        assert handler.flush()
        assert server.table.numbers()[-3:] == [1, 2, 3]


def test_a_new_id_comes_with_a_report_of_what_may_be_stored_twice():
    with FakeServer(acks=False) as server, handler_of(server) as handler:
        emit(handler, [1, 2])
        wait_for(lambda: len(server.table.records) == 2)
        server.terms.acks = True
        server.send("error", 3, NEW_ID)
        assert handler.flush()
        assert handler.stats()["new_ids"] == 1
        assert (
            handler._reporter.hook.count_with("2 records are sent again: some may be stored") == 1
        )


def test_an_error_with_the_action_retry_leads_to_a_retry():
    with FakeServer(error=(6, RETRY)) as server, handler_of(server) as handler:
        emit(handler, [1])
        begin = time.monotonic()
        wait_for(lambda: server.connections >= 3)
        assert time.monotonic() - begin >= 0.2
        server.terms.error = None
        assert handler.flush()
        server.wait_exact(1)


def test_an_error_of_the_configuration_is_reported_and_retried_later():
    with (
        FakeServer(error=(2, FIX_CONFIG)) as server,
        handler_of(server, retry_interval=3) as handler,
    ):
        emit(handler, [1])
        wait_for(lambda: handler._reporter.hook.count_with("(code 2)"))
        begin = time.monotonic()
        emit(handler, [2])  # it cuts nothing short here
        server.terms.error = None
        assert handler.flush()
        assert time.monotonic() - begin > 1
        server.wait_exact(2)
        assert server.connections == 2


def test_an_error_with_the_action_new_id_leads_to_a_new_id_and_all_records():
    with FakeServer() as server, handler_of(server) as handler:
        emit(handler, range(1, 11))
        assert handler.flush()
        server.reset()
        server.terms.error = (3, NEW_ID)
        emit(handler, range(11, 21))
        wait_for(lambda: len(server.table.hellos) > 2)
        server.terms.error = None
        assert handler.flush()
        assert server.table.numbers() == list(range(1, 21))
        assert [sequence for _, sequence, _ in server.table.records[10:]] == list(range(1, 11))
        stats = handler.stats()
        assert (stats["emitted"], stats["acked"], stats["pending"]) == (20, 20, 0)


def test_after_a_notice_the_client_waits_for_its_retry_time():
    with FakeServer() as server, handler_of(server) as handler:
        emit(handler, [1])
        assert handler.flush()
        server.send("notice", 400)
        wait_for(lambda: handler._outbox.sender.connection._session.retry_ms)
        emit(handler, [2])
        begin = time.monotonic()
        server.reset()
        assert handler.flush()
        assert time.monotonic() - begin > 0.35
        server.wait_exact(2)
        assert handler._reporter.hook == []  # an announced restart is not an error


@pytest.mark.parametrize("secret", ["right", "wrong"])
def test_both_sides_prove_that_they_have_the_key(secret: str):
    with (
        FakeServer(key=("web", "right"), secret_of_proof=secret) as server,
        handler_of(server, key="web:right", close_timeout=0.1) as handler,
    ):
        emit(handler, [1])
        if secret == "right":
            assert handler.flush(5)
        else:
            wait_for(lambda: handler._reporter.hook.count_with("not prove that it has the key"))
            assert not handler.flush(0.2)
        assert server.table.numbers() == ([1] if secret == "right" else [])
        assert not any("right" in text for text, _ in handler._reporter.hook)


def test_a_peer_of_an_unknown_protocol_is_reported():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hook = Hook()
        port = listener.getsockname()[1]
        handler = client.SocketHandler("127.0.0.1", port, on_error=hook, close_timeout=0)
        handler.handle(record(1))
        connection, _ = listener.accept()
        connection.sendall(b"220 mail.example.com ESMTP\r\n")
        wait_for(lambda: hook.count_with("does not speak the fastlog protocol"))
        connection.close()
        end(handler)
