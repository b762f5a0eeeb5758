"""pytest with its logging plugin, on tests that use caplog and that configure logging."""

from __future__ import annotations

import logging

import pytest
from attached import SCRATCH, attach

TESTS = """
import logging, logging.config
import pytest

log = logging.getLogger("app.tests")

@pytest.mark.parametrize("number", range(10))
def test_caplog(number, caplog):
    with caplog.at_level(logging.DEBUG):
        log.debug("caplog %d", number)
    assert caplog.messages == [f"caplog {number}"]

@pytest.mark.parametrize("number", range(10))
def test_configures(number):
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    log.info("configured %d", number)

def test_capsys(capsys):
    log.error("captured")
    logging.shutdown()
    log.error("after a shutdown")
"""

attach()
path = SCRATCH / "test_inner.py"
path.write_text(TESTS)
options = ["--rootdir", str(SCRATCH), "-p", "no:cacheprovider", "-q", "--log-level=DEBUG"]
assert pytest.main([*options, str(path)]) == 0
logging.getLogger("app").info("after the framework")
