"""A `Failure` in LiveKit's family of errors."""

from __future__ import annotations

from livekit.agents import APIConnectionError, APIError, APIStatusError

from .errors import Failure, Kind


def to_api_error(failure: Failure) -> APIError:
    """A failure in LiveKit's family of errors: the message is its whole sentence, `body` the failure itself."""
    retryable = failure.kind is not Kind.FATAL
    if failure.http_status is not None:
        refused = APIStatusError(
            failure.sentence(),
            status_code=failure.http_status,
            request_id=failure.request_id or None,
            body=failure,
        )
        refused.retryable = retryable  # newer versions take every 4xx for final, also where the next key may be another
        return refused
    if failure.kind is Kind.RECONNECT:
        error = APIConnectionError(failure.sentence(), retryable=retryable)
        error.body = failure
        return error
    return APIError(failure.sentence(), body=failure, retryable=retryable)
