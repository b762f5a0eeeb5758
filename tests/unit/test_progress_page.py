"""The progress page of a sink."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import NODE

from fastlog.journal import UNKNOWN, ProgressPage, Reading


def test_a_progress_page_shows_the_last_published_reading(tmp_path: Path) -> None:
    with (
        ProgressPage(tmp_path, "s", NODE, writable=True) as writer,
        ProgressPage(tmp_path, "s", NODE) as reader,
    ):
        assert reader.read() is None
        writer.publish(Reading(10, 3, 20))
        assert reader.read() == reader.read() == Reading(10, 3, 20)
        writer.publish(Reading(1 << 60, UNKNOWN, 1))
        assert reader.read() == Reading(1 << 60, UNKNOWN, 1)
    with ProgressPage(tmp_path, "s", NODE) as reader:
        assert reader.read() is not None, "the page of a dead worker stays"


def test_a_missing_progress_page_is_an_error_and_one_of_another_journal_shows_nothing(
    tmp_path: Path,
) -> None:
    with pytest.raises(OSError, match="positions"):
        ProgressPage(tmp_path, "s", NODE)
    with ProgressPage(tmp_path, "s", NODE, writable=True) as writer:
        writer.publish(Reading(10, 3, 20))
    with ProgressPage(tmp_path, "s", "ff" * 16) as reader:
        assert reader.read() is None


def test_a_progress_page_that_is_being_written_shows_the_previous_reading(
    tmp_path: Path,
) -> None:
    with (
        ProgressPage(tmp_path, "s", NODE, writable=True) as writer,
        ProgressPage(tmp_path, "s", NODE) as reader,
    ):
        writer.publish(Reading(10, 3, 20))
        assert reader.read() == Reading(10, 3, 20)
        writer.words[0] += 1  # the state of an interrupted writer
        assert reader.read() == Reading(10, 3, 20)
        writer.publish(Reading(30, 4, 20))
        assert reader.read() == Reading(30, 4, 20)
