"""The recipes of docs/clients.md for loguru and structlog, run as they are written."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from conditions import wait_for
from interpreters import environment
from places import ROOT
from servers import Server

CLIENTS = (ROOT / "docs" / "clients.md").read_text("utf-8")
IMPORTS = {
    "fastlog_client": "from fastlog_client import SocketHandler",
    "standard": "from logging.handlers import SocketHandler",
}
handlers = pytest.mark.parametrize("handler", IMPORTS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


def run_recipe(name: str, handler: str, more: str, count: int, server: Server) -> list[Any]:
    """Run a recipe with more lines at its end; return what it has stored, in order."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    section = re.search(rf"^### {name}\n(.*?)^###? ", CLIENTS, flags=re.MULTILINE | re.DOTALL)
    assert section is not None
    [code] = re.findall(r"^```python\n(.*?)^```$", section[1], flags=re.MULTILINE | re.DOTALL)
    assert IMPORTS["fastlog_client"] in code
    code = code.replace(IMPORTS["fastlog_client"], IMPORTS[handler])
    assert "9020" in code
    program = code.replace("9020", str(server.port)) + more
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")

    def rows() -> list[Any]:
        return [row for row in server.records() if row["process"] == process.pid]

    wait_for(lambda: len(rows()) >= count, f"{count} records")
    return [{**row, "extra": json.loads(row["extra"])} for row in rows()]


@handlers
def test_the_recipe_for_loguru(handler: str, server: Server) -> None:
    more = """
logger.info("hello {}", "you")
logger.bind(name="mine", user=1).success("done", ip="10.0.0.1")
with logger.contextualize(task=3):
    try:
        1 / 0
    except ZeroDivisionError:
        logger.exception("failed")
"""
    slow, plain, bound, failed = run_recipe("loguru", handler, more, 4, server)
    assert (slow["message"], slow["levelname"], slow["extra"]) == (
        "slow query",
        "WARNING",
        {"user": 77},
    )
    assert (plain["message"], plain["extra"]) == ("hello you", {})
    assert (bound["levelname"], bound["levelno"]) == ("SUCCESS", 25)
    assert bound["extra"] == {"user": 1, "ip": "10.0.0.1", "extra": {"name": "mine"}}
    assert failed["message"].startswith("failed\nTraceback (most recent call last):\n")
    assert failed["message"].rstrip().endswith("ZeroDivisionError: division by zero")
    assert (failed["extra"], failed["exc_text"]) == ({"task": 3}, None)
    assert failed["funcName"] == "<module>"


@handlers
def test_the_recipe_for_structlog(handler: str, server: Server) -> None:
    more = """
log = structlog.get_logger("app")
with structlog.contextvars.bound_contextvars(request="c0ffee"):
    log.bind(tags=["a", "b"]).info("hello")
log.debug("below the level")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed", user=1)
"""
    slow, bound, failed = run_recipe("structlog", handler, more, 3, server)
    assert (slow["name"], slow["message"], slow["levelname"], slow["extra"]) == (
        "app.db",
        "slow query",
        "WARNING",
        {"user": 77},
    )
    assert bound["extra"] == {"request": "c0ffee", "tags": ["a", "b"]}
    assert (failed["message"], failed["extra"], failed["levelname"]) == (
        "failed",
        {"user": 1},
        "ERROR",
    )
    assert failed["exc_text"].endswith("ZeroDivisionError: division by zero")
    assert failed["funcName"] == "<module>"
