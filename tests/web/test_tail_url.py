"""`fastlog tail --url`: the records of a real web server, which may be restarted meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from commands import Result
from conditions import wait_for
from day_files import START_NAME, append, make_record, open_day
from servers import FASTLOG, Server
from terminals import clean_environment
from web_sites import ANY_PORT, Site, make_store, numbered, reserved_url, serving, site_of

from fastlog.cli import fastlog
from fastlog.cli.api import Api
from fastlog.cli.command import run
from fastlog.cli.remote_tail import RemoteTail

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")


class Tail:
    """A `fastlog tail` whose output goes to files."""

    def __init__(self, directory: Path, *words: object, **env: str) -> None:
        self._out, self._err = directory / "tail.out", directory / "tail.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [FASTLOG, "tail", *map(str, words)],
                stdout=out, stderr=err, env=clean_environment(**env), cwd=directory,
            )  # fmt: skip

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def errors(self) -> str:
        return self._err.read_text()

    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()

    def wait_for(self, *expected: str) -> None:
        """Wait until exactly these lines were printed."""
        wait_for(lambda: len(self.lines()) >= len(expected) or self.process.poll() is not None)
        assert self.lines() == list(expected), self.errors

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


class Run(Protocol):
    """Runs `fastlog tail` with these words."""

    def __call__(self, *words: object) -> Result: ...


@pytest.fixture
def run_tail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run_it(*words: object) -> Result:
        code = run(fastlog, "fastlog", ["tail", *map(str, words)])
        return Result(code, *capsys.readouterr())

    return run_it


def messages(*numbers: int) -> list[str]:
    return [f"message {number}" for number in numbers]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return make_store(tmp_path / "data", numbered(30))


def add(data_dir: Path, *numbers: int, name: str = START_NAME, **fields: Any) -> None:
    file = open_day(data_dir / "logs" / name)
    try:
        records = [
            make_record(at, offset=numbers[0], idx=n, **fields) for n, at in enumerate(numbers)
        ]
        append(file, records, per_block=len(numbers))
    finally:
        file.close()


@contextmanager
def restartable(data_dir: Path) -> Iterator[tuple[Site, ExitStack]]:
    """Run a web server that the stack ends, and that can be started again at the same URL."""
    with reserved_url() as url, ExitStack() as running:
        yield running.enter_context(serving(data_dir, url=url)), running


def test_it_prints_what_a_tail_of_the_files_prints(run_tail: Run, data_dir: Path):
    words = ["--json", "-n", "5", "level>=warning", "--logger", "app", "user>1", "--utc"]
    local = run_tail("--data-dir", data_dir, *words)
    local_plain = run_tail("--data-dir", data_dir, "-n", 1)
    with serving(data_dir) as site:
        remote = run_tail("--url", site.url, *words)
        plain = run_tail("--url", f"{site.url}/", "-n", 1)
    assert (remote.out, remote.err, remote.code) == (local.out, "", 0)
    assert len(remote.out.splitlines()) == 5
    assert plain == local_plain


def test_more_records_than_a_page_has_are_printed(run_tail: Run, tmp_path: Path):
    data_dir = make_store(tmp_path / "data", numbered(2500, per_block=100), per_block=100)
    with serving(data_dir) as site:
        result = run_tail("--url", site.url, "-n", 2400, "--fields", "message")
    assert result.out.splitlines() == messages(*range(100, 2500))


def test_nothing_found_is_exit_code_1(run_tail: Run, data_dir: Path):
    with serving(data_dir) as site:
        assert run_tail("--url", site.url, "level:critical").code == 1


def test_it_follows_into_the_next_day_and_ends_at_ctrl_c(data_dir: Path, tmp_path: Path):
    with serving(data_dir) as site:
        words = ["--url", site.url, "-f", "-n", 1, "--fields", "message", "level>=info"]
        with Tail(tmp_path, *words) as tail:
            tail.wait_for(*messages(29))
            add(data_dir, 32, 31)
            add(data_dir, 33, levelno=10, levelname="DEBUG")
            add(data_dir, 100_000, name="2023-11-16.db")
            tail.wait_for(*messages(29, 32, 31, 100_000))
            assert (tail.interrupt(), tail.errors) == (0, "")


@pytest.mark.parametrize("is_quiet", [True, False])
def test_it_goes_on_behind_the_last_record_when_the_web_server_is_restarted(
    data_dir: Path, tmp_path: Path, is_quiet: bool
):
    """Also if no record has arrived yet when the connection is lost."""
    with restartable(data_dir) as (site, running):
        words = ["--url", site.url, "-f", "-n", 2, "--fields", "message"]
        with Tail(tmp_path, *words) as tail:
            expected = messages(28, 29)
            tail.wait_for(*expected)
            if not is_quiet:
                add(data_dir, 31, 30)
                expected += messages(31, 30)
                tail.wait_for(*expected)
            running.close()
            wait_for(lambda: "connection lost" in tail.errors)
            add(data_dir, *range(40, 540))
            with serving(data_dir, url=site.url):
                expected += messages(*range(40, 540))
                tail.wait_for(*expected)
                add(data_dir, 600)
                expected += messages(600)
                tail.wait_for(*expected)
                assert tail.interrupt() == 0
        lost, again = tail.errors.splitlines()
        assert lost.startswith(f"fastlog tail: connection lost: {site.url}: ")
        assert lost.endswith("; trying again")
        assert again == "fastlog tail: connected again"


def test_what_arrives_while_the_newest_are_asked_for_is_printed_once(data_dir: Path):
    with serving(data_dir) as site:
        remote = RemoteTail(Api(site.url), "", None, pytest.fail)
        newest: list[str] = []

        def ask() -> None:
            add(data_dir, 31)
            newest[:] = [found.record.message for found in remote.newest(2)]
            add(data_dir, 32)

        arrived = (found for batch in remote.follow(ask, time.sleep) for found in batch)
        assert next(arrived).record.message == "message 32"
        assert newest == messages(29, 31)


def test_what_was_left_out_is_counted(data_dir: Path, tmp_path: Path):
    with restartable(data_dir) as (site, running):
        words = ["--url", site.url, "-f", "-n", 1, "--fields", "message"]
        with Tail(tmp_path, *words) as tail:
            tail.wait_for(*messages(29))
            running.close()
            wait_for(lambda: "connection lost" in tail.errors)
            add(data_dir, *range(40, 3040))
            with serving(data_dir, url=site.url):
                tail.wait_for(*messages(29, *range(1040, 3040)))
                line = "left out 1,000 records, which came faster than they can be sent"
                wait_for(lambda: f"fastlog tail: {line}\n" in tail.errors)


def test_a_store_that_was_replaced_meanwhile_is_followed_with_a_warning(
    data_dir: Path, tmp_path: Path
):
    with restartable(data_dir) as (site, running):
        words = ["--url", site.url, "-f", "-n", 1, "--fields", "message"]
        with Tail(tmp_path, *words) as tail:
            tail.wait_for(*messages(29))
            running.close()
            for path in (data_dir / "logs").iterdir():
                path.unlink()
            add(data_dir, 70)
            with serving(data_dir, url=site.url):
                wait_for(lambda: "connected again" in tail.errors)
                add(data_dir, 80)
                tail.wait_for(*messages(29, 80))
                assert tail.errors.splitlines()[-1] == (
                    "fastlog tail: connected again; records that arrived meanwhile may be missing"
                )


def test_it_ends_with_its_reader_while_nothing_arrives(data_dir: Path):
    with serving(data_dir) as site:
        line = f"'{FASTLOG}' tail -f -n 3 --url {site.url} --fields message | head -1"
        result = subprocess.run(
            ["sh", "-c", line], env=clean_environment(), capture_output=True, text=True, timeout=60
        )
    assert (result.stdout, result.stderr, result.returncode) == ("message 27\n", "", 0)


def test_a_real_server_is_followed_across_its_restart(run_tail: Run, tmp_path: Path):
    with Server(tmp_path, web=ANY_PORT).fixed() as server:
        url = site_of(server).url
        send(server, "one")
        server.wait_stored(1)
        wait_for(lambda: run_tail("--url", url).code == 0)
        with Tail(tmp_path, "--url", url, "-f", "--fields", "message") as tail:
            tail.wait_for("one")
            server.stop()
            server.start()
            send(server, "two")
            tail.wait_for("one", "two")


def send(server: Server, message: str) -> None:
    subprocess.run(
        [FASTLOG, "send", "--url", server.urls()[0], message],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


# ---- access and mistakes -------------------------------------------------------------------


def test_a_token_comes_from_the_environment_or_a_file(
    run_tail: Run, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "token"
    file.write_text("a-secret-token-of-tests\n")
    with serving(data_dir, config='[web]\ntokens = ["me:a-secret-token-of-tests"]\n') as site:
        words = ["--url", site.url, "-n", 1, "--fields", "message"]
        refused = run_tail(*words)
        monkeypatch.setenv("FASTLOG_TOKEN", "other")
        wrong = run_tail(*words)
        of_file = run_tail(*words, "--token-file", file)
        monkeypatch.setenv("FASTLOG_TOKEN", "a-secret-token-of-tests")
        for result in (of_file, run_tail(*words)):
            assert (result.out, result.code) == ("message 29\n", 0)
    assert (refused.code, wrong.code) == (2, 2)
    assert f"{site.url} needs a token; put one of web.tokens into FASTLOG_TOKEN" in refused.err
    assert f"{site.url} does not accept this token" in wrong.err


def test_a_mistake_in_the_query_or_the_url_is_one_line(
    run_tail: Run, data_dir: Path, tmp_path: Path
):
    with serving(data_dir) as site:
        for words, error in (
            (["--url", site.url, "(a"], 'this "(" is not closed'),
            (["--url", f"{site.url}/elsewhere"], "there is no such page"),
            (["--url", "127.0.0.1:9080"], "expected one such as http://127.0.0.1:9080"),
            (["--url", "http://user:pass@127.0.0.1"], "no place for a password"),
            (["--url", site.url, "--tz", "+02:00"], "expected a name such as Europe/Berlin"),
            (["--url", site.url, "--data-dir", data_dir], "exclude each other"),
            (["--token-file", tmp_path], "--token-file needs --url"),
            (["--url", site.url, "--token-file", tmp_path / "none"], "No such file"),
        ):
            result = run_tail(*words)
            assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
            assert error in result.err


@pytest.mark.parametrize("words", [["-f"], []], ids=str)
def test_a_page_that_is_not_there_at_the_start_is_one_line(run_tail: Run, words: list[str]):
    with reserved_url() as url:
        result = run_tail("--url", url, *words)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"fastlog tail: --url: cannot read {url}: Connection refused;"
        " is fastlog web running there?\n"
    )


def test_hostile_records_are_text(run_tail: Run, tmp_path: Path):
    hostile = "\x1b[31mred\x1b]0;title\x07\u202e"
    record = make_record(0, message=hostile, name=hostile, extra=json.dumps({hostile: hostile}))
    with serving(make_store(tmp_path / "data", [record])) as site:
        plain, as_json = (run_tail("--url", site.url, *words) for words in ([], ["--json"]))
    for result in (plain, as_json):
        assert not {"\x1b", "\x07", "\u202e"} & set(result.out)
    assert json.loads(as_json.out)["extra"] == {hostile: hostile}


def test_a_server_that_sends_no_records_is_one_line(run_tail: Run, tmp_path: Path):
    """Whatever listens there must not be able to end the command with a traceback."""
    answers = {
        b"nonsense\r\n\r\n": "is no page of fastlog",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi":
            "is no page of fastlog",
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]':
            "cannot be read",
        b"HTTP/1.1 302 Found\r\nLocation: http://evil\x1b.example/\r\nContent-Length: 0\r\n\r\n":
            "redirects to",
    }  # fmt: skip
    for answer, error in answers.items():
        with answering(answer) as url:
            result = run_tail("--url", url)
        assert result.code in (1, 2)
        assert (result.out, result.err.count("\n")) == ("", 1)
        assert error in result.err
        assert "\x1b" not in result.err


def test_a_stream_of_nonsense_is_tried_again_and_never_a_traceback(tmp_path: Path):
    stream = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        b'id: a\rb\x1b\xff\nevent: dropped\ndata: {"dropped": 3}\n\n'
        b'event: records\ndata: [{"message": 7}]\n\n'
    )
    with answering(stream) as url, Tail(tmp_path, "--url", url, "-f", "-n", 0) as tail:
        wait_for(lambda: tail.errors.count("connection lost") >= 2)
        assert tail.interrupt() == 0
        lines = tail.errors.splitlines()
    assert {line.partition(": ")[0] for line in lines} == {"fastlog tail"}
    assert "the server has sent what is no record" in lines[1]
    assert not {"\x1b", "\ufffd"} & set(tail.errors)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Listen on a port, and send each client the same."""
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
