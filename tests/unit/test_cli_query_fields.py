"""`--fields` and `--format`: which values of a record are printed, and in which form."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from commands import Result, Run
from day_files import make_record, write_day

pytestmark = pytest.mark.usefixtures("nothing_configured")


@pytest.fixture
def record(tmp_path: Path) -> None:
    extra = '{"user":77,"a":{"b":[1,{"c":"x y"}]},"d.e":true,'
    extra += '"an, odd":5,"text":"two\\nlines","none":null}'
    write_day(
        tmp_path / "fastlog-data" / "logs" / "2023-11-14.db",
        [make_record(0, message="first\nsecond", exc_text="Error", process=4, extra=extra)],
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("created", "2023-11-14 22:13:20.000+00:00", 1_700_000_000.0),
        ("time", "2023-11-14 22:13:20.000+00:00", "2023-11-14T22:13:20.000000+00:00"),
        ("received", "2023-11-14 22:13:20.000+00:00", 1_700_000_000.0),
        ("level", "INFO    ", "INFO"),
        ("levelno", "20", 20),
        ("logger", "app", "app"),
        ("message", r"first\nsecond", "first\nsecond"),
        ("exc_text", "Error", "Error"),
        ("traceback", "Error", "Error"),
        ("taskName", "-", None),
        ("node", "ab", "ab"),
        ("extra.user", "77", 77),
        ("user", "77", 77),
        ("extra.a.b", '[1,{"c":"x y"}]', [1, {"c": "x y"}]),
        ("extra.a.b[1].c", "x y", "x y"),
        ("a.b[0]", "1", 1),
        ("extra.a.b[7]", "-", None),
        ("extra.user.name", "-", None),
        ("extra.d.e", "true", True),
        ('extra."an, odd"', "5", 5),
        ("extra.text", r"two\nlines", "two\nlines"),
        ("extra.none", "-", None),
        ("extra.nothing", "-", None),
    ],
)
@pytest.mark.usefixtures("record")
def test_a_field_is_printed_in_every_style(command: Run, name: str, text: str, value: object):
    assert command("query", "--utc", "--fields", name) == Result(0, text + "\n", "")
    assert command("query", "--utc", "--format", f"{{{name}}}").out == text.strip() + "\n"
    assert json.loads(command("query", "--fields", name, "--json").out) == {name: value}
    header, [cell] = csv.reader(io.StringIO(command("query", "--fields", name, "--csv").out))
    assert header == [name]
    assert cell == ("" if value is None else value if isinstance(value, str) else as_json(value))


def as_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


@pytest.mark.usefixtures("record")
def test_all_extras_are_an_object_in_json_and_json_text_elsewhere(command: Run):
    found = json.loads(command("query", "--fields", "extra", "--json").out)
    assert found["extra"]["user"] == 77
    assert json.loads(command("query", "--fields", "extra").out) == found["extra"]


def test_fields_are_printed_in_the_order_in_which_they_are_named(command: Run, data: Path):
    printed = command("query", "--fields", "user, message ,level", "--limit", 2)
    assert printed.out == "8 message 8 INFO    \n9 message 9 WARNING \n"
    as_json = command("query", "--fields", "user,message", "--limit", 1, "--json").out
    assert as_json == '{"user":9,"message":"message 9"}\n'


def test_tail_has_fields_and_templates_too(command: Run, data: Path):
    printed = command("tail", "-n", 2, "--fields", "message,user")
    assert printed == Result(0, "message 8 8\nmessage 9 9\n", "")
    assert command("tail", "-n", 1, "--format", "{user}:{message}").out == "9:message 9\n"
    assert command("tail", "-n", 1, "--csv", "--fields", "user").out == "user\n9\n"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{created:%H:%M:%S} {level:8}|{user:>3}|", "22:13:29 WARNING |  9|"),
        ("{message:.4}{message:*^13}", "mess**message 9**"),
        (r"{{{level}}}\t{user}\\n\n", "{WARNING}\t9\\n\n"),
        ("no field", "no field"),
        ("{nothing:4}|", "-   |"),
        ("{time:%Y%%}", "2023%"),
    ],
)
def test_a_template_is_a_format_string_of_python(
    command: Run, data: Path, template: str, expected: str
):
    printed = command("query", "--utc", "--limit", 1, "--format", template).out
    assert printed == expected + "\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fields", "mesage"], "there is no field 'mesage'; did you mean 'message'?"),
        (["--fields", "levl"], "there is no field 'levl'; did you mean 'level'?"),
        (["--fields", ""], "expected names of fields with commas between them, got ''"),
        (["--fields", "a,,b"], "expected names of fields with commas between them, got 'a,,b'"),
        (["--fields", "a b"], "'a b' is no name of a field; an odd name is extra."),
        (["--by", "loger"], "there is no field 'loger'; did you mean 'logger'?"),
        (["--format", "{mesage}"], "--format: there is no field 'mesage'; did you mean 'message'?"),
        (["--format", "{message"], "--format: expected '}' before end of string"),
        (["--format", "message}"], "--format: Single '}' encountered in format string"),
        (["--format", "{}"], "--format: {} has no name"),
        (["--format", "{message!r}"], "--format: !r of 'message' is not supported"),
        (["--format", "{message:d}"], "--format: 'd' is no format of message"),
        (["--format", "{message:%H}"], "--format: '%H' is no format of message"),
        (["--format", "x", "--json"], "--json and --format exclude each other"),
        (["--format", "x", "--fields", "message"], "--fields and --format exclude each other"),
    ],
)
def test_a_mistake_in_a_name_or_template_is_one_line_and_exit_code_2(
    command: Run, data: Path, words: list[str], message: str
):
    wrong = command("query", *words)
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    assert wrong.err.startswith(f"fastlog query: {message}")
