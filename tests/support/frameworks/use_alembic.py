"""`alembic upgrade head` inside of a program: its env.py calls fileConfig()."""

from __future__ import annotations

import logging
from pathlib import Path

import alembic.command
import alembic.config
from attached import SCRATCH, attach

MIGRATION = """
import logging
revision, down_revision = "{number:03}", {previous!r}
def upgrade():
    for step in range(10):
        logging.getLogger("app.migrations").info("{number}: step %d", step)
def downgrade():
    pass
"""

log = logging.getLogger("app")
attach("app")
folder = SCRATCH / "migrations"
config = alembic.config.Config(str(SCRATCH / "alembic.ini"))
alembic.command.init(config, str(folder))
config = alembic.config.Config(str(SCRATCH / "alembic.ini"))
config.set_main_option("script_location", str(folder))
config.set_main_option("sqlalchemy.url", "sqlite://")
env = folder / "env.py"
# What alembic's documents advise for programs that have loggers of their own.
keeping = "fileConfig(config.config_file_name, disable_existing_loggers=False)"
source = env.read_text()
assert "fileConfig(config.config_file_name)" in source
env.write_text(source.replace("fileConfig(config.config_file_name)", keeping))
for number in range(3):
    previous = f"{number - 1:03}" if number else None
    path = Path(folder, "versions", f"{number:03}_.py")
    path.write_text(MIGRATION.format(number=number, previous=previous))
alembic.command.upgrade(config, "head")
log.info("after the framework")
