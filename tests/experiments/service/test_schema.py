"""The committed schema is that of the service."""

import json
from pathlib import Path

from sagescope.experiments.service.schema import schema

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"


def test_the_committed_schema_is_the_services():
    assert json.loads(COMMITTED.read_text("utf-8")) == schema(), (
        "write it again: python -m sagescope.experiments.service.schema > docs/openapi.json"
    )


def test_every_endpoint_is_versioned_and_says_what_it_does():
    paths = schema()["paths"]
    assert [path for path in paths if not path.startswith("/v1/")] == ["/metrics"]
    for path, methods in paths.items():
        for operation in methods.values():
            assert operation["description"].strip(), path


def test_every_request_has_an_example():
    found = schema()
    for path, methods in found["paths"].items():
        for operation in methods.values():
            if body := operation.get("requestBody"):
                name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert found["components"]["schemas"][name]["examples"], path
