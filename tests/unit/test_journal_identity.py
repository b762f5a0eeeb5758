"""The node id and the secret of the journal: how they are made, and how they are restored."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from journal_blocks import payloads, read_all, run_of

from fastlog.errors import JournalError
from fastlog.journal import Journal, JournalReader, SinkPosition, dump, repair, write_position
from fastlog.journal.secret import read_secret


def test_the_secret_is_private_and_random_and_not_part_of_the_node_id(directory: Path) -> None:
    journal = Journal(directory)
    journal.append(run_of(b"x"), 1)
    node = journal.node
    journal.close()
    path = directory / "secret"
    secret = read_secret(directory)
    assert secret is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret.hex() not in node
    again = Journal(directory)
    again.close()
    assert read_secret(directory) == secret
    shutil.rmtree(directory)
    Journal(directory).close()
    assert read_secret(directory) != secret


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(b"\xff\xfe no hexadecimal digits")


def _another(path: Path) -> None:
    path.write_text(os.urandom(16).hex())


@pytest.mark.parametrize("damage", [_remove, _empty, _garbage, _another])
def test_a_journal_without_its_secret_is_rejected_until_it_is_repaired(
    filled: Path, damage: Callable[[Path], None]
) -> None:
    before, secret = payloads(read_all(filled)), read_secret(filled)
    damage(filled / "secret")
    segment_bytes = [path.read_bytes() for path in sorted(filled.glob("*.seg"))]
    with pytest.raises(JournalError, match=r"secret .*check --repair") as error:
        Journal(filled)
    assert "\n" not in str(error.value)
    assert [path.read_bytes() for path in sorted(filled.glob("*.seg"))] == segment_bytes
    assert "secret was missing or damaged: restored from the segments" in repair(filled)
    assert read_secret(filled) == secret
    assert stat.S_IMODE((filled / "secret").stat().st_mode) == 0o600
    journal = Journal(filled)
    journal.append(run_of(b"next"), 1)
    journal.close()
    assert payloads(read_all(filled)) == [*before, b"next"]
    assert repair(filled) == "the journal is intact: nothing was changed"


@pytest.mark.parametrize("damage", [_remove, _empty, _garbage])
def test_a_journal_without_its_node_id_is_rejected_until_it_is_repaired(
    filled: Path, damage: Callable[[Path], None]
) -> None:
    node = JournalReader(filled).node
    position = SinkPosition(node=node, cursor=5, durable=5, index=1, at=0.0)
    write_position(filled.parent, "sqlite", position)
    damage(filled / "node")
    with pytest.raises(JournalError, match=r"node is missing .*check --repair"):
        Journal(filled)
    assert f"restored {node} from the sinks" in repair(filled)
    journal = Journal(filled)
    assert journal.node == node
    journal.close()


def test_repair_makes_a_new_node_id_if_no_sink_has_one(filled: Path) -> None:
    node = JournalReader(filled).node
    (filled / "node").unlink()
    assert "made a new one, so the sinks store all blocks again" in repair(filled)
    journal = Journal(filled)
    assert journal.node != node
    journal.close()
    assert len(payloads(read_all(filled))) == 85


def test_a_journal_that_never_held_a_block_keeps_its_node_id(directory: Path) -> None:
    first = Journal(directory)
    first.close()
    second = Journal(directory)
    assert second.node == first.node
    second.append(run_of(b"x"), 1)
    second.close()
    for path in directory.glob("*.seg"):
        path.unlink()
    third = Journal(directory)
    assert third.node != first.node, "a sink of the old journal must not skip blocks"
    third.close()


def test_a_deleted_journal_gets_another_node_id(filled: Path) -> None:
    node = JournalReader(filled).node
    shutil.rmtree(filled)
    journal = Journal(filled)
    assert journal.node != node
    assert journal.end == 0
    journal.close()


@pytest.mark.parametrize("damage", [_remove, _empty, _garbage, _another])
def test_a_dump_reads_the_segments_without_the_secrets_file(
    filled: Path, damage: Callable[[Path], None]
) -> None:
    damage(filled / "secret")
    lines = list(dump(filled))
    assert lines[1].startswith("damaged: the file of the secret is ")
    assert sum("checksum ok" in line for line in lines) == 85
