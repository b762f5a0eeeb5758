"""The signs of life of a worker: what others read of it, and when it is not read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import Clock, in_child

from fastlog.worker.life import CHECK_INTERVAL, LifePage, SignsOfLife, read_lives


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def signs(tmp_path: Path, clock: Clock) -> SignsOfLife:
    return SignsOfLife(tmp_path, "s", clock, clock)


def test_each_sign_is_read_by_the_name_of_the_sink(
    tmp_path: Path, signs: SignsOfLife, clock: Clock
) -> None:
    assert read_lives(tmp_path) == {}
    signs.give()
    first = read_lives(tmp_path)["s"]
    clock.now += 2.5
    SignsOfLife(tmp_path, "ndjson-2", clock, clock).give()
    signs.give()
    lives = read_lives(tmp_path)

    assert (first.at, first.in_call_since, first.call, first.pid) == (1000.0, None, "", os.getpid())
    assert (lives["s"].at, lives["ndjson-2"].at) == (1002.5, 1002.5)
    assert lives["s"].update != first.update


def test_a_call_of_the_sink_is_shown_until_it_returns_or_raises(
    tmp_path: Path, signs: SignsOfLife, clock: Clock
) -> None:
    with pytest.raises(OSError, match="down"), signs.during("apply"):
        clock.now += 60
        life = read_lives(tmp_path)["s"]
        assert (life.at, life.in_call_since, life.call) == (1000.0, 1000.0, "apply")
        raise OSError("down")
    life = read_lives(tmp_path)["s"]
    assert (life.at, life.in_call_since, life.call) == (1060.0, None, "")


def test_a_worker_that_was_killed_inside_a_call_waits_in_none(tmp_path: Path) -> None:
    def die_in_a_call() -> None:
        with SignsOfLife(tmp_path, "s", lambda: 1000.0).during("sync"):
            os._exit(0)

    in_child(die_in_a_call)
    life = read_lives(tmp_path)["s"]
    assert (life.at, life.in_call_since) == (1000.0, None)
    assert life.pid not in (0, os.getpid())


def test_a_page_of_an_earlier_process_with_the_same_pid_shows_no_call(
    tmp_path: Path, signs: SignsOfLife
) -> None:
    with LifePage(tmp_path, "s") as page:
        page.publish(os.getpid(), started=7, at=5.0, call=1)
    assert read_lives(tmp_path)["s"].in_call_since is None
    signs.give()
    assert read_lives(tmp_path)["s"].at == 1000.0


def test_a_page_that_another_program_removes_is_made_again(
    tmp_path: Path, signs: SignsOfLife, clock: Clock
) -> None:
    signs.give()
    (tmp_path / "positions" / "s.life").unlink()
    assert read_lives(tmp_path) == {}
    clock.now += CHECK_INTERVAL
    signs.give()
    assert read_lives(tmp_path)["s"].at == clock.now


def test_without_a_place_for_the_page_a_worker_goes_on(
    tmp_path: Path, signs: SignsOfLife, clock: Clock
) -> None:
    (tmp_path / "positions").write_text("in the way")
    signs.give()
    assert read_lives(tmp_path) == {}
    (tmp_path / "positions").unlink()
    clock.now += CHECK_INTERVAL
    signs.give()
    assert read_lives(tmp_path)["s"].at == clock.now


def test_a_worker_that_is_stopped_while_it_gives_a_sign_shows_the_one_before(
    tmp_path: Path, clock: Clock
) -> None:
    with LifePage(tmp_path, "s") as page:
        for at in range(1, 12):
            page.publish(7, 7, float(at), 0)
            words = page.words.tolist()
            page.publish(7, 7, at + 1.0, 0)
            for place in range(len(words)):  # as if only some words had been written
                if page.words[place] != words[place]:
                    page.words[place] = words[place]
                    break
            life = read_lives(tmp_path)["s"]
            assert life.at == at
            SignsOfLife(tmp_path, "s", clock, clock).give()  # the next worker is not confused
            assert read_lives(tmp_path)["s"].at == clock.now
            page._update = read_lives(tmp_path)["s"].update


def test_an_empty_page_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "positions").mkdir()
    (tmp_path / "positions" / "empty.life").touch()
    LifePage(tmp_path, "new").close()
    assert read_lives(tmp_path) == {}


GIVE_FOR_EVER = """
import sys
from pathlib import Path
from fastlog.worker.life import SignsOfLife
signs = SignsOfLife(Path(sys.argv[1]), "s")
while True:
    with signs.during("apply"):
        pass
"""


def test_a_reader_never_sees_half_of_an_update(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", GIVE_FOR_EVER, tmp_path])
    try:
        while "s" not in read_lives(tmp_path):
            assert writer.poll() is None
        for _ in range(3000):
            life = read_lives(tmp_path)["s"]
            assert life.pid == writer.pid
            assert life.in_call_since in (None, life.at), "both are of one moment"
    finally:
        writer.kill()
        writer.wait()
