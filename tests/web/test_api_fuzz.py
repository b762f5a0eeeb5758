"""The API under fire: schemathesis sends what the OpenAPI document allows, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from day_files import make_record
from web_sites import Site, make_store, numbered, serving

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")
schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
hypothesis = pytest.importorskip("hypothesis")


EXAMPLES = hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,  # the same requests in each run
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    suppress_health_check=list(hypothesis.HealthCheck),
)
NEGATIVE = schemathesis.GenerationMode.NEGATIVE
TOKEN = "0123456789abcdef0123456789abcdef"
WRONG = ("", "Bearer", "Bearer x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", f"Bearer {TOKEN}0")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [
        *numbered(40),
        make_record(40, message="<b>\ud7ff\uffff\u2028", name="\x1b[31m"),
        make_record(50, extra=json.dumps({"__proto__": {"a": 1}, "constructor": 2, "": 3})),
    ]
    return make_store(tmp_path_factory.mktemp("store"), records)


@pytest.fixture(scope="module")
def site(store: Path) -> Iterator[Site]:
    with serving(store) as site:
        yield site


@pytest.fixture(scope="module")
def protected(store: Path) -> Iterator[Site]:
    with serving(store, config=f'[web]\ntokens = ["fuzz:{TOKEN}"]\n') as site:
        yield site


def operations(site: Site) -> Iterator[Any]:
    """Yield the operations of the API. The tail does not end, so it is not one."""
    document = site.get("/openapi.json")
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=site.url)
    for path, methods in document["paths"].items():
        for method in methods:
            if not path.endswith("/tail"):
                yield schema[path][method.upper()]


def test_the_api_answers_as_it_is_described(site: Site):
    seen = 0
    for operation in operations(site):

        @hypothesis.given(case=operation.as_strategy())
        @EXAMPLES
        def answers_as_described(case: Any) -> None:
            response = case.call()
            assert response.status_code < 500, response.text
            # whether a text is a query, a time or a cursor is not said by a schema
            case.validate_response(response, excluded_checks=[checks.positive_data_acceptance])

        answers_as_described()
        seen += 1
    assert seen >= 12


def test_what_does_not_fit_the_description_is_no_error_of_the_server(site: Site):
    for operation in operations(site):
        if operation.method.upper() == "GET" and not operation.query:
            continue  # it takes nothing that could be wrong

        @hypothesis.given(case=operation.as_strategy(generation_mode=NEGATIVE))
        @hypothesis.settings(EXAMPLES, max_examples=8)
        def no_error(case: Any) -> None:
            response = case.call()
            assert response.status_code < 500, response.text

        no_error()


def test_without_a_token_every_protected_operation_is_refused(protected: Site):
    """Whatever else a request says, and however its token is wrong."""
    seen = 0
    for operation in operations(protected):
        if operation.path.endswith(("/openapi.json", "/session", "/login", "/logout")):
            continue
        headers = {"authorization": hypothesis.strategies.sampled_from(WRONG)}

        @hypothesis.given(case=operation.as_strategy(), **headers)
        @hypothesis.settings(EXAMPLES, max_examples=8)
        def is_refused(case: Any, authorization: str) -> None:
            response = case.call(headers={"Authorization": authorization} if authorization else {})
            assert response.status_code == 401, response.text
            assert response.json()["error"]["message"]
            assert "message 1" not in response.text, "no record is told"

        is_refused()
        seen += 1
    assert seen >= 8
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert protected.ask("/records", headers=right).status == 200
    assert protected.ask("/tail", headers={}).status == 401
