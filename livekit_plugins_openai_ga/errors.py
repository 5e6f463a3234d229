"""One table of failures: what each one means, what happens next, and what the user can do about it.

OpenAI checks the key and the model only after the WebSocket is open, reports most refusals as `error` events
that leave the session alive, and closes with a code when they do not. So a failure may arrive as an error event,
a close frame, an HTTP status or an exception. Each of the four `from_*` functions turns one of those into a
`Failure`; the caller acts on `Failure.kind` and shows `Failure.sentence()`.
"""

from __future__ import annotations

import enum
import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from .redaction import redact


class Kind(enum.Enum):
    """What happens next."""

    BENIGN = "benign"
    """A harmless race. Log it at debug level."""
    REQUEST_FAILED = "request failed"
    """The server refused one client event. The session goes on as it was."""
    REPLY_FAILED = "reply failed"
    """One reply ended without a result. The session goes on; asking again may work."""
    RECONNECT = "reconnect"
    """The connection is gone. A new one, within the retry budget, may work."""
    FATAL = "fatal"
    """No retry can succeed until somebody changes something."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table of failures.

    Attributes:
        kind: What happens next.
        meaning: What it means, one sentence.
        remedy: What to do, one sentence.
        on_close: The kind when the server closes right after the error; None: the close code decides.
    """

    kind: Kind
    meaning: str
    remedy: str
    on_close: Kind | None = None


def _benign(meaning: str) -> Row:
    return Row(Kind.BENIGN, meaning, "Nothing needs to be done.")


def _request(meaning: str, remedy: str) -> Row:
    return Row(Kind.REQUEST_FAILED, meaning, remedy)


def _reply(meaning: str, remedy: str) -> Row:
    # These pass with time, so a close that follows them is worth a new connection (livekit/agents#4617).
    return Row(Kind.REPLY_FAILED, meaning, remedy, Kind.RECONNECT)


def _reconnect(meaning: str, remedy: str) -> Row:
    return Row(Kind.RECONNECT, meaning, remedy, Kind.RECONNECT)


def _fatal(meaning: str, remedy: str) -> Row:
    return Row(Kind.FATAL, meaning, remedy, Kind.FATAL)


_BILLING = "Add credit or raise the limit at https://platform.openai.com/settings/organization/billing."
_KEY = "Set OPENAI_API_KEY, or `api_key`, to a valid key of the right project."
_ACCESS = "Give the key access in the OpenAI project's settings, or use another key."
_MODEL = "Set `model` to one that this key may use here, such as gpt-realtime-2.1."
_BETA = "Remove the `OpenAI-Beta: realtime=v1` header; if a proxy or gateway adds it, update it."
_VALUE = "Change the named parameter to an accepted value."
_SUPPORTED = "Remove the named parameter, or choose a model that supports it."
_VOICE = "Set `voice` before the first reply, or open a new session."
_ITEM_ID = "Use the id of an item that is still in the conversation."
_SPEECH = "Check the caller's audio, the language and the transcription model."
_MCP = "Check the address, credentials and logs of the MCP server."
_STATUS_PAGE = "Try again; if it stays, check https://status.openai.com."
_SLOWER = "Open fewer sessions at once, or ask OpenAI for a higher limit."
_NETWORK = "A new connection is tried; if this repeats, check the network and any proxy."
_SIZE = "Send smaller images or items; if a gateway is used, raise its message limit."
_CONNECTION = "Correct the model, the key and the endpoint, then start again."
_ADDRESS = "Check `base_url`, which usually ends in /v1, and any proxy before it."
_CERTIFICATE = "Check `base_url` and the clock; if a proxy inspects TLS, install its certificate."

_TOO_SMALL = _request("A number is too small.", "Raise the named parameter.")
_TOO_LARGE = _request("A number is too large.", "Lower the named parameter.")
_TOO_LONG = _request("A value is too long.", "Shorten the named parameter.")
_NO_ITEM = _request("There is no such item.", _ITEM_ID)
_NOT_UNDERSTOOD = _request("The speech could not be transcribed.", _SPEECH)
_RATE_LIMIT = _reply("The account's rate limit is reached.", _SLOWER)

