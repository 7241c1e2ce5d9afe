"""The description of the API."""

from __future__ import annotations

import pytest
import schemathesis
from helpers.web_server import serving
from hypothesis import given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from openunmix.web.server.settings import Settings

OPERATIONS = [
    ("GET", "/api/health"),
    ("GET", "/api/models"),
    ("GET", "/api/jobs"),
    ("POST", "/api/jobs"),
    ("GET", "/api/jobs/{job_id}"),
    ("DELETE", "/api/jobs/{job_id}"),
    ("GET", "/api/jobs/{job_id}/result.zip"),
    ("GET", "/api/jobs/{job_id}/result.stem.mp4"),
    ("GET", "/api/jobs/{job_id}/files/{target}"),
]


@pytest.fixture(scope="module")
def api_schema(tmp_path_factory):
    with serving(Settings(tmp_path_factory.mktemp("api") / "data")) as client:
        yield schemathesis.openapi.from_url(f"{client.base_url}/api/openapi.json")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_api_does_what_its_description_says(method, path, api_schema):
    @settings(max_examples=10, deadline=None, database=None)
    @given(case=api_schema[path][method].as_strategy())
    def check(case):
        # A schema cannot say that a file has to be audio.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()


def test_all_of_the_api_is_described(api_schema):
    described = [
        (result.ok().method.upper(), result.ok().path) for result in api_schema.get_all_operations()
    ]
    assert sorted(described) == sorted([*OPERATIONS, ("GET", "/api/events")])  # which never ends
