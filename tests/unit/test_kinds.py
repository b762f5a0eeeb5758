"""The kinds of `benchmarks/kinds.py`: each frame is of its kind, and the table is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from engines import block_of, decoder, difference
from libraries import samples
from places import BENCHMARKS

sys.path.append(str(BENCHMARKS))

import kinds
import record_kinds

KINDS = {kind.name: kind for kind in record_kinds.make_kinds()}


def extra_of(frame: bytes) -> Any:
    [record] = decoder("python", "records").decode(block_of([frame])).records
    return json.loads(record.extra)


@pytest.mark.parametrize("name", KINDS)
def test_a_frame_of_a_kind_is_a_record_to_both_engines(name: str) -> None:
    frames = [KINDS[name].make(number) for number in (0, 7, 123)]
    assert len(decoder("c", "records").decode(block_of(frames)).records) == 3
    assert not difference(frames)


def test_a_kind_of_ten_values_has_ten() -> None:
    extra = extra_of(KINDS["ten: Decimal"].make(5))
    assert [extra[f"x{at}"] for at in range(10)] == [str(at / 100) for at in range(50, 60)]


def test_the_imitated_timestamp_of_pandas_is_pickled_as_pandas_pickles_it() -> None:
    [real] = [
        each.frame
        for each in samples("python3.12")
        if each.name == "pd_timestamp" and each.protocol == 1
    ]
    name = b"cpandas._libs.tslibs.timestamps\n_unpickle_timestamp\n"
    assert name in real
    assert name in KINDS["pandas Timestamp"].make(1)


def test_a_short_run_prints_the_cost_of_a_kind_and_of_the_simple_record(tmp_path: Path) -> None:
    command = [sys.executable, kinds.__file__, "--rounds", "1", "--kind", "dict of 300"]
    done = subprocess.run(
        [*command, "--sinks", "ndjson"], capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS), "BENCH_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    assert [row[0] for row in rows if row[0][0] != "-"] == ["kind", "simple", "dict of 300 keys"]
    _, size, microseconds, nanoseconds, _, _, target = rows[-1]
    assert float(microseconds) == pytest.approx(float(nanoseconds) * int(size) / 1e3, rel=0.05)
    assert target.startswith("2 a byte, ")
