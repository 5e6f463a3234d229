"""One table of failures: what each signal means, what happens next, and what the user can do about it.

A signal is a code or type of the server's error, a close code, an HTTP status, or an exception. `errors` reads these
tables and makes a `Failure` of what arrived; nothing else needs to.
"""

from __future__ import annotations

import enum
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


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


_ATTACH = "Pass the `call_id` of a call that goes on, with a key of the project in which it was made."
_BILLING = "Add credit or raise the limit at https://platform.openai.com/settings/organization/billing."
_KEY = "Set `api_key` (or OPENAI_API_KEY; on Azure AZURE_OPENAI_API_KEY) to a valid key of the right project."
_ACCESS = "Give the key access in the OpenAI project's settings, or use another key."
_MODEL = (
    "Set `model` to one that this key may use here, such as gpt-realtime-2.1 (STT: gpt-transcribe; "
    "Translator: gpt-realtime-translate)."
)
_BETA = "Remove the `OpenAI-Beta: realtime=v1` header; if a proxy or gateway adds it, update it."
_VALUE = "Change the named parameter to an accepted value."
_SUPPORTED = "Remove the named parameter, or choose a model that supports it."
_VOICE = "Set `voice` before the first reply, or open a new session."
_ITEM_ID = "Use the id of an item that is still in the conversation."
_SPEECH = "Check the caller's audio, the language and the transcription model."
_MCP = "Check the address, credentials and logs of the MCP server."
_PROVIDER = "Check the function that was passed as `api_key` (on Azure: the token provider), and the identity it uses."
_MINTED = "Make a new one; for connections that outlive it, pass a function as `api_key` that gives one each time."
_RINGS = "Accept a call while it rings; refer or hang up while it is live."
_BETA_SERVER = "If a gateway is used, update it; keys are made with POST /realtime/client_secrets."
_STATUS_PAGE = "Try again; if it stays, check https://status.openai.com."
_SLOWER = "Open fewer sessions at once, or ask OpenAI for a higher limit."
_NETWORK = "A new connection is tried; if this repeats, check the network and any proxy."
_SIZE = "Send smaller images or items; if a gateway is used, raise its message limit."
_CONNECTION = "Correct the model, the key and the endpoint, then start again."
_ADDRESS = "Check `base_url`, which usually ends in /v1, and any proxy before it."
_LIMIT = "Say goodbye and hang up when the event `cost_limit_reached` comes, or raise `max_cost`."
_CERTIFICATE = "Check `base_url` and the clock; if a proxy inspects TLS, install its certificate."

_TOO_SMALL = _request("A number is too small.", "Raise the named parameter.")
_TOO_LARGE = _request("A number is too large.", "Lower the named parameter.")
_TOO_LONG = _request("A value is too long.", "Shorten the named parameter.")
_NO_ITEM = _request("There is no such item.", _ITEM_ID)
_NOT_UNDERSTOOD = _request("The speech could not be transcribed.", _SPEECH)
_RATE_LIMIT = _reply("The account's rate limit is reached.", _SLOWER)

