"""The API under fire: schemathesis sends what the OpenAPI document allows, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from day_files import make_record
from web_sites import Site, make_store, numbered, serving

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")
schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
hypothesis = pytest.importorskip("hypothesis")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    records = [
        *numbered(40),
        make_record(40, message="<b>\ud7ff\uffff\u2028", name="\x1b[31m"),
        make_record(50, extra=json.dumps({"__proto__": {"a": 1}, "constructor": 2, "": 3})),
    ]
    with serving(make_store(tmp_path_factory.mktemp("store"), records)) as site:
        yield site


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, methods in document["paths"].items():
        for method in methods:
            yield path, method


def test_the_api_answers_as_it_is_described(site: Site):
    document = site.get("/openapi.json")
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=site.url)
    seen = set()
    for path, method in operations(document):
        if path.endswith("/tail"):
            continue  # it does not end
        operation = schema[path][method.upper()]

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=25, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        def answers_as_described(case: Any) -> None:
            response = case.call()
            assert response.status_code < 500 or response.status_code == 503, response.text
            # whether a text is a query, a time or a cursor is not said by a schema
            case.validate_response(response, excluded_checks=[checks.positive_data_acceptance])

        answers_as_described()
        seen.add(path)
    assert len(seen) >= 10
