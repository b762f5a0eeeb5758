"""The plan of retention: each limit deletes the oldest files, and no more than it needs."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fastlog.config import RetentionConfig
from fastlog.sinks.retention import StoredFile, plan

NOW = 1000.0
MUCH = 1 << 40


def files_of(*sizes: int, kept: tuple[int, ...] = (-1,)) -> list[StoredFile]:
    """Make files with these sizes, the oldest first; `kept` are their positions."""
    positions = {at % len(sizes) for at in kept}
    return [
        StoredFile(Path(f"{at:03d}.db"), size, float(at), is_kept=at in positions)
        for at, size in enumerate(sizes)
    ]


def deleted(
    files: list[StoredFile], settings: RetentionConfig, now: float | None = NOW, free: int = MUCH
) -> list[str]:
    return [deletion.file.path.stem for deletion in plan(files, settings, now, free)]


def test_without_need_nothing_is_deleted() -> None:
    assert deleted(files_of(1, 1, 1), RetentionConfig(keep_free=5), free=5) == []
    assert deleted([], RetentionConfig(age=1, size=1, keep_free=MUCH), free=0) == []


def test_files_over_the_age_are_deleted_unless_the_clock_is_not_trusted() -> None:
    files = files_of(1, 1, 1, 1)
    assert deleted(files, RetentionConfig(age=998.5)) == ["000", "001"]
    assert deleted(files, RetentionConfig(age=998.5), now=None) == []
    assert deleted(files, RetentionConfig(age=1)) == ["000", "001", "002"], "the newest is kept"


def test_free_space_deletes_the_oldest_files_until_enough_is_free() -> None:
    files = files_of(10, 20, 30, 40)
    for missing, expected in ((0, 0), (1, 1), (10, 1), (11, 2), (30, 2), (31, 3), (1000, 3)):
        settings = RetentionConfig(keep_free=5000)
        found = deleted(files, settings, free=5000 - missing)
        assert len(found) == expected, f"{missing} bytes are missing"
        assert found == ["000", "001", "002"][:expected]


def test_a_file_deleted_for_one_limit_counts_for_the_others() -> None:
    files = files_of(10, 10, 10, 10)
    settings = RetentionConfig(age=NOW - 0.5, size=30, keep_free=1000)
    assert deleted(files, settings, free=990) == ["000"]
    assert deleted(files, settings, free=989) == ["000", "001"]


def test_the_file_with_the_cursor_is_kept_and_the_next_one_deleted_instead() -> None:
    files = files_of(10, 10, 10, 10, kept=(0, -1))
    assert deleted(files, RetentionConfig(keep_free=100), free=95) == ["001"]
    assert deleted(files, RetentionConfig(age=1, size=1, keep_free=MUCH)) == ["001", "002"]


def test_each_deletion_has_the_reason() -> None:
    files = files_of(10, 10, 10, 10)
    settings = RetentionConfig(age=NOW - 0.5, size=20, keep_free=1024)
    reasons = [deletion.reason for deletion in plan(files, settings, NOW, free=1000)]
    assert reasons == [
        "older than 16.7 minutes",
        "all day files together were over 20 bytes",
        "less than 1 KiB of the disk were free",
    ]


@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=12),
    kept=st.sets(st.integers(0, 11)),
    age=st.floats(NOW - 12, NOW + 1),
    size=st.integers(1, 300),
    keep_free=st.integers(0, 300),
    free=st.integers(0, 300),
)
def test_any_plan_keeps_what_must_stay_and_deletes_the_least(
    sizes: list[int], kept: set[int], age: float, size: int, keep_free: int, free: int
) -> None:
    files = files_of(*sizes, kept=(-1, *(at for at in kept if at < len(sizes))))
    settings = RetentionConfig(age=age, size=size, keep_free=keep_free)
    gone = [deletion.file for deletion in plan(files, settings, NOW, free)]
    assert gone == sorted(gone)
    assert not any(file.is_kept for file in gone)
    expired = {f for f in files if not f.is_kept and f.age_from + age < NOW}
    assert expired <= set(gone)

    def is_enough(left: list[StoredFile]) -> bool:
        lost = sum(sizes) - sum(f.size for f in left)
        return sum(f.size for f in left) <= size and free + lost >= keep_free

    deletable = [f for f in files if not f.is_kept]
    for_space = [f for f in gone if f not in expired]
    others = [f for f in deletable if f not in expired]
    assert for_space == others[: len(for_space)], "the oldest go first"
    left = [f for f in files if f not in gone]
    assert is_enough(left) or len(gone) == len(deletable)
    if for_space:
        assert not is_enough([*left, for_space[-1]]), "the last one was needed"