FAILURES: Mapping[str, Row] = MappingProxyType(
    {
        # Credentials and billing come as `code` or as `type` (livekit/agents#6352, #7805).
        "invalid_api_key": _fatal("The API key is wrong.", _KEY),
        "missing_authentication": _fatal("The connection carried no API key.", _KEY),
        "account_deactivated": _fatal("The account is deactivated.", "Ask OpenAI support, or use another key."),
        "insufficient_quota": _fatal("The account has no quota left.", _BILLING),
        "credit_balance_exhausted": _fatal("The account has no credit left.", _BILLING),
        "billing_hard_limit_reached": _fatal("The account's spending limit is reached.", _BILLING),
        "billing_not_active": _fatal("Billing is not active for the account.", _BILLING),
        "forbidden": _fatal("The key is not allowed to do this.", _ACCESS),
        "missing_scope": _fatal("The key lacks a permission.", _ACCESS),
        "unsupported_country_region_territory": _fatal(
            "OpenAI does not serve this region.", "Run the agent in a supported country."
        ),
        # The shape of the connection.
        "invalid_model": _fatal("This kind of session cannot use the model.", _MODEL),
        "model_not_found": _fatal("The model does not exist, or the key has no access to it.", _MODEL),
        "missing_model": _fatal("The connection named no model.", _MODEL),
        "beta_api_shape_disabled": _fatal("OpenAI has shut down the beta Realtime API.", _BETA),
        "session_expired": _reconnect("The session reached its maximum duration.", "A new session is opened."),
        # Refused client events: the whole event is dropped and the earlier state stays.
        "unknown_parameter": _request("The server does not know a parameter.", _SUPPORTED),
        "missing_required_parameter": _request("A parameter is missing.", "Set the named parameter."),
        "invalid_value": _request("The server does not accept a value.", _VALUE),
        "invalid_type": _request("A value has the wrong type.", _VALUE),
        "invalid_parameter": _request("This kind of session does not take this change.", "Open a new session."),
        "integer_below_min_value": _TOO_SMALL,
        "decimal_below_min_value": _TOO_SMALL,
        "integer_above_max_value": _TOO_LARGE,
        "decimal_above_max_value": _TOO_LARGE,
        "string_above_max_length": _TOO_LONG,
        "array_above_max_length": _TOO_LONG,
        "invalid_json": _request("The event was not valid JSON.", "Check what changes the frames on their way."),
        "invalid_event": _request("The server takes only text frames.", "Send events as text frames."),
        "cannot_update_voice": _request("The session has spoken, so its voice is fixed.", _VOICE),
        "item_delete_invalid_item_id": _NO_ITEM,
        "item_retrieve_invalid_item_id": _NO_ITEM,
        "item_truncate_invalid_item_id": _NO_ITEM,
        "audio_unintelligible": _NOT_UNDERSTOOD,
        "transcription_error": _NOT_UNDERSTOOD,
        "protocol_error": _request("The MCP server answered with a protocol error.", _MCP),
        "tool_execution_error": _request("A tool of the MCP server failed.", _MCP),
        "http_error": _request("The MCP server answered with an HTTP error.", _MCP),
        # Harmless races.
        "response_cancel_not_active": _benign("The reply had ended before it could be cancelled."),
        "input_audio_buffer_commit_empty": _benign("There was less than 100 ms of new audio to commit."),
        "item_create_duplicate_item_id": _benign("The item is already in the conversation."),
        "audio_already_shorter": _benign("The reply's audio ends before the point of truncation."),
        "nothing_to_truncate": _benign("The item has no audio to truncate."),
        # Failed replies.
        "conversation_already_has_active_response": Row(
            Kind.REPLY_FAILED, "Another reply was still in progress.", "Ask again when it has ended."
        ),
        "server_error": _reply("OpenAI had an internal error.", _STATUS_PAGE),
        "rate_limit_exceeded": _RATE_LIMIT,
        "rate_limit_error": _RATE_LIMIT,
        "inference_rate_limit_exceeded": _RATE_LIMIT,
        "slow_down": _reply("OpenAI asks for fewer requests.", _SLOWER),
        "server_is_overloaded": _reply("OpenAI is overloaded.", _STATUS_PAGE),
    }
)
"""Failures by the `code` or `type` of the server's error; some rows are reached by the message only."""

