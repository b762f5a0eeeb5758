"""The questions: the command of fastlog, and one of another tool that answers the same.

`rg` is ripgrep, over the records as lines of JSON. `by hand` is a statement in Python's sqlite3
over the day files, as one would type it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import NamedTuple

from bench.questions.store import HITS, Store
from bench.servers import PROGRAMS

Command = Sequence[str]

_BY_HAND = """
import glob, sqlite3, sys
found = 0
for path in sorted(glob.glob(sys.argv[1] + "/logs/*.db"), reverse=True):
    file = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = file.execute(sys.argv[2]).fetchall()
    found += len(rows)
    if len(sys.argv) > 3 and found >= int(sys.argv[3]):
        break
print(found)
"""


class Question(NamedTuple):
    """A question, and how two tools answer it."""

    name: str
    fastlog: Command
    beside: Command | None
    """None: the tool is not installed."""
    tool: str
    """The name of the other tool."""
    found: int | None = None
    """The lines that fastlog must print; None: any number."""


def questions(store: Store) -> list[Question]:
    """Return the questions to a store."""
    newest = "SELECT * FROM records{} ORDER BY created DESC LIMIT 100"
    common, errors = newest.format(" WHERE name = 'app.db'"), newest.format(" WHERE levelno >= 40")
    groups = "SELECT levelname, name, count(*) FROM records GROUP BY 1, 2"
    rare = newest.format(" WHERE name = 'app.rare' AND levelno >= 50")
    pattern, anchored = r"timeout after \d+ms from [A-Z]{9}", r"[a-z]+-\d{4}-(alpha|omega)\b"
    nowhere = "nowhere to be found"
    shown = min(100, store.rare)
    ask = _Asker(store)
    return [
        Question("nothing: start-up", ask.query("--since", "2100-01-01"), ask.python("pass"),
                 "python -c pass", 0),
        Question("newest 100", ask.query(), ask.by_hand(newest.format("")), "by hand", 100),
        Question("newest 100 of a common logger", ask.query("--logger", "app.db"),
                 ask.by_hand(common), "by hand", 100),
        Question("newest 100 of ERROR and above", ask.query("--level", "ERROR"),
                 ask.by_hand(errors), "by hand", 100),
        Question("newest 100 of a rare level and logger",
                 ask.query("--level", "CRITICAL", "--logger", "app.rare"), ask.by_hand(rare),
                 "by hand", shown),
        Question("a substring that is nowhere", ask.query("--grep", nowhere),
                 ask.rg("--ignore-case", "--fixed-strings", nowhere), "rg", 0),
        Question("a regular expression that is nowhere", ask.query("--regex", pattern),
                 ask.rg(pattern), "rg", 0),
        Question("one without a literal", ask.query("--regex", anchored), ask.rg(anchored), "rg",
                 0),
        Question("extra.user=77", ask.query("--where", "extra.user=77"),
                 ask.rg("--fixed-strings", '"user":77,'), "rg", min(HITS, store.records)),
        Question("extra.user>200000, which is nowhere", ask.query("--where", "extra.user>200000"),
                 ask.rg(r'"user":([2-9]\d{5}|[1-9]\d{6})'), "rg", 0),
        Question("stats", ask.fastlog("stats", "--json"), ask.by_hand(groups, None), "by hand", 1),
    ]  # fmt: skip


def fastlog(store: Store, *words: str) -> Command:
    """Return a command of `fastlog` about a store."""
    return (str(PROGRAMS / "fastlog"), *words, "--data-dir", str(store.data_dir))


class _Asker(NamedTuple):
    store: Store

    def fastlog(self, *words: str) -> Command:
        return fastlog(self.store, *words)

    def query(self, *words: str) -> Command:
        return self.fastlog("query", "--json", *words)

    def python(self, program: str, *words: str) -> Command:
        return (sys.executable, "-c", program, *words)

    def by_hand(self, sql: str, limit: int | None = 100) -> Command:
        more = () if limit is None else (str(limit),)
        return self.python(_BY_HAND, str(self.store.data_dir), sql, *more)

    def rg(self, *words: str) -> Command | None:
        program = shutil.which("rg")
        return program and (program, "--count", *words, str(self.store.lines))
