"""`make bench`, small: what it sends is what stock clients send, and a lost record is told."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_commands import bench
from conditions import wait_for
from places import BENCHMARKS

sys.path.append(str(BENCHMARKS))

from bench import build
from bench.cases import Case
from bench.frames import NUMBER, POOL, as_text, make_records, pickled
from bench.load import Load
from bench.output import DayFiles, LinesFile, Tally, tally
from bench.report import BEGIN, END, insert, report
from bench.results import Memory, Results, Run

LOSSY = '''
"""Takes records as a peer does; loses number 7, and writes number 9 twice."""
import re, socketserver, sys

class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        while header := self.rfile.read(4):
            payload = self.rfile.read(int.from_bytes(header, "big"))
            text = re.search(rb"request (\\d{9}) handled", payload)
            number = int(text[1])
            with open(sys.argv[1], "ab") as file:
                file.write((text[0] + b"\\n") * {7: 0, 9: 2}.get(number, 1))

with socketserver.TCPServer(("127.0.0.1", 0), Connection) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
'''

# ---- the command ---------------------------------------------------------------------------


def test_fastlog_and_a_peer_get_the_same_records_and_the_report_says_that_all_arrived(
    tmp_path: Path,
) -> None:
    pytest.importorskip("orjson", reason="orjson, which the peers write with, is not installed")
    names = ["fastlog ndjson", "fastlog sqlite", "select.epoll loads"]
    only = [word for name in names for word in ("--only", name)]
    figures, text = bench(tmp_path, "--records", "20000", *only, "--case", "record 100")
    assert names == [run["server"] for run in figures["runs"]]
    for run in figures["runs"]:
        assert (
            *(run[name] for name in ("records", "missing", "doubled", "unknown", "faults")),
        ) == (20000, 0, 0, 0, "")
        assert run["cpu"] > 0 < run["seconds"] < 60
    roles = {"supervisor", "receiver", "worker ndjson", "ended"}
    assert roles == set(figures["runs"][0]["cpu_by_role"])
    assert figures["runs"][0]["peak_memory"] > 10 << 20
    assert "In 3 of 3 runs all records arrived once.\n" in text
    assert "| fastlog ndjson / " not in text  # no ratio to what was not measured
    assert list((tmp_path / "build").glob("run-*")) == []  # no data of a run is left


def test_a_server_that_loses_records_is_told_and_shown_as_such(tmp_path: Path) -> None:
    lossy = tmp_path / "lossy.py"
    lossy.write_text(LOSSY)
    figures, text = bench(
        tmp_path, "--records", "500", "--only", "lossy", "--case", "64k 1", "--patience", "0.5",
        "--program", f"lossy={sys.executable} {lossy} {{output}}",
    )  # fmt: skip
    [run] = figures["runs"]
    assert (run["missing"], run["doubled"], run["unknown"]) == (1, 1, 0)
    assert "In 0 of 1 runs all records arrived once.\n" in text
    assert "- **lossy**, 64k 1, of 500: 1 missing, 1 doubled\n" in text
    assert "(!)" in text


def test_what_cannot_be_started_is_named_with_its_reason_and_the_rest_is_measured(
    tmp_path: Path,
) -> None:
    figures, text = bench(
        tmp_path, "--records", "500", "--only", "broken", "--only", "recv", "--case", "64k 1",
        "--program", f"broken={sys.executable} -c 1/0",
    )  # fmt: skip
    assert [run["server"] for run in figures["runs"]] == ["recv and split in C"]
    assert "broken does not start" in figures["skipped"]["broken"]
    assert "ZeroDivisionError" in text


def test_a_run_that_is_stopped_leaves_no_server_and_no_data_behind(tmp_path: Path) -> None:
    build = tmp_path / "build"
    arguments = ["--only", "recv", "--case", "paced 1", "--paced-seconds", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments], stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS), "BENCH_DIR": str(build)},
    )  # fmt: skip
    running = "a server and the generator run, when both are compiled and the records are made"
    wait_for(lambda: len(commands_with(str(build))) == 2, running, 120)
    process.terminate()
    assert process.wait(120) == 128 + signal.SIGTERM
    # A generator that was being started ends when it finds its standard input closed.
    wait_for(lambda: commands_with(str(build)) == [], "the server and the generator end", 30)
    assert list(build.glob("run-*")) == []


def commands_with(text: str) -> list[str]:
    """The running programs that have it in their name."""
    names = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                names.append((entry / "cmdline").read_bytes().split(b"\0")[0].decode())
    return [name for name in names if text in name]


@pytest.mark.parametrize("option", ["--only", "--case"])
def test_a_name_that_there_is_not_is_a_usage_error(option: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", option, "nonsense"],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
    )  # fmt: skip
    assert (done.returncode, "'nonsense'" in done.stderr) == (2, True)


# ---- the generator -------------------------------------------------------------------------


class Sponge(threading.Thread):
    """A server that keeps what each of its connections sent."""

    def __init__(self, connections: int) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=connections)
        self.port = self._listener.getsockname()[1]
        self._sockets = connections
        self.streams: list[bytes] = []
        self.start()

    def run(self) -> None:
        readers = []
        for _ in range(self._sockets):
            connection, _ = self._listener.accept()
            readers.append(threading.Thread(target=self._read, args=[connection], daemon=True))
            readers[-1].start()
        for reader in readers:
            reader.join(60)
        self._listener.close()

    def _read(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            self.streams.append(stream.read())


def frames_of(stream: bytes) -> list[bytes]:
    frames = []
    while stream:
        size = int.from_bytes(stream[:4], "big")
        frames.append(stream[4 : 4 + size])
        assert len(frames[-1]) == size
        stream = stream[4 + size :]
    return frames


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The generator and its pools, in a directory of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "BUILD", tmp_path_factory.mktemp("build"))
        build.build()
        yield


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("send_bytes", "rate"), [(65536, 0), (0, 0), (0, 20_000)], ids=["64k", "record", "paced"]
)
def test_the_generator_sends_each_number_once_as_a_stock_client_would(
    send_bytes: int, rate: int
) -> None:
    sponge = Sponge(7)
    with Load(Case("", 7, 5000, send_bytes, rate), sponge.port, "pickles") as load:
        load.begin()
        account = load.account()
    sponge.join(60)
    records = [pickle.loads(f) for stream in sponge.streams for f in frames_of(stream)]
    originals = list(make_records(POOL))
    numbers = []
    for record in records:
        found = NUMBER.match(record["msg"].encode())
        assert found is not None
        numbers.append(int(found[1]))
        original = pickle.loads(pickled(originals[numbers[-1] % POOL]).data[4:])
        changed = {key for key, value in original.items() if record[key] != value}
        assert original.keys() == record.keys()
        assert changed <= {"msg", "created", "thread", "relativeCreated", "msecs"}
    assert (account.sent, account.failed) == (5000, 0)
    assert sorted(numbers) == list(range(5000))
    by_number = dict(zip(numbers, (record["created"] for record in records), strict=True))
    created = [by_number[number] for number in range(5000)]
    assert created == sorted(set(created))
    if rate:
        assert account.seconds >= 5000 / rate - 0.01


def test_a_record_as_text_is_as_long_as_its_pickle_and_counts_its_octets() -> None:
    for record in make_records(50):
        count, _, message = as_text(record).data.partition(b" ")
        assert int(count) == len(message)
        assert len(as_text(record).data) == len(pickled(record).data)


# ---- the check -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0, 1, 2), Tally(3, 0, 0, 0)),
        ((2, 0, 1), Tally(3, 0, 0, 0)),
        ((0, 2), Tally(2, 1, 0, 0)),
        ((0, 1, 1, 2), Tally(3, 0, 1, 0)),
        ((0, 1, 3, -1), Tally(2, 1, 0, 2)),
        ((), Tally(0, 3, 0, 0)),
    ],
    ids=["whole", "mixed", "missing", "doubled", "unknown", "nothing"],
)
def test_each_fault_is_counted(numbers: tuple[int, ...], expected: Tally) -> None:
    assert expected == tally(numbers, 3)
    assert expected.whole is (sorted(numbers) == [0, 1, 2])


def test_lines_without_a_number_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert Tally(0, 2, 0, 0) == LinesFile(path).check(2)
    path.write_text("request 000000001 handled\nnoise\nrequest 000000000 handled\n")
    assert Tally(2, 0, 0, 1) == LinesFile(path).check(2)


def test_a_store_without_files_has_lost_everything(tmp_path: Path) -> None:
    assert Tally(0, 2, 0, 0) == DayFiles(tmp_path).check(2)


# ---- the report ----------------------------------------------------------------------------


def made_up() -> Results:
    def run(server: str, cpu: float, **more: Any) -> Run:
        return Run(
            server=server, family="fastlog", case="64k 100", connections=100, records=1_000_000,
            cpu=cpu, seconds=2.0, peak_memory=50 << 20, **more,
        )  # fmt: skip

    runs = [run("fastlog ndjson", cpu) for cpu in (9.0, 2.0, 1.0)]
    runs.append(run("asyncio restricted", 12.0, missing=4, faults="4 missing"))
    memory = Memory(server="fastlog ndjson", idle=40 << 20, connections=1024, loaded=41 << 20)
    names = list(Counter(run.server for run in runs))
    return Results(
        machine={"CPU": "one"}, servers=[*names, "rsyslog text"], cases=["64k 100"], runs=runs,
        memory=[memory], skipped={"rsyslog text": "rsyslogd not found"},
    )  # fmt: skip


def test_the_report_has_medians_ratios_losses_and_what_was_skipped() -> None:
    text = report(made_up())
    for line in (
        "| fastlog ndjson     |      2.00 |",
        "| asyncio restricted | 12.00 (!) |",
        "| fastlog ndjson / asyncio restricted            | 64k 100 |  0.17 | 1/6.0 |",
        "| fastlog ndjson |      40.0 |              1.00 |      1,024 |",
        "In 3 of 4 runs all records arrived once.",
        "- **asyncio restricted**, 64k 100, of 1,000,000: 4 missing",
        "- rsyslog text: rsyslogd not found",
    ):
        assert line.replace(" ", "") in text.replace(" ", ""), text


def test_the_report_replaces_what_stands_between_the_marks() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert f"before\n{BEGIN}\n\nnew\n{END}\nafter\n" == insert("new", document)
    with pytest.raises(ValueError, match="report: begin"):
        insert("new", "no marks")


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_chart_is_drawn_and_names_every_contender(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib, which draws the chart, is not installed")
    from bench.chart import draw

    path = tmp_path / f"chart.{suffix}"
    assert draw(made_up(), [path])
    assert path.stat().st_size > 1000
    if suffix == "svg":
        assert "asyncio restricted (lost records)" in path.read_text()
