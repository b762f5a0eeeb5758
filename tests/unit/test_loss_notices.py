"""Loss notices: single, folded, summed, and bounded."""

from __future__ import annotations

from builders import Clock

from fastlog.block import Kind, make_run
from fastlog.receiver.loss_notices import HOSTS, SINGLE_PER_HOST, LossNotices
from fastlog.record import Loss, Rejection


def rejection(host: str, reason: str = "http") -> Rejection:
    return Rejection(f"{host}:5", reason, 7, b"GET", 1, 1.0)


def test_rejections_of_a_host_beyond_ten_are_folded_by_reason() -> None:
    notices = LossNotices(Clock())
    for _ in range(SINGLE_PER_HOST):
        notices.add_rejection(rejection("10.0.0.1"))
    for reason in ("http", "tls", "http"):
        notices.add_rejection(rejection("10.0.0.1", reason))
    found = notices.take()
    assert found[:SINGLE_PER_HOST] == [rejection("10.0.0.1")] * SINGLE_PER_HOST
    assert [(n.peer, n.reason, n.count) for n in found[SINGLE_PER_HOST:]] == [
        ("10.0.0.1", "http", 2),
        ("10.0.0.1", "tls", 1),
    ]
    assert notices.take() == []


def test_hosts_beyond_the_limit_share_notices_without_a_host() -> None:
    notices = LossNotices(Clock())
    for n in range(HOSTS + 5):
        notices.add_rejection(rejection(f"host-{n}"))
    found = notices.take()
    assert sum(n.count for n in found) == HOSTS + 5
    assert [(n.peer, n.count) for n in found[HOSTS:]] == [("", 5)]


def test_only_lost_frames_of_stock_clients_are_counted() -> None:
    clock = Clock(100.0)
    notices = LossNotices(clock)
    stock = make_run(Kind.STOCK, [b"a", b"b"], peer="10.0.0.1:5")
    other = make_run(Kind.NOTICE, [b"{}"])
    assert notices.add_lost_block(stock + other, "journal full") == 2
    clock.now = 103.0
    assert notices.add_lost_block(stock, "journal full") == 2
    assert notices.dropped == 4
    assert notices.take() == [Loss("10.0.0.1", "journal full", 4, 100.0, 103.0)]


def test_notices_that_are_put_back_are_returned_again() -> None:
    notices = LossNotices(Clock(100.0))
    notices.add_rejection(rejection("10.0.0.1"))
    notices.add_lost_block(make_run(Kind.STOCK, [b"a"], peer="10.0.0.1:5"), "journal full")
    found = notices.take()
    notices.put_back(found)
    assert notices.take() == found
    assert notices.dropped == 1