MODEL_REFUSED = frozenset({"invalid_model", "model_not_found"})
"""Another model may be taken where this one is not."""

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
        "format_not_kept": _fatal(
            "The server accepted the configuration and uses another audio format, which would be noise.",
            "Leave input_audio_format and output_audio_format out, or use a server that has G.711.",
        ),
        "transcription_overdue": _request(
            "No transcript came for this speech in time.",
            "Nothing needs to be done; if it happens often, use another transcription model.",
        ),
        "mcp_list_tools_failed": _request("An MCP server did not list its tools; the agent goes on without.", _MCP),
        "protocol_error": _request("The MCP server answered with a protocol error.", _MCP),
        "tool_execution_error": _request("A tool of the MCP server failed.", _MCP),
        "http_error": _request("The MCP server answered with an HTTP error.", _MCP),
        "max_cost_reached": _fatal("The session has cost what `max_cost` allows.", _LIMIT),
        "key_provider_failed": _reconnect("The key provider failed.", _PROVIDER),
        "key_unusable": _fatal("The key provider gave nothing that can be sent as a key.", _PROVIDER),
        # Client secrets and calls.
        "client_secret_refused": _fatal("The client secret is wrong, or has expired.", _MINTED),
        "audio_runs_elsewhere": _request(
            "The audio of a call with `call_id` runs between the caller and OpenAI: `push_audio` has nothing to do.",
            "Start the AgentSession without audio input.",
        ),
        "call_id_not_found": _request("There is no such call, or it has ended.", _RINGS),
        "beta_answer": _fatal("The server answered as the retired beta did.", _BETA_SERVER),
        "unexpected_answer": _fatal("The server's answer is not one that GA gives.", _ADDRESS),
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

UNKNOWN = _request("The server refused a request.", "Act on the server's message.")

# Where the code is null or varies, the sentence is the steadier sign (pipecat-ai/pipecat#3677, #3755).
MESSAGES = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"^cancellation failed", "response_cancel_not_active"),
        (r"audio content of \d+\s?ms is already shorter", "audio_already_shorter"),
        (r"only model output audio messages can be truncated", "nothing_to_truncate"),
        (r"session hit the maximum duration", "session_expired"),
        (r"^missing bearer", "missing_authentication"),
        (r"^incorrect api key provided", "invalid_api_key"),
        # LiteLLM has no code for a name that it does not know (1.106.2), and closes with 1011.
        (r"invalid model name passed in model", "invalid_model"),
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

_OVER = _fatal("The call is over.", "Nothing needs to be done.")
CALL_CLOSES: Mapping[int, Row] = MappingProxyType({1000: _OVER, 1005: _OVER})
"""What a clean close means on a socket into a call (`?call_id=`): that the call has ended."""

OTHER_CLOSE = _reconnect("The connection was closed with an unusual code.", _NETWORK)

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

NO_SUCH_CALL = 404
CALL_STATUSES: Mapping[int, Row] = MappingProxyType(
    # A call that was made a moment ago may not be known yet (openai/codex#35094, openai/openai-realtime-console#562).
    {NO_SUCH_CALL: _reconnect("There is no such call, or it is over.", _ATTACH)}
)
"""The same when a socket is to lead into a call."""

HTTP_HUNDREDS: Mapping[int, Row] = MappingProxyType(
    {
        4: _fatal("The server refused the request.", _CONNECTION),
        5: _reconnect("The server or a gateway failed.", _STATUS_PAGE),
    }
)
NOT_A_WEBSOCKET = _fatal("The address answers, but not as a WebSocket.", _ADDRESS)

NO_ANSWER = _reconnect("The server did not answer in time.", _NETWORK)
_BROKEN = _reconnect("The connection broke.", _NETWORK)

# The first match counts, so subclasses come before their bases.
EXCEPTIONS: tuple[tuple[type[BaseException], str, Row], ...] = (
    (ssl.SSLCertVerificationError, "bad_certificate", _fatal("The certificate is not trusted.", _CERTIFICATE)),
    (ssl.SSLError, "tls_failure", _reconnect("No encrypted connection could be made.", _ADDRESS)),
    (socket.gaierror, "host_not_found", _reconnect("The host name could not be resolved.", _ADDRESS)),
    (ConnectionRefusedError, "connection_refused", _reconnect("Nothing listens at the address.", _ADDRESS)),
    (TimeoutError, "timeout", NO_ANSWER),
    (ConnectionError, "connection_lost", _BROKEN),
    (EOFError, "connection_lost", _BROKEN),
    (OSError, "network_error", _reconnect("The network failed.", _NETWORK)),
)
UNEXPECTED = _fatal("Something failed that a retry cannot cure.", "Report it together with the traceback.")
