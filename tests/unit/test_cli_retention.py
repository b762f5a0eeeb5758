"""`fastlog check --retention`: what retention would delete, with any settings."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from commands import Run
from day_files import make_record, write_day

pytestmark = pytest.mark.usefixtures("nothing_configured")

NOW = datetime.now(UTC)
"""The same for all day files, also if a test runs at midnight."""


def day(age: int) -> str:
    """Return the name of the day file of so many days ago."""
    return f"{NOW.date() - timedelta(age)}.db"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Make day files of today, and of 5, 10, 20 and 40 days ago."""
    logs = tmp_path / "fastlog-data" / "logs"
    for age in (40, 20, 10, 5, 0):
        created = (NOW - timedelta(age)).timestamp()
        write_day(logs / day(age), [make_record(0, created=created, received=created)])
    return logs


def deleted(command: Run, *args: str) -> list[str]:
    """Return the names of the files that would be deleted."""
    result = command("check", "--retention", *args)
    assert (result.code, result.err) == (0, "")
    *lines, total = result.out.splitlines()
    assert f"would delete {len(lines)} of 5 day files" in total
    assert all("would be deleted: " in line for line in lines)
    return [line.split(": ")[0].rpartition("/")[2] for line in lines]


def test_the_preview_names_what_the_configuration_would_delete(command: Run, logs: Path):
    before = sorted(logs.iterdir())
    assert deleted(command) == [day(40)]
    (logs.parent.parent / "fastlog.toml").write_text('[retention]\nage = "7 days"\n')
    assert deleted(command) == [day(40), day(20), day(10)]
    assert sorted(logs.iterdir()) == before


def test_the_preview_counts_what_rules_would_delete(command: Run, logs: Path):
    (logs.parent.parent / "fastlog.toml").write_text(
        "[[expire]]\nfilter = 'level<WARNING'\nage = '7 days'\n"
        "[[expire]]\nfilter = 'user=1'\nage = '1 day'\n"
    )
    result = command("check", "--retention")
    assert result.code == 0
    found = [line for line in result.out.splitlines() if "level<WARNING" in line]
    assert [day(age) in line for age, line in zip((40, 20, 10), found, strict=True)] == [True] * 3
    assert "1 record would be deleted: 'level<WARNING', older than 7 days" in found[0]


def test_given_settings_replace_those_of_the_configuration(command: Run, logs: Path):
    for setting in ("days=7", "age=7d", "age=168 h"):
        assert deleted(command, setting) == [day(40), day(20), day(10)]
    assert deleted(command, "age=1000d") == []
    size = sum(path.stat().st_size for path in logs.iterdir())
    assert deleted(command, "days=1000", "--retention", f"size={size - 1}") == [day(40)]
    assert deleted(command, "days=1000", "--retention", "size=1") == [
        day(40), day(20), day(10), day(5),
    ]  # fmt: skip
    free = shutil.disk_usage(logs).free
    assert len(deleted(command, "days=1000", "--retention", f"keep_free={2 * free}")) == 4
    assert deleted(command, "days=1000", "--retention", f"keep_free={free // 2}") == []


def test_the_preview_as_json_has_a_reason_for_each_file(command: Run, logs: Path):
    found = json.loads(command("check", "--retention", "--json", "--retention", "days=15").out)
    assert [each["subject"].rpartition("/")[2] for each in found[:2]] == [day(40), day(20)]
    assert found[0]["text"].startswith("would be deleted: older than 15 days; ")
    assert found[2]["subject"] == "retention of sink sqlite"
    assert [each["state"] for each in found] == ["ok"] * 3


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("days", "--retention: expected KEY=VALUE, such as age=7d, got 'days'"),
        ("sise=1", "--retention has no setting 'sise'; did you mean 'size'?"),
        ("size=big", "--retention 'size=big': expected a size such as 1048576 or"),
        ("days=many", "--retention 'days=many': expected a time such as 3600 or"),
        ("age=0", "--retention 'age=0': expected more than 0"),
    ],
)
def test_a_wrong_setting_is_one_line(command: Run, logs: Path, setting: str, text: str):
    result = command("check", "--retention", setting)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(f"fastlog check: {text}")


def test_the_preview_of_a_wrong_directory_is_an_error(command: Run, tmp_path: Path):
    result = command("check", "--retention")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
