"""The examples of docs/web.md, run against a server that has the records of that page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from day_files import make_record
from places import ROOT
from web_sites import Site, make_store, serving

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")

TEXT = (ROOT / "docs" / "web.md").read_text("utf-8")
EXAMPLES: list[tuple[str, str]] = re.findall(
    r"^\$ (curl .*)\n((?:[{ ].*\n)*)", TEXT, flags=re.MULTILINE
)
"""Each command, and the answer that is shown."""


def records() -> Iterator[Any]:
    [block] = re.findall(r"^```json\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    for at, line in enumerate(block.splitlines()):
        fields = json.loads(line)
        yield make_record(at, **(fields | {"extra": json.dumps(fields["extra"])}))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(make_store(tmp_path_factory.mktemp("store"), records())) as site:
        yield site


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[each for each, _ in EXAMPLES])
def test_an_example_gives_the_answer_that_is_shown(
    command: str, shown: str, site: Site, tmp_path: Path
):
    done = subprocess.run(
        ["sh", "-c", command.replace("http://127.0.0.1:9080", site.url)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    output = done.stdout or (tmp_path / "errors.ndjson").read_text()
    if shown:
        assert json.loads(output) == json.loads(shown)
    else:
        assert '"error":' not in output
        assert "message" in output or "records" in output


def test_every_path_of_the_api_is_described(site: Site):
    paths = site.get("/openapi.json")["paths"]
    for path in paths:
        shown = path.removeprefix("/api/v1").replace("{id}", "ID")
        assert re.search(rf"[`/ ]{re.escape(shown)}[`?' ]", TEXT), shown


def test_every_parameter_is_described(site: Site):
    names = {
        parameter["name"]
        for methods in site.get("/openapi.json")["paths"].values()
        for operation in methods.values()
        for parameter in operation["parameters"]
        if parameter["in"] == "query"
    }
    assert {name for name in names if not re.search(rf"`{name}\b|\b{name}=", TEXT)} == set()
