"""The configuration and the SQL of docs/postgresql.md work."""

from __future__ import annotations

import re
from pathlib import Path

from conditions import wait_for
from places import ROOT
from postgres_stores import Database, database, postgres_servers
from senders import stock_frame
from servers import Server

__all__ = ["database", "postgres_servers"]

TEXT = (ROOT / "docs/postgresql.md").read_text("utf-8")
OF_DOCS = "postgresql://fastlog@db.example.org/logs?sslmode=require"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_configuration_and_the_queries(tmp_path: Path, database: Database) -> None:
    role = f"writer_{database.name}"
    database.execute(
        f"CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {database.name} TO {role}"
    )
    [config] = blocks("toml")
    assert OF_DOCS in config
    with Server(tmp_path, config=config.replace(OF_DOCS, database.url(role))) as server:
        server.connect(stock_frame("failed", 40, user=7)).close()
        server.connect(stock_frame("fine", 20)).close()
        wait_for(
            lambda: "records" in str(database.execute("SELECT to_regclass('fastlog.records')"))
        )
        wait_for(lambda: database.execute("SELECT count(*) FROM fastlog.records") == [(2,)])
        query, delete, truncate = blocks("sql")
        [(_, levelname, name, message, user)] = database.execute(query)
        assert (levelname, name, message, user) == ("ERROR", "app", "failed", "7")
        database.execute(delete)
        database.execute(truncate)
        assert server.stop() == 0
        assert "trying again" not in server.messages()
        assert server.ready_line.endswith(f"storing in postgresql:///{database.name}\n")
