"""The manual pages: complete, and rendered without a warning by the formatters that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_tree import contexts, visible_options

from fastlog.cli.examples import EXAMPLES

PAGES = ("fastlog.1", "fastlog-server.1")
FORMATTERS = {
    "groff": ["groff", "-man", "-Tutf8", "-ww", "-z"],
    "mandoc": ["mandoc", "-T", "lint", "-W", "warning"],
    "man": ["man", "--warnings=w", "--encoding=ascii", "-P", "cat", "-l"],
}


def make_pages(directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastlog.cli.manual", directory],
        env={**os.environ, **environ},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("share") / "man" / "man1"
    made = make_pages(directory)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.splitlines() == [str(directory / page) for page in PAGES]
    return directory


@pytest.mark.parametrize("name", contexts())
def test_the_page_has_each_command_with_its_options_and_examples(name: str, pages: Path):
    program = name.split()[0]
    text = plain((pages / f"{program}.1").read_text())
    if name != program:
        [text] = re.findall(rf"^\.SS {name}\n(.*?)(?=^\.S[SH] )", text, flags=re.M | re.S)
    terms = re.findall(r"^\.TP\n\\fB(.*)\\fR$", text, flags=re.MULTILINE)
    found = {word for term in terms for word in re.findall(r"(?<![\w-])--?[A-Za-z][a-z-]*", term)}
    assert visible_options(contexts()[name]) - found == set()
    lines = text.splitlines()
    assert [each.line for each in EXAMPLES[name] if each.line not in lines] == []


def plain(roff: str) -> str:
    """Return the text of a page without the escapes of single characters."""
    for escape, character in ((r"\-", "-"), (r"\(aq", "'"), (r"\(dq", '"'), (r"\e", "\\")):
        roff = roff.replace(escape, character)
    return roff


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("formatter", FORMATTERS)
def test_the_page_is_rendered_without_a_warning(formatter: str, page: str, pages: Path):
    if shutil.which(formatter) is None:
        pytest.skip(f"{formatter} is not installed")
    rendered = subprocess.run(
        [*FORMATTERS[formatter], pages / page],
        env={**os.environ, "MANWIDTH": "200"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (rendered.returncode, rendered.stderr) == (0, "")
    if formatter == "man":
        shown = {line.strip() for line in rendered.stdout.splitlines()}
        program = page.removesuffix(".1")
        names = [name for name in EXAMPLES if name.split()[0] == program]
        assert {each.line for name in names for each in EXAMPLES[name]} - shown == set()
    else:
        assert rendered.stdout == ""


def test_a_page_has_the_date_of_the_build(tmp_path: Path):
    assert make_pages(tmp_path, SOURCE_DATE_EPOCH="1").returncode == 0
    assert "1970-01-01" in (tmp_path / "fastlog.1").read_text()


def test_a_wrong_date_is_one_line(tmp_path: Path):
    made = make_pages(tmp_path, SOURCE_DATE_EPOCH="monday")
    assert made.returncode == 2
    expected = "SOURCE_DATE_EPOCH: expected seconds since the epoch, got 'monday'"
    assert made.stderr == f"python -m fastlog.cli.manual: {expected}\n"
