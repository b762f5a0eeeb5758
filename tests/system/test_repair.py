"""The repair of a journal: the losses that it records."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from protocol_client import ServerRejectedError, Speaker, batch, record
from senders import stock_frame
from servers import FASTLOG, Server

from fastlog.block import Block, Kind, frames, make_run, read_notice, runs
from fastlog.journal import Journal, JournalReader, repair
from fastlog.journal.segment import segments
from fastlog.record import Loss


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A journal of several segments with several blocks of three frames each."""
    directory = tmp_path / "journal"
    journal = Journal(directory, segment=4096, delay=0.0)
    for n in range(30):
        journal.append(make_run(Kind.STOCK, [b"%d.%d" % (n, k) + b"x" * 200 for k in range(3)]), 3)
    journal.close()
    assert len(segments(directory)) > 3
    return directory


def read_all(directory: Path) -> list[Block]:
    reader, found = JournalReader(directory), []
    at = segments(directory)[0].start
    while more := reader.read(at):
        found += more
        at = more[-1].end
    reader.close()
    return found


def overwrite(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff\xee\xdd")


def lose_a_segment(directory: Path) -> None:
    segments(directory)[1].path.unlink()


def cut_a_segment(directory: Path) -> None:
    segment = segments(directory)[1]
    os.truncate(segment.path, segment.path.stat().st_size - 100)


def damage_the_oldest_block_of_a_journal_that_was_released_before(directory: Path) -> None:
    segments(directory)[0].path.unlink()
    overwrite(segments(directory)[0].path, 60)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lose_a_segment, None),
        (cut_a_segment, 3),
        (damage_the_oldest_block_of_a_journal_that_was_released_before, -1),
    ],
)
def test_the_loss_is_counted_if_a_valid_block_follows(
    filled: Path, damage: Callable[[Path], None], expected: int | None
) -> None:
    before = read_all(filled)
    first, second = (segment.start for segment in segments(filled)[1:3])
    if expected is None:
        expected = sum(block.frames for block in before if first <= block.offset < second)
        assert expected > 3
    damage(filled)
    said = repair(filled)

    repaired = [(run, block) for block in read_all(filled) for run in runs(block.payload)]
    notices = [
        read_notice(f) for run, _ in repaired if run.kind is Kind.NOTICE for f in frames(run)
    ]
    assert [note.count for note in notices if isinstance(note, Loss)] == [expected]
    assert f"({expected if expected > 0 else 'an unknown number of'} records)" in said
    ordinals = {block.offset: block.index for block in before}
    for run, block in repaired:
        if run.kind is Kind.STOCK:
            assert block.index == ordinals[block.offset]


def command(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FASTLOG, *words, "--data-dir", server.data], capture_output=True, text=True, timeout=60
    )


def does_not_start(server: Server) -> str:
    """Start the server, which must end, and return its last line."""
    ended = subprocess.run(server.command(), capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("file", ["secret", "node"])
def test_a_server_without_its_secret_reports_it_and_starts_after_a_repair(
    tmp_path: Path, file: str
) -> None:
    config = '[auth]\nkeys = ["web:s3cret"]\n'
    with Server(tmp_path, config=config) as server:
        with Speaker(server.port, key="web:s3cret") as client:
            node = client.greet().node
            client.send(batch(1, [record(n) for n in range(1, 11)]))
            client.until(10)
        server.wait_stored(10)
        server.kill()
        (server.data / "journal" / file).unlink()
        said = does_not_start(server)
        assert said.startswith(f"fastlog-server: {server.data}/journal/{file} is missing or damag")
        assert "`fastlog check --repair`" in said
        checked = command(server, "check")
        assert checked.returncode == 1
        assert f"FAILED  journal: {server.data}/journal/{file} is missing" in checked.stdout
        repaired = command(server, "check", "--repair")
        assert (repaired.returncode, repaired.stderr) == (0, "")
        server.start()
        with Speaker(server.port, client.client) as thief:
            with pytest.raises(ServerRejectedError) as error:
                thief.greet(1, 100)
            assert (error.value.code, error.value.action) == (3, 2)
        with Speaker(server.port, client.client, key="web:s3cret") as again:
            assert again.greet(1, 13) == client.welcome._replace(committed=10)
            assert again.welcome.node == node
            again.send(batch(11, [record(n) for n in range(11, 13)]))
            again.until(12)
        server.wait_stored(12)
        assert server.losses() == []


def test_a_server_rejects_the_journal_of_a_newer_version(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.connect(stock_frame("hello")).close()
        server.wait_stored(1)
        server.stop()
        (segment,) = segments(server.data / "journal")
        content = b"FLB3" + segment.path.read_bytes()[4:]
        segment.path.write_bytes(content)
        text = f"{segment.path} has format 3, this fastlog reads 2: start the newer fastlog that"
        assert does_not_start(server).startswith(f"fastlog-server: {text}")
        assert f"FAILED  journal: {text}" in command(server, "check").stdout
        repaired = command(server, "check", "--repair")
        assert repaired.returncode != 0
        assert repaired.stderr.count("\n") == 1
        assert text in repaired.stderr
        assert segment.path.read_bytes() == content
