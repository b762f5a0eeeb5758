"""Redaction: what a rule names is in nothing that is stored."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from typing import Any

import pytest
from routes import FORMS, block_of, lines_of, records_of, route

from fastlog.config import RedactConfig
from fastlog.decode import Decoded, Form
from fastlog.record import Record
from fastlog.routing.redaction import Redaction

SECRET = "hunter2"
CARD = r"\b\d{16}\b"
NUMBER = "4111111111111111"


def frame(**attributes: Any) -> bytes:
    return pickle.dumps({"msg": "m", "levelno": 20, "name": "app"} | attributes, 1)


def redacted(*frames: bytes, rules: list[RedactConfig], form: Form = "records") -> Decoded:
    return route(form, rules).decode(block_of(frames))


def one(rule: RedactConfig, **attributes: Any) -> Record:
    [record] = records_of(redacted(frame(**attributes), rules=[rule]))
    return record


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("action", ["mask", "drop"])
def test_a_pattern_is_gone_from_all_texts_in_every_form(form: Form, action: Any) -> None:
    text = f"é {NUMBER}, again {NUMBER}"
    decoded = redacted(
        frame(
            msg="pay %s", args=(NUMBER,), exc_text=text, stack_info=text, threadName=text,
            number=int(NUMBER), nested={"a": [text, {NUMBER: text}]}, processName=NUMBER,
        ),
        frame(msg="nothing here"),
        rules=[RedactConfig(pattern=CARD, action=action)],
        form=form,
    )  # fmt: skip
    if form == "lines":
        assert NUMBER.encode() not in decoded.lines
        first, second = lines_of(decoded)
        assert (first["message"], second["message"]) == (
            f"pay {'***' * (action == 'mask')}",
            "nothing here",
        )
    else:
        first_record, second_record = records_of(decoded)
        assert NUMBER not in repr(tuple(first_record))
        assert "é" in first_record.exc_text
        assert second_record.message == "nothing here"
    if decoded.columns is not None:
        assert NUMBER.encode() not in (decoded.columns.text or b"")
    assert decoded.redacted == {"pattern-1": 1}


def test_a_masked_field_is_masked_wherever_its_path_leads() -> None:
    rule = RedactConfig(field="extra.db.password")
    record = one(rule, db={"password": SECRET, "user": 1}, other=1, **{"db.password": SECRET})
    assert record.extra == '{"db":{"password":"***","user":1},"other":1,"db.password":"***"}'
    record = one(rule, db=[{"password": SECRET}, {"password": [SECRET]}, 3])
    assert record.extra == '{"db":[{"password":"***"},{"password":"***"},3]}'


def test_a_dropped_field_is_not_there() -> None:
    rule = RedactConfig(field="password", action="drop")
    assert one(rule, password=SECRET, user=1).extra == '{"user":1}'
    assert one(RedactConfig(field="extra", action="drop"), password=SECRET).extra == "{}"
    assert one(RedactConfig(field="extra"), password=SECRET, a=1).extra == (
        '{"password":"***","a":"***"}'
    )


def test_a_column_is_masked_or_null() -> None:
    assert one(RedactConfig(field="host")).host == "***"
    assert one(RedactConfig(field="message", action="drop"), msg=SECRET).message == ""
    record = one(RedactConfig(field="level"), levelname="SECRET")
    assert (record.levelno, record.levelname) == (None, "***")


def test_what_validation_keeps_of_a_field_is_redacted_with_it() -> None:
    record = one(RedactConfig(field="lineno"), lineno=f"no number {SECRET}", user=1)
    assert SECRET not in repr(tuple(record))
    record = one(RedactConfig(field="message"), msg="%d apples", args=(SECRET,))
    assert SECRET not in repr(tuple(record))
    record = one(RedactConfig(field="traceback"), exc_text=1, exc_info=f"ValueError: {SECRET}")
    assert SECRET not in repr(tuple(record))
    assert one(RedactConfig(field="lineno"), lineno=7).lineno is None


def test_names_that_become_equal_stay_apart() -> None:
    extra = one(RedactConfig(pattern="[a-z]+@x"), **{"a@x": 1, "b@x": 2, "***": 3}).extra
    assert sorted(json.loads(extra).values()) == [1, 2, 3]


def test_a_pattern_may_be_for_some_fields_only() -> None:
    rule = RedactConfig(pattern=SECRET, fields=["message", "extra.a"])
    record = one(rule, msg=SECRET, exc_text=SECRET, a={"x": SECRET}, b=SECRET)
    assert (record.message, record.exc_text) == ("***", SECRET)
    assert record.extra == '{"a":{"x":"***"},"b":"hunter2"}'


@pytest.mark.parametrize("pattern", ["^a|b$", r"[^0]+0", "(?i)É|x.z", r"\bn\b", '\\n|"'])
def test_a_pattern_is_looked_for_in_each_text_by_itself(pattern: str) -> None:
    texts = ["abc b", "xab", "é x\nz n", 'q"0', "000", "b", "a"]
    expected = [re.sub(re.sub("É", "[Éé]", pattern), "***", text) for text in texts]
    frames = [frame(msg=text, user=text, nested={"k": [text, {text: None}]}) for text in texts]
    decoded = redacted(*frames, rules=[RedactConfig(pattern=pattern)])
    for record, text in zip(decoded.records, expected, strict=True):
        assert record.message == text
        extra = json.loads(record.extra)
        assert (extra["user"], extra["nested"]) == (text, {"k": [text, {text: None}]})


def test_a_record_with_very_many_matches_is_replaced_as_a_whole() -> None:
    rule = RedactConfig(pattern="[0-9]")
    record = one(rule, msg="1" * 5000, exc_text="none", user=1, lineno=7)
    assert (record.message, record.exc_text, record.lineno) == ("***", "***", 7)
    assert record.extra == '{"!redacted":"[over 1000 matches of a pattern]"}'
    assert one(rule, msg="1" * 998, lineno=7).message == "***" * 998


def test_rules_are_counted_by_name_and_in_order() -> None:
    rules = [
        RedactConfig(field="extra.password", action="drop"),
        RedactConfig(pattern=SECRET, name="secrets"),
        RedactConfig(pattern=r"\*+", action="drop"),
    ]
    frames = [frame(password=SECRET), frame(msg=SECRET), frame(password=1, user=SECRET), frame()]
    decoded = redacted(*frames, rules=rules)
    assert decoded.redacted == {"extra.password": 2, "secrets": 2, "pattern-3": 2}
    assert SECRET not in repr(decoded.records)


def test_a_record_that_is_redacted_already_is_not_counted() -> None:
    """As in an export that is imported where the same rules hold."""
    record = one(RedactConfig(field="extra.password", name="p"), password=SECRET)
    again = Redaction([RedactConfig(field="extra.password", name="p")])
    counts = Counter[str]()
    assert again.apply(record, counts) is record
    assert counts == {}


def test_the_filter_sees_what_is_redacted() -> None:
    rules = [RedactConfig(field="password")]
    decoded = route(redact=rules, filter=f"password={SECRET}").decode(
        block_of([frame(password=SECRET)])
    )
    assert (decoded.records, decoded.filtered) == ([], 1)


def test_only_stored_records_are_counted_as_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [RedactConfig(field="password"), RedactConfig(pattern="boom")]
    decoder = route(redact=rules, filter="level>=ERROR")
    frames = [frame(password=SECRET, levelno=level) for level in (20, 40, 20)]
    decoded = decoder.decode(block_of(frames))
    assert (len(decoded.records), decoded.filtered) == (1, 2)
    assert decoded.redacted == {"password": 1}

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("fastlog.routing.patterns._texts", fail)
    decoded = decoder.decode(block_of([frame(password=SECRET, levelno=40, msg="boom")]))
    assert (decoded.records, decoded.redacted) == ([], {})


def test_no_bytes_of_a_rejected_frame_are_kept() -> None:
    decoded = redacted(
        SECRET.encode(), b'{"msg": "hunter2', frame(), rules=[RedactConfig(field="x")]
    )
    assert len(decoded.notices) == 2
    assert SECRET not in repr(decoded.notices)


def test_a_record_is_rejected_rather_than_stored_unredacted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder = route("lines", [RedactConfig(pattern=SECRET)])

    def fail(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("fastlog.routing.patterns._texts", fail)
    decoded = decoder.decode(block_of([frame(msg="a"), frame(msg="b", user=SECRET)]))
    assert [line["message"] for line in lines_of(decoded)] == ["a"]
    [(idx, notice, _)] = decoded.notices
    assert idx == 1
    assert re.fullmatch(r"redaction failed: RuntimeError in .+\.py, line \d+", notice.reason)
    assert SECRET not in repr(notice)