_UNKNOWN = _request("The server refused a request.", "Act on the server's message.")

# Where the code is null or varies, the sentence is the steadier sign (pipecat-ai/pipecat#3677, #3755).
_MESSAGES = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"^cancellation failed", "response_cancel_not_active"),
        (r"audio content of \d+\s?ms is already shorter", "audio_already_shorter"),
        (r"only model output audio messages can be truncated", "nothing_to_truncate"),
        (r"session hit the maximum duration", "session_expired"),
        (r"^missing bearer", "missing_authentication"),
        (r"^incorrect api key provided", "invalid_api_key"),
    )
)

CLOSE_CODES: Mapping[int, Row] = MappingProxyType(
    {
        1000: _reconnect("The server ended the session although nobody asked for it.", _NETWORK),
        1001: _reconnect("The server went away.", _NETWORK),
        1002: _reconnect("One side broke the WebSocket protocol.", _NETWORK),
        1005: _reconnect("The connection was closed without a reason.", _NETWORK),
        1006: _reconnect("The connection was lost without a goodbye.", _NETWORK),
        1008: _fatal("The server or a gateway refused the connection by its policy.", _CONNECTION),
        # A large echoed item is enough (openai/openai-agents-js#501).
        1009: _reconnect("A message was too large for one side.", _SIZE),
        1011: _reconnect("The server had an internal error or missed our pings.", _NETWORK),
        1012: _reconnect("The server restarts.", _NETWORK),
        1013: _reconnect("The server is overloaded.", _STATUS_PAGE),
        1014: _reconnect("A gateway could not reach the server behind it.", _NETWORK),
        1015: _reconnect("The TLS handshake failed.", _NETWORK),
        3000: _fatal("The server refused the credentials.", _KEY),
        3003: _fatal("The server refused access.", _ACCESS),
        4000: _fatal("The server refused the request.", _CONNECTION),
    }
)
"""What a close code means when no error code says more."""

_OTHER_CLOSE = _reconnect("The connection was closed with an unusual code.", _NETWORK)

HTTP_STATUSES: Mapping[int, Row] = MappingProxyType(
    {
        400: _fatal("The server refused the request as malformed.", _CONNECTION),
        401: _fatal("The server refused the credentials.", _KEY),
        403: _fatal("The key, or this region, has no access.", _ACCESS),
        404: _fatal("There is no Realtime API at this address, or no such model.", _ADDRESS),
        408: _reconnect("The server gave up waiting.", _NETWORK),
        425: _reconnect("The server asked to come again later.", _NETWORK),
        429: _reconnect("There were too many requests.", _SLOWER),
        499: _reconnect("A proxy gave up on the connection.", _NETWORK),
    }
)
"""What an HTTP answer to the WebSocket handshake means; other statuses go by their hundred."""

_HTTP_HUNDREDS: Mapping[int, Row] = MappingProxyType(
    {
        4: _fatal("The server refused the request.", _CONNECTION),
        5: _reconnect("The server or a gateway failed.", _STATUS_PAGE),
    }
)
_NOT_A_WEBSOCKET = _fatal("The address answers, but not as a WebSocket.", _ADDRESS)

_NO_ANSWER = _reconnect("The server did not answer in time.", _NETWORK)
_BROKEN = _reconnect("The connection broke.", _NETWORK)

