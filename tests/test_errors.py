"""What each failure is taken for, which words it carries, and that no key gets into them."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import json
import socket
import ssl
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.errors import Failure, Kind
from livekit_plugins_openai_ga.failures import CLOSE_CODES, FAILURES, HTTP_STATUSES, Row

BENIGN, REQUEST, REPLY = Kind.BENIGN, Kind.REQUEST_FAILED, Kind.REPLY_FAILED
RECONNECT, FATAL = Kind.RECONNECT, Kind.FATAL
INVALID = "invalid_request_error"

# (code, type, message) as captured from the server, and what it is.
SERVER_ERRORS: list[tuple[str | None, str | None, str, Kind]] = [
    ("invalid_api_key", INVALID, "Incorrect API key provided: sk-x.", FATAL),
    (None, INVALID, "Missing bearer or basic authentication in header", FATAL),
    ("invalid_model", INVALID, 'Model "x" is not supported in realtime mode.', FATAL),
    ("model_not_found", INVALID, "The model `x` does not exist.", FATAL),
    ("missing_model", INVALID, "You must provide a model parameter.", FATAL),
    ("beta_api_shape_disabled", INVALID, "The Realtime Beta API is no longer supported.", FATAL),
    ("insufficient_quota", "insufficient_quota", "You exceeded your current quota.", FATAL),
    ("credit_balance_exhausted", "insufficient_quota", "No credits remaining.", FATAL),
    # The code changed while the type stayed (livekit/agents#7805).
    ("a_new_billing_code", "insufficient_quota", "No credits remaining.", FATAL),
    (None, "insufficient_quota", "", FATAL),
    ("insufficient_quota", None, "Cancellation failed: no credits", FATAL),
    ("account_deactivated", None, "", FATAL),
    ("billing_hard_limit_reached", None, "", FATAL),
    ("forbidden", None, "", FATAL),
    ("session_expired", INVALID, "Your session hit the maximum duration of 60 minutes.", RECONNECT),
    ("unknown_parameter", INVALID, "Unknown parameter: 'session.x'.", REQUEST),
    ("missing_required_parameter", INVALID, "Missing required parameter: 'session.type'.", REQUEST),
    ("invalid_value", INVALID, "Invalid value: 'breeze'.", REQUEST),
    ("invalid_type", INVALID, "Invalid type for 'session.x'.", REQUEST),
    ("invalid_parameter", INVALID, "Passing a transcription session update event ...", REQUEST),
    ("integer_below_min_value", INVALID, "Expected a value >= 24000", REQUEST),
    ("integer_above_max_value", INVALID, "", REQUEST),
    ("string_above_max_length", INVALID, "Invalid 'item.id': string too long.", REQUEST),
    ("invalid_json", INVALID, "Invalid event: failed to parse JSON value.", REQUEST),
    ("invalid_event", INVALID, "Expected a text WebSocket message.", REQUEST),
    ("cannot_update_voice", INVALID, "Cannot update a conversation's voice.", REQUEST),
    ("item_delete_invalid_item_id", INVALID, "Error deleting item.", REQUEST),
    ("item_retrieve_invalid_item_id", INVALID, "", REQUEST),
    ("item_truncate_invalid_item_id", INVALID, "", REQUEST),
    ("invalid_value", INVALID, "Item with item_id not found: x", REQUEST),
    ("audio_unintelligible", "transcription_error", "", REQUEST),
    ("brand_new_code", INVALID, "Something else.", REQUEST),
    (None, None, "", REQUEST),
    ("response_cancel_not_active", INVALID, "Cancellation failed: no active response found", BENIGN),
    (None, INVALID, "Cancellation failed: no active response found", BENIGN),
    ("invalid_value", INVALID, "Audio content of 1000ms is already shorter than 1500ms", BENIGN),
    (None, INVALID, "Only model output audio messages can be truncated", BENIGN),
    ("unsupported_content_type", INVALID, "Only model output audio messages can be truncated", BENIGN),
    ("input_audio_buffer_commit_empty", INVALID, "Error committing input audio buffer.", BENIGN),
    ("item_create_duplicate_item_id", INVALID, "Error adding item.", BENIGN),
    ("conversation_already_has_active_response", INVALID, "Conversation already has ...", REPLY),
    ("server_error", "server_error", "The server had an error.", REPLY),
    (None, "server_error", "The server had an error.", REPLY),
    ("rate_limit_exceeded", "tokens", "Rate limit reached.", REPLY),
    ("inference_rate_limit_exceeded", None, "", REPLY),
    ("slow_down", None, "", REPLY),
    ("server_is_overloaded", None, "", REPLY),
]


@pytest.mark.parametrize(("code", "error_type", "message", "kind"), SERVER_ERRORS)
def test_server_errors(code: str | None, error_type: str | None, message: str, kind: Kind) -> None:
    failure = errors.from_server_error(code, error_type, message)
    assert failure.kind is kind
    assert (failure.code, failure.error_type) == (code or "", error_type or "")


def test_a_server_error_keeps_what_the_server_said() -> None:
    failure = errors.from_server_error(
        "unknown_parameter", INVALID, "Unknown parameter: 'session.x'.", param="session.x", client_event_id="e1"
    )
    assert (failure.message, failure.param, failure.client_event_id) == (
        "Unknown parameter: 'session.x'.",
        "session.x",
        "e1",
    )


def server_error(code: str | None, error_type: str = INVALID, message: str = "Said the server.") -> Failure:
    return errors.from_server_error(code, error_type, message)


# close code, reason, the error before -> kind and code
CLOSES: list[tuple[int | None, str, Failure | None, Kind, str]] = [
    *[(code, "", None, RECONNECT, f"close_{code}") for code in (1000, 1001, 1005, 1006, 1009, 1011, 1012, 1013, 1015)],
    (None, "", None, RECONNECT, "close_1006"),
    (4321, "", None, RECONNECT, "close_4321"),
    (1011, "keepalive ping timeout", None, RECONNECT, "close_1011"),
    (1008, "", None, FATAL, "close_1008"),
    (3000, "", None, FATAL, "close_3000"),
    (4000, "", None, FATAL, "close_4000"),
    # The reason alone names the error.
    (3000, "invalid_request_error.invalid_api_key", None, FATAL, "invalid_api_key"),
    (3000, "invalid_request_error", None, FATAL, "close_3000"),
    (4000, "invalid_request_error.invalid_model", None, FATAL, "invalid_model"),
    (4000, "invalid_request_error.brand_new", None, FATAL, "brand_new"),
    (1001, "Your session hit the maximum duration of 60 minutes.", None, RECONNECT, "session_expired"),
    (1000, "insufficient_quota.credit_balance_exhausted", None, FATAL, "credit_balance_exhausted"),
    (1000, "insufficient_quota", None, FATAL, "insufficient_quota"),
    (1000, "bye", None, RECONNECT, "close_1000"),
    # The error before the close says more than the close.
    (4000, "invalid_request_error.invalid_model", server_error("invalid_model"), FATAL, "invalid_model"),
    (4000, "", server_error("brand_new"), FATAL, "brand_new"),
    (3000, "invalid_request_error", server_error(None), FATAL, "close_3000"),
    (1006, "", server_error("insufficient_quota"), FATAL, "insufficient_quota"),
    (1001, "", server_error("session_expired"), RECONNECT, "session_expired"),
    (4000, "", server_error("session_expired"), RECONNECT, "session_expired"),
    (1011, "", server_error("server_error", "server_error"), RECONNECT, "server_error"),
    (4000, "", server_error("rate_limit_exceeded", "tokens"), RECONNECT, "rate_limit_exceeded"),
    (1006, "", server_error("unknown_parameter"), RECONNECT, "unknown_parameter"),
    (
        1006,
        "",
        server_error("conversation_already_has_active_response"),
        RECONNECT,
        "conversation_already_has_active_response",
    ),
    # The reason names another error than the one before.
    (
        1001,
        "Your session hit the maximum duration of 60 minutes.",
        server_error("unknown_parameter"),
        RECONNECT,
        "session_expired",
    ),
    (4000, "invalid_request_error.invalid_model", server_error("unknown_parameter"), FATAL, "invalid_model"),
    # A harmless error explains nothing.
    (1006, "", server_error("response_cancel_not_active"), RECONNECT, "close_1006"),
    (4000, "", server_error("input_audio_buffer_commit_empty"), FATAL, "close_4000"),
]


@pytest.mark.parametrize(("close_code", "reason", "last_error", "kind", "code"), CLOSES)
def test_closes(close_code: int | None, reason: str, last_error: Failure | None, kind: Kind, code: str) -> None:
    failure = errors.from_close(close_code, reason, last_error=last_error)
    assert (failure.kind, failure.code, failure.close_code) == (kind, code, close_code)
    assert failure.meaning
    assert failure.remedy


def test_a_close_keeps_the_message_of_the_error_before() -> None:
    last = errors.from_server_error("invalid_model", INVALID, "No such model.", param="model", client_event_id="e1")
    failure = errors.from_close(4000, "invalid_request_error.invalid_model", last_error=last)
    assert (failure.message, failure.param, failure.client_event_id) == ("No such model.", "model", "e1")
    assert failure.meaning == FAILURES["invalid_model"].meaning


def test_a_close_without_an_error_keeps_its_reason() -> None:
    assert errors.from_close(1011, "keepalive ping timeout").message == "keepalive ping timeout"


def test_a_reason_that_only_repeats_the_code_is_not_a_message() -> None:
    assert errors.from_close(4000, "invalid_request_error.invalid_model").message == ""


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1005, 1006, 1008, 1009, 1011, 1012, 1013, 1014, 1015, 3000, 3003, 4000]
)
def test_each_usual_close_code_is_explained(code: int) -> None:
    assert errors.from_close(code, "").meaning != errors.from_close(4999, "").meaning


def test_a_close_with_an_unknown_error_is_explained_by_the_close_code() -> None:
    failure = errors.from_close(4000, "", last_error=server_error("brand_new"))
    assert (failure.meaning, failure.remedy) == (CLOSE_CODES[4000].meaning, CLOSE_CODES[4000].remedy)


def test_a_failure_that_a_caller_made_fatal_stays_fatal_and_keeps_its_words() -> None:
    last = dataclasses.replace(server_error("brand_new"), kind=FATAL, meaning="Ours.", remedy="Do it.")
    failure = errors.from_close(1006, "", last_error=last)
    assert (failure.kind, failure.meaning, failure.remedy) == (FATAL, "Ours.", "Do it.")


@pytest.mark.parametrize(
    ("last_error", "kind"),
    [
        (server_error("unknown_parameter"), FATAL),
        (server_error("brand_new"), FATAL),
        (server_error("server_error", "server_error"), RECONNECT),
        (server_error("brand_new", "gateway"), RECONNECT),
        (None, RECONNECT),
    ],
)
def test_a_refusal_before_the_session_is_configured_would_repeat_for_ever(
    last_error: Failure | None, kind: Kind
) -> None:
    assert errors.from_close(1006, "", last_error=last_error, connecting=True).kind is kind


def body(code: Any = None, message: str = "Said the server.", error_type: str = INVALID) -> str:
    return json.dumps({"error": {"message": message, "type": error_type, "param": None, "code": code}})


HTTP: list[tuple[int, str, Kind, str, str]] = [
    (400, body("invalid_value"), FATAL, "invalid_value", "Said the server."),
    (401, body("invalid_api_key"), FATAL, "invalid_api_key", "Said the server."),
    (401, body("401"), FATAL, "http_401", "Said the server."),
    (401, "", FATAL, "http_401", ""),
    (401, body("server_error"), FATAL, "server_error", "Said the server."),
    (403, body(None), FATAL, "http_403", "Said the server."),
    (404, '{"detail":"Not Found"}', FATAL, "http_404", "Not Found"),
    (404, "<html><body>nope</body></html>", FATAL, "http_404", ""),
    (418, "short\n and stout", FATAL, "http_418", "short and stout"),
    (426, "", FATAL, "http_426", ""),
    (200, "ok", FATAL, "http_200", "ok"),
    (301, "", FATAL, "http_301", ""),
    (408, "", RECONNECT, "http_408", ""),
    (429, body("rate_limit_exceeded"), RECONNECT, "rate_limit_exceeded", "Said the server."),
    (429, body("slow_down"), RECONNECT, "slow_down", "Said the server."),
    # dotdevdotdev/agentwire-dev#1037: a 429 hid "no credits remaining".
    (429, body("insufficient_quota"), FATAL, "insufficient_quota", "Said the server."),
    (429, body(None, error_type="insufficient_quota"), FATAL, "insufficient_quota", "Said the server."),
    (499, "", RECONNECT, "http_499", ""),
    (500, "", RECONNECT, "http_500", ""),
    (502, '{"error":"upstream is down"}', RECONNECT, "http_502", "upstream is down"),
    (503, body("server_is_overloaded"), RECONNECT, "server_is_overloaded", "Said the server."),
    (504, "[]", RECONNECT, "http_504", ""),
    (529, "null", RECONNECT, "http_529", ""),
]


@pytest.mark.parametrize(("status", "text", "kind", "code", "message"), HTTP)
def test_http_answers(status: int, text: str, kind: Kind, code: str, message: str) -> None:
    failure = errors.from_http(status, body=text, retry_after=2.5, request_id="req_1")
    assert (failure.kind, failure.code, failure.message) == (kind, code, message)
    assert (failure.http_status, failure.retry_after, failure.request_id) == (status, 2.5, "req_1")


def test_a_refused_request_says_which_parameter_and_what_to_do() -> None:
    told = {"message": "Unknown parameter: 'session.x'.", "code": "unknown_parameter", "param": "session.x"}
    failure = errors.from_http(400, body=json.dumps({"error": told}))
    assert (failure.kind, failure.param) == (FATAL, "session.x")
    assert failure.remedy == errors.from_server_error("unknown_parameter", None, None).remedy
    assert errors.from_http(500, body=json.dumps({"error": told})).remedy == errors.from_http(500).remedy
    assert errors.from_http(400, body=json.dumps({"error": {**told, "param": ["x"]}})).param is None


def test_a_long_body_is_cut() -> None:
    assert len(errors.from_http(500, body="x " * 5000).message) <= 500


def caused(outer: BaseException, cause: BaseException) -> BaseException:
    outer.__cause__ = cause
    return outer


EXCEPTIONS: list[tuple[BaseException, Kind, str]] = [
    (ssl.SSLCertVerificationError("certificate verify failed"), FATAL, "bad_certificate"),
    (ssl.SSLError("wrong version number"), RECONNECT, "tls_failure"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), RECONNECT, "host_not_found"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), RECONNECT, "connection_refused"),
    (ConnectionResetError(), RECONNECT, "connection_lost"),
    (EOFError(), RECONNECT, "connection_lost"),
    (asyncio.IncompleteReadError(b"", 1), RECONNECT, "connection_lost"),
    (TimeoutError(), RECONNECT, "timeout"),
    (asyncio.TimeoutError(), RECONNECT, "timeout"),
    # asyncio.TimeoutError as it is on Python 3.10.
    (type("TimeoutError", (Exception,), {})(), RECONNECT, "timeout"),
    (OSError(errno.ENETUNREACH, "Network is unreachable"), RECONNECT, "network_error"),
    # websockets raises InvalidMessage from the EOFError of a server that hangs up in the handshake.
    (caused(Exception("did not receive a valid HTTP response"), EOFError()), RECONNECT, "connection_lost"),
    (caused(Exception(), ssl.SSLCertVerificationError()), FATAL, "bad_certificate"),
    (TypeError("a bug"), FATAL, "unexpected_error"),
]


@pytest.mark.parametrize(("exc", "kind", "code"), EXCEPTIONS)
def test_exceptions(exc: BaseException, kind: Kind, code: str) -> None:
    failure = errors.from_exception(exc)
    assert (failure.kind, failure.code) == (kind, code)
    assert failure.message


def test_an_exception_that_causes_itself_ends() -> None:
    first, second = Exception("a"), Exception("b")
    first.__cause__, second.__cause__ = second, first
    assert errors.from_exception(first).code == "unexpected_error"


def test_the_sentence_reads_from_code_to_remedy() -> None:
    failure = Failure(FATAL, "invalid_model", "No such model", "It is wrong.", "Set `model`.", param="model_x")
    assert failure.sentence() == ("invalid_model: No such model. Parameter: model_x. It is wrong. Set `model`.")
    assert str(failure) == failure.sentence()


def test_the_sentence_ends_with_the_ids_for_support() -> None:
    failure = errors.from_close(1011, "")
    assert replace(failure, session_id="sess_1").sentence().endswith(" (session sess_1)")
    assert (
        replace(failure, session_id="sess_1", request_id="req_2")
        .sentence()
        .endswith(" (session sess_1, request req_2)")
    )
    assert "(" not in failure.sentence()


@pytest.mark.parametrize("error", [None, errors.from_server_error("session_expired", INVALID, "Over.")])
def test_the_reason_of_a_close_is_kept_without_keys(error: Failure | None) -> None:
    failure = errors.from_close(1001, "gone with sk-proj-abcdefghijklmnop1234567890", last_error=error)
    assert failure.close_reason == "gone with [redacted]"


def test_the_fields_for_a_log_are_those_that_are_known_and_no_text() -> None:
    failure = replace(
        errors.from_close(1011, "server_error"), message="private", session_id="sess_1", model="m", attempt=2
    )
    assert failure.fields() == {
        "code": failure.code,
        "close_code": 1011,
        "close_reason": "server_error",
        "session_id": "sess_1",
        "model": "m",
        "attempt": 2,
    }


def test_the_sentence_does_not_repeat_a_parameter_that_the_message_names() -> None:
    failure = errors.from_server_error(
        "unknown_parameter", INVALID, "Unknown parameter: 'session.x'.", param="session.x"
    )
    assert failure.sentence().count("session.x") == 1


def test_the_sentence_without_code_begins_with_the_type_or_the_message() -> None:
    assert errors.from_server_error(None, "gateway", "Odd.").sentence().startswith("gateway: Odd. ")
    assert errors.from_server_error(None, None, "Odd.").sentence().startswith("Odd. ")


def test_the_remedy_for_the_beta_names_header_and_gateway() -> None:
    assert FAILURES["beta_api_shape_disabled"].remedy == (
        "Remove the `OpenAI-Beta: realtime=v1` header; if a proxy or gateway adds it, update it."
    )


@pytest.mark.parametrize("row", [*FAILURES.values(), *CLOSE_CODES.values(), *HTTP_STATUSES.values()])
def test_every_row_has_a_meaning_and_a_remedy_in_a_sentence(row: Row) -> None:
    for sentence in (row.meaning, row.remedy):
        assert sentence[0].isupper()
        assert sentence.endswith(".")


SECRETS = [
    "sk-proj-abc123DEF",
    "sk-svcacct-***************4x2Q",
    "ek_68af296e8e408191a1120ab6383263c5",
    "eyJhbGciOiJSUzI1.eyJhdWQiOiJo.c2ln",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: {}. You can find your API key at https://platform.openai.com.",
        "key {}",
        "bad key '{}', try again",
        "Authorization: Bearer {}",
        "sent bearer {}.",
        "wss://gw/v1/realtime?api-key={}&x=1",
        "openai-insecure-api-key.{}",
    ],
)
def test_no_failure_holds_a_key(text: str, secret: str) -> None:
    message = text.format(secret)
    for failure in (
        errors.from_server_error("invalid_api_key", INVALID, message),
        errors.from_close(3000, message),
        errors.from_http(401, body=json.dumps({"error": {"message": message}})),
        errors.from_http(401, body=message),
        errors.from_exception(OSError(message)),
        dataclasses.replace(server_error("x"), message=message),
    ):
        assert secret not in repr(failure)
        assert secret not in failure.sentence()
        assert "[redacted]" in failure.message


words = st.one_of(st.none(), st.text(max_size=30), st.sampled_from(sorted(FAILURES)))


@given(code=words, error_type=words, message=words, close=st.integers(0, 5000), connecting=st.booleans())
def test_anything_the_server_says_gives_a_failure(
    code: str | None, error_type: str | None, message: str | None, close: int, connecting: bool
) -> None:
    error = errors.from_server_error(code, error_type, message)
    closed = errors.from_close(close, message or "", last_error=error, connecting=connecting)
    # A close is never something to shrug off.
    assert closed.kind in (RECONNECT, FATAL)
    assert error.sentence()
    assert closed.sentence()


@given(status=st.integers(0, 999), text=st.one_of(st.text(), st.just("{"), st.just('{"error":{"code":1}}')))
def test_any_http_answer_gives_a_failure(status: int, text: str) -> None:
    assert errors.from_http(status, body=text).kind in (RECONNECT, FATAL)


@pytest.mark.parametrize("code", [1000, 1005])
def test_a_clean_close_ends_a_call_and_asks_for_a_new_connection_elsewhere(code: int) -> None:
    assert errors.from_close(code, "", of_call=True).kind is Kind.FATAL
    assert "call is over" in errors.from_close(code, "", of_call=True).sentence()
    assert errors.from_close(code, "").kind is Kind.RECONNECT
    refused = errors.from_server_error("invalid_value", None, "No.")
    assert errors.from_close(code, "", last_error=refused, of_call=True).code == f"close_{code}"
    broke = errors.from_server_error("insufficient_quota", None, "No credit.")
    assert errors.from_close(code, "", last_error=broke, of_call=True).code == "insufficient_quota"
    assert errors.from_close(1006, "", of_call=True) == errors.from_close(1006, "")


def test_a_call_that_is_not_there_may_be_there_soon() -> None:
    body = '{"error": {"code": "call_id_not_found", "message": "No session found."}}'
    for failure in (errors.from_http(404, of_call=True), errors.from_http(404, body=body, of_call=True)):
        assert failure.kind is Kind.RECONNECT
        assert "`call_id` of a call that goes on" in failure.remedy
    assert errors.from_http(404).kind is Kind.FATAL
    assert errors.from_http(401, of_call=True) == errors.from_http(401)
