"""Every kind of failure as the error LiveKit expects."""

from __future__ import annotations

from dataclasses import replace

import pytest
from livekit.agents import APIConnectionError, APIError, APIStatusError

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.api_errors import to_api_error


@pytest.mark.parametrize(
    ("failure", "error_type", "retryable"),
    [
        (errors.from_http(401, body='{"error": {"message": "No."}}', request_id="req_1"), APIStatusError, False),
        (errors.from_http(503), APIStatusError, True),
        (replace(errors.from_http(401), kind=errors.Kind.RECONNECT), APIStatusError, True),
        (errors.from_close(1006, ""), APIConnectionError, True),
        (errors.from_exception(ConnectionRefusedError()), APIConnectionError, True),
        (errors.from_server_error("invalid_model", None, "No such model."), APIError, False),
        (errors.from_server_error("unknown_parameter", None, "Unknown.", param="session.x"), APIError, True),
    ],
)
def test_a_failure_becomes_the_error_livekit_expects(
    failure: errors.Failure, error_type: type[APIError], retryable: bool
) -> None:
    error = to_api_error(failure)
    assert type(error) is error_type
    assert error.retryable is retryable
    assert error.body is failure
    assert error.message == failure.sentence()


def test_an_http_failure_carries_status_and_request_id() -> None:
    error = to_api_error(errors.from_http(401, request_id="req_1"))
    assert isinstance(error, APIStatusError)
    assert (error.status_code, error.request_id) == (401, "req_1")
