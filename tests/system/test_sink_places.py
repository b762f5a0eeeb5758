"""The parent directory of a sink: a server does not make one that may be misspelt."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from installed_server import OLD, Configured
from servers import FASTLOG, Server


@pytest.mark.parametrize("url", ["ndjson://{home}/mnt/app.ndjson", "sqlite://{home}/mnt/logs"])
def test_a_missing_parent_directory_ends_the_start_with_one_line(tmp_path: Path, url: str) -> None:
    url = url.format(home=tmp_path)
    server = Server(tmp_path, sinks=["sqlite:", url])
    done = subprocess.run(server.command(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    name = url.partition(":")[0]
    name = "sqlite-2" if name == "sqlite" else name
    assert line == (
        f"fastlog-server: sink {name}: the directory {tmp_path}/mnt does not exist; make it, or "
        f"correct the URL {url!r}"
    )
    assert not (tmp_path / "mnt").exists()
    assert not server.data.exists(), "nothing was made"

    check = subprocess.run(
        [FASTLOG, "check", "--data-dir", server.data],
        env={**os.environ, "FASTLOG_SINK": url},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert check.returncode == 1
    assert f"the directory {tmp_path}/mnt does not exist; make it" in check.stdout

    (tmp_path / "mnt").mkdir()
    with server:
        assert server.stop() == 0
    assert any((tmp_path / "mnt").iterdir())


def test_directories_inside_the_data_directory_are_made(tmp_path: Path) -> None:
    url = f"ndjson://{tmp_path}/data/more/below/app.ndjson"
    with Server(tmp_path, sinks=[url]) as server:
        assert server.stop() == 0
    assert (tmp_path / "data" / "more" / "below" / "app.ndjson").exists()


def test_a_missing_parent_directory_cancels_a_reload(tmp_path: Path) -> None:
    listen = ["tcp://127.0.0.1:0"]
    with Configured(tmp_path).configure(listen) as server:
        more = f'sink = ["sqlite:", "ndjson://{tmp_path}/mnt/app.ndjson"]\n'
        server.configure(listen, more=more)
        server.reload(OLD)
        assert f"the directory {tmp_path}/mnt does not exist" in server.messages()
        (tmp_path / "mnt").mkdir()
        server.reload()
