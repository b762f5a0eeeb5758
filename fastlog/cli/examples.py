"""Examples of each command line, shown by `--help` and in the manual pages.

The tests run them. A line is for `sh`, and works as it stands with the default configuration.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Example(NamedTuple):
    """A command line, and what it is for."""

    purpose: str
    """An imperative sentence."""
    line: str


EXAMPLES: Final[dict[str, tuple[Example, ...]]] = {
    "fastlog": (
        Example("Print the newest records, and new ones as they arrive.", "fastlog tail -f"),
        Example("Print the errors of the last hour.", "fastlog query --since 1h --level ERROR"),
        Example("Count the records, and show what was lost.", "fastlog stats"),
        Example("Print the help of a command.", "fastlog help query"),
    ),
    "fastlog backup": (
        Example("Copy the data of the running server.", "fastlog backup backups"),
        Example("Keep the newest three backups only.", "fastlog backup backups --keep 3"),
    ),
    "fastlog check": (
        Example("Check the configuration that the server would read.", "fastlog check"),
        Example("Check another configuration.", "fastlog check --config fastlog.toml"),
        Example("Look for damage in every page of every day file.", "fastlog check --deep"),
        Example(
            "Print what retention would delete if it kept seven days.",
            "fastlog check --retention age=7d",
        ),
    ),
    "fastlog drill": (
        Example("Test this machine for half a minute.", "fastlog drill"),
        Example(
            "Make the faults of an earlier drill again, and keep its files.",
            "fastlog drill --seed 2673981307 --keep",
        ),
        Example(
            "Test collectors, a JetStream cluster, centrals and PostgreSQL.",
            "fastlog drill --cluster",
        ),
    ),
    "fastlog erase": (
        Example("Show what would be erased.", "fastlog erase --dry-run user=78"),
        Example(
            "Erase the records of a user, with the number of the request in the ledger.",
            "fastlog erase --yes --reason 'request 4711' user=78",
        ),
    ),
    "fastlog export": (
        Example(
            "Write all records to a file, which an import reads exactly.",
            "fastlog export --output all.ndjson",
        ),
        Example(
            "Continue that after an interruption.",
            "fastlog export --output all.ndjson --resume",
        ),
        Example(
            "Write some fields of the errors of today as CSV.",
            "fastlog export --since today level:error --fields time,message --format csv",
        ),
        Example(
            "Write a Parquet file for an analytics tool.",
            "fastlog export --since 7d --output week.parquet",
        ),
    ),
    "fastlog help": (
        Example("Print the help of a command.", "fastlog help query"),
        Example("Print the help of a command of a group.", "fastlog help journal dump"),
    ),
    "fastlog import": (
        Example("Add the records of an export.", "fastlog import all.ndjson"),
        Example(
            "Add those of another server's data directory.",
            "fastlog import /srv/old/fastlog-data",
        ),
        Example(
            "Add them to a database.",
            "fastlog import /srv/old/fastlog-data --store postgresql://fastlog@db/logs",
        ),
    ),
    "fastlog journal": (
        Example("Describe the segments and blocks of the journal.", "fastlog journal dump"),
        Example("Print the options of a command.", "fastlog journal dump -h"),
    ),
    "fastlog journal dump": (
        Example("Describe the segments and blocks of the journal.", "fastlog journal dump"),
        Example(
            "Begin at an offset, and describe each frame.",
            "fastlog journal dump --from 1192 --frames",
        ),
    ),
    "fastlog migrate": (
        Example("Migrate all day files of the data directory.", "fastlog migrate"),
        Example(
            "Make the chunks and counts of all day files anew.",
            "fastlog migrate --rebuild",
        ),
    ),
    "fastlog query": (
        Example(
            "Print the warnings and errors of a logger since yesterday.",
            "fastlog query --since yesterday --level WARNING --logger app.db",
        ),
        Example(
            "Print what was logged by the same process around the last error.",
            "fastlog query --level ERROR --limit 1 -C 5",
        ),
        Example(
            "Count the records of each logger and level, the most frequent first.",
            "fastlog query --since 1d --by logger,level",
        ),
        Example(
            "Export all records of today as JSON lines.",
            "fastlog query --since today --limit 0 --json > today.ndjson",
        ),
    ),
    "fastlog restore": (
        Example(
            "Make a data directory from the newest backup.", "fastlog restore backups restored"
        ),
        Example(
            "Restore an older one.",
            "fastlog restore backups/2026-11-23T031500Z /var/lib/fastlog",
        ),
    ),
    "fastlog send": (
        Example("Send one record to the server.", "fastlog send hello"),
        Example(
            "Send an error of a logger.",
            "fastlog send --level ERROR --logger app.db 'disk is slow'",
        ),
        Example(
            "Send to a server at another address.",
            "fastlog send --url tcp://127.0.0.1:9020 hello",
        ),
    ),
    "fastlog stats": (
        Example("Count all records, and show what was lost.", "fastlog stats"),
        Example("Count the errors of the last hour.", "fastlog stats --since 1h --level ERROR"),
        Example("Print everything for a script.", "fastlog stats --json"),
        Example("Print it again every five seconds.", "fastlog stats --watch 5"),
    ),
    "fastlog tail": (
        Example("Print the newest 20 records.", "fastlog tail"),
        Example("Print warnings and errors as they arrive.", "fastlog tail -f --level WARNING"),
        Example(
            "Wait for the next record of a logger.", "fastlog tail -n 0 -f --logger app | head -1"
        ),
        Example(
            "Follow a server by its page.",
            "fastlog tail -f --url http://127.0.0.1:9080 level:error",
        ),
    ),
    "fastlog top": (
        Example("Show rates, sinks and losses until q is pressed.", "fastlog top"),
        Example("Show the rates of errors, by logger and host.", "fastlog top --level ERROR"),
        Example("Show a server by its page.", "fastlog top --url http://127.0.0.1:9080 --every 5"),
        Example("Print it once.", "fastlog top | cat"),
    ),
    "fastlog web": (
        Example("Serve page and API on http://127.0.0.1:9080.", "fastlog web"),
        Example("Serve them at another address.", "fastlog web --url http://127.0.0.1:8000"),
    ),
    "fastlog-server": (
        Example("Listen on 127.0.0.1:9020, and store in ./fastlog-data.", "fastlog-server"),
        Example(
            "Listen on a Unix socket, and store elsewhere.",
            "fastlog-server --listen unix:///run/fastlog.sock --data-dir /var/lib/fastlog",
        ),
        Example(
            "Write JSON lines beside the store.",
            "fastlog-server --sink sqlite: --sink ndjson:///var/log/app.ndjson",
        ),
        Example(
            "Read a configuration, and serve a page too.",
            "fastlog-server --config fastlog.toml --web http://127.0.0.1:9080",
        ),
    ),
}
"""By the full name of the command."""
