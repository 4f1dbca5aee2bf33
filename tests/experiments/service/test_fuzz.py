"""Whatever is sent: no answer is a failure of the service, and each is as the schema says.

SAGESCOPE_FUZZ sets how many requests of each kind are made; the slow test makes many.
"""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sagescope.experiments.service.schema import schema

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
FEW = int(os.environ.get("SAGESCOPE_FUZZ", "5"))
OPERATIONS = {
    found.ok().label: found.ok()
    for found in schemathesis.openapi.from_dict(schema()).get_all_operations()
}
WITH_INPUT = [label for label, one in OPERATIONS.items() if one.body or one.query]


def fuzz(label: str, mode: GenerationMode, url: str, examples: int) -> None:
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    def ask(case):
        answer = case.call_and_validate(base_url=url, checks=CHECKS)
        if answer.status_code >= 400:
            assert answer.json()["error"].strip()

    ask()


@pytest.mark.parametrize("label", OPERATIONS)
def test_requests_that_fit_the_schema(label, service, remote):
    _ = remote.evidence
    fuzz(label, GenerationMode.POSITIVE, service.url, FEW)


@pytest.mark.parametrize("label", WITH_INPUT)
def test_requests_that_do_not(label, service):
    fuzz(label, GenerationMode.NEGATIVE, service.url, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("label", WITH_INPUT)
def test_many_requests(label, mode, service, remote):
    _ = remote.evidence
    fuzz(label, mode, service.url, 200)