# The first match counts, so subclasses come before their bases.
_EXCEPTIONS: tuple[tuple[type[BaseException], str, Row], ...] = (
    (ssl.SSLCertVerificationError, "bad_certificate", _fatal("The certificate is not trusted.", _CERTIFICATE)),
    (ssl.SSLError, "tls_failure", _reconnect("No encrypted connection could be made.", _ADDRESS)),
    (socket.gaierror, "host_not_found", _reconnect("The host name could not be resolved.", _ADDRESS)),
    (ConnectionRefusedError, "connection_refused", _reconnect("Nothing listens at the address.", _ADDRESS)),
    (TimeoutError, "timeout", _NO_ANSWER),
    (ConnectionError, "connection_lost", _BROKEN),
    (EOFError, "connection_lost", _BROKEN),
    (OSError, "network_error", _reconnect("The network failed.", _NETWORK)),
)
_UNEXPECTED = _fatal("Something failed that a retry cannot cure.", "Report it together with the traceback.")


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, ready to act on and to show. `message` never holds a key.

    Attributes:
        kind: What happens next.
        code: `invalid_model`, `close_1006`, `http_401`, `timeout`, ...; "" when the server gave none.
        message: The server's own sentence; may be "".
        meaning: What it means, one sentence.
        remedy: What to do, one sentence.
        param: Dotted name of the refused parameter.
        error_type: The server's `error.type`.
        client_event_id: Our event that the server refused.
        close_code: The WebSocket close code.
        http_status: The HTTP status of a refused handshake.
        retry_after: Seconds the server asked to wait.
        session_id: OpenAI's session id, for support.
        request_id: OpenAI's or the gateway's request id, for support.
    """

    kind: Kind
    code: str
    message: str
    meaning: str
    remedy: str
    param: str | None = None
    error_type: str = ""
    client_event_id: str | None = None
    close_code: int | None = None
    http_status: int | None = None
    retry_after: float | None = None
    session_id: str = ""
    request_id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", redact(self.message))

    def sentence(self) -> str:
        """Return code, message, parameter, meaning and remedy as one readable line."""
        parts = [self.message, self.meaning, self.remedy]
        if self.param and self.param not in self.message:
            parts.insert(1, f"Parameter: {self.param}.")
        text = " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part)
        label = self.code or self.error_type
        return f"{label}: {text}" if label else text

    __str__ = sentence


def from_server_error(
    code: str | None,
    error_type: str | None,
    message: str | None,
    *,
    param: str | None = None,
    client_event_id: str | None = None,
) -> Failure:
    """Return the failure for the body of an `error` event or of `response.status_details.error`.

    An unknown code is REQUEST_FAILED: an `error` alone never ends a session.
    """
    row = _match(code or "", error_type or "", message or "") or _UNKNOWN
    return Failure(
        row.kind,
        code or "",
        message or "",
        row.meaning,
        row.remedy,
        param=param,
        error_type=error_type or "",
        client_event_id=client_event_id,
    )


def from_close(
    close_code: int | None, reason: str, *, last_error: Failure | None = None, connecting: bool = False
) -> Failure:
    """Return the failure for a close that nobody asked for.

    Args:
        close_code: The code of the close frame; None when there was no frame.
        reason: The reason of the close frame; GA writes `<type>` or `<type>.<code>` there.
        last_error: The error that came just before; its code and message are kept unless `reason` names another.
        connecting: The session was not configured yet, so a refused request would repeat on every connection.
    """
    number = 1006 if close_code is None else close_code
    close_row = CLOSE_CODES.get(number, _OTHER_CLOSE)
    cause = _cause_of_close(reason, last_error)
    if cause is None:
        text = (close_row.meaning, close_row.remedy)
        return Failure(close_row.kind, f"close_{number}", reason, *text, close_code=close_code)
    row = _match(cause.code, cause.error_type, cause.message)
    refused = cause.kind is Kind.REQUEST_FAILED and (row or cause.error_type == "invalid_request_error")
    kind = (row and row.on_close) or close_row.kind
    if cause.kind is Kind.FATAL or (connecting and refused):
        kind = Kind.FATAL
    if row is None and cause.meaning == _UNKNOWN.meaning:
        cause = replace(cause, meaning=close_row.meaning, remedy=close_row.remedy)
    code = cause.code or _known(cause.error_type) or f"close_{number}"
    message = cause.message or ("" if code in reason else reason)
    return replace(cause, kind=kind, code=code, message=message, close_code=close_code)


def from_http(status: int, *, body: str = "", retry_after: float | None = None, request_id: str = "") -> Failure:
    """Return the failure for an HTTP answer to the WebSocket handshake.

    Args:
        status: The HTTP status.
        body: The body; the message and code are read from it when it is JSON.
        retry_after: Seconds, from the `Retry-After` header.
        request_id: From the `x-request-id` header.
    """
    code, error_type, message = _read_body(body)
    row = HTTP_STATUSES.get(status) or _HTTP_HUNDREDS.get(status // 100, _NOT_A_WEBSOCKET)
    cause = _match(code, error_type, message)
    # A fatal cause goes before the status: 429 is also how "no credit left" arrives.
    if cause and cause.on_close in (Kind.FATAL, row.kind):
        row = cause
    return Failure(
        row.on_close or row.kind,
        code or _known(error_type) or f"http_{status}",
        message,
        row.meaning,
        row.remedy,
        error_type=error_type,
        http_status=status,
        retry_after=retry_after,
        request_id=request_id,
    )


def from_exception(exc: BaseException) -> Failure:
    """Return the failure for an exception raised while connecting, reading or writing.

    RECONNECT for what the network does, FATAL for a certificate that is not trusted and for anything unexpected.
    """
    known = (_match_exception(cause) for cause in _causes(exc))
    code, row = next((found for found in known if found), ("unexpected_error", _UNEXPECTED))
    return Failure(row.kind, code, str(exc) or type(exc).__name__, row.meaning, row.remedy)


def _match(code: str, error_type: str, message: str) -> Row | None:
    """Return the row for an error: fatal codes first, then the message, then the code, then the type."""
    rows = [row for row in (FAILURES.get(code), FAILURES.get(error_type)) if row]
    fatal = [row for row in rows if row.kind is Kind.FATAL]
    named = _match_message(message)
    return next(iter(fatal + ([FAILURES[named]] if named else []) + rows), None)


def _known(name: str) -> str:
    return name if name in FAILURES else ""


def _match_message(message: str) -> str | None:
    return next((name for pattern, name in _MESSAGES if pattern.search(message)), None)


def _cause_of_close(reason: str, last_error: Failure | None) -> Failure | None:
    """Return the error behind a close: the one before it, unless that was harmless or the reason names another."""
    if last_error and last_error.kind is Kind.BENIGN:
        last_error = None
    named = _from_reason(reason)
    if last_error and (last_error.kind is Kind.FATAL or not (named and named.code)):
        return last_error
    return last_error if last_error and named and last_error.code == named.code else named


def _from_reason(reason: str) -> Failure | None:
    """Return the error that a close reason names, if it names one."""
    by_message = _match_message(reason)
    if by_message:
        return from_server_error(by_message, None, reason)
    words = re.fullmatch(r"([a-z][a-z0-9_]*)(?:\.([a-z][a-z0-9_]*))?", reason)
    if words and (words[2] or _known(words[1]) or words[1].endswith("_error")):
        return from_server_error(words[2], words[1], None)
    return None


def _read_body(body: str) -> tuple[str, str, str]:
    """Return code, type and message of an HTTP error body; "" for what it does not say."""
    try:
        data = json.loads(body)
    except ValueError:
        text = " ".join(body.split())
        # An HTML page helps nobody in a log.
        return "", "", "" if text.startswith("<") else text[:500]
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return "", "", str(error or "")[:500]
    code, error_type = (value if isinstance(value := error.get(key), str) else "" for key in ("code", "type"))
    message = error.get("message") or error.get("detail") or ""
    # Some gateways repeat the status as the code, which says nothing new.
    return "" if code.isdigit() else code, error_type, str(message)[:500]


def _match_exception(exc: BaseException) -> tuple[str, Row] | None:
    # Before Python 3.11 the timeout of asyncio is a class of its own.
    if type(exc).__name__ == "TimeoutError":
        return "timeout", _NO_ANSWER
    return next(((code, row) for cls, code, row in _EXCEPTIONS if isinstance(exc, cls)), None)


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__
