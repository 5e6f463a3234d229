"""What failed, as one value: how it arrived, what it means, what happens next.

OpenAI checks the key and the model only after the WebSocket is open, reports most refusals as `error` events
that leave the session alive, and closes with a code when they do not. So a failure may arrive as an error event,
a close frame, an HTTP status or an exception. Each of the four `from_*` functions turns one of those into a
`Failure`; the caller acts on `Failure.kind` and shows `Failure.sentence()`. What each means stands in `failures`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .failures import (
    CALL_CLOSES,
    CALL_STATUSES,
    CLOSE_CODES,
    EXCEPTIONS,
    FAILURES,
    HTTP_HUNDREDS,
    HTTP_STATUSES,
    MESSAGES,
    NO_ANSWER,
    NOT_A_WEBSOCKET,
    OTHER_CLOSE,
    UNEXPECTED,
    UNKNOWN,
    Row,
)
from .failures import Kind as Kind
from .redaction import hide, redact

_WAIT = re.compile(r"try again in (\d{1,6}(?:\.\d+)?)(ms|s)\b", re.IGNORECASE)
"""How OpenAI says when a rate limit is over."""

_WHERE = {"session_id": "session", "request_id": "request"}
"""Attributes that say where something failed, for OpenAI's support, and how a sentence calls them."""


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
        close_code: The WebSocket close code; None when the connection went without one.
        close_reason: The reason in the close frame.
        http_status: The HTTP status of a refused handshake.
        retry_after: Seconds the server asked to wait.
        session_id: OpenAI's session id (`sess_...`), for support; "" when none had begun.
        request_id: The `x-request-id` of the HTTP answer, for support; OpenAI sends none when it opens a socket.
        model: The model that was asked for.
        attempt: Retries in a row so far; the one that follows this failure is counted.
        last_error: Code of the last error event before this failure, which may have nothing to do with it.
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
    close_reason: str = ""
    http_status: int | None = None
    retry_after: float | None = None
    session_id: str = ""
    request_id: str = ""
    model: str = ""
    attempt: int = 0
    last_error: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", redact(self.message))
        object.__setattr__(self, "close_reason", redact(self.close_reason))

    @property
    def label(self) -> str:
        """The code, or the type of an error without one."""
        return self.code or self.error_type

    def fields(self) -> dict[str, Any]:
        """What can be searched for in logs, by attribute name; without what is not known, and without free text."""
        names = (
            "code",
            "param",
            "close_code",
            "close_reason",
            "http_status",
            *_WHERE,
            "model",
            "attempt",
            "last_error",
        )
        return {name: value for name in names if (value := getattr(self, name)) not in (None, "")}

    def hiding(self, secrets: Iterable[str]) -> Failure:
        """This failure with none of `secrets` in what the server said."""
        told = ("code", "error_type", "message", "param", "close_reason", "session_id", "request_id")
        clean: dict[str, Any] = {name: hide(value, secrets) for name in told if (value := getattr(self, name))}
        return replace(self, **clean)

    def sentence(self) -> str:
        """Return code, message, parameter, meaning, remedy and the ids for support as one readable line."""
        parts = [self.message, self.meaning, self.remedy]
        if self.param and self.param not in self.message:
            parts.insert(1, f"Parameter: {self.param}.")
        text = " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part)
        where = ", ".join(f"{what} {value}" for name, what in _WHERE.items() if (value := getattr(self, name)))
        text = f"{text} ({where})" if where else text
        return f"{self.label}: {text}" if self.label else text

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
    row = _match(code or "", error_type or "", message or "") or UNKNOWN
    wait = _WAIT.search(message or "")
    return Failure(
        row.kind,
        code or "",
        message or "",
        row.meaning,
        row.remedy,
        param=param,
        error_type=error_type or "",
        client_event_id=client_event_id,
        retry_after=float(wait[1]) / (1000 if wait[2] == "ms" else 1) if wait else None,
    )


def from_close(
    close_code: int | None,
    reason: str,
    *,
    last_error: Failure | None = None,
    connecting: bool = False,
    of_call: bool = False,
) -> Failure:
    """Return the failure for a close that nobody asked for.

    Args:
        close_code: The code of the close frame; None when there was no frame.
        reason: The reason of the close frame; GA writes `<type>` or `<type>.<code>` there.
        last_error: The error that came just before; its code and message are kept unless `reason` names another.
        connecting: The session was not configured yet, so a refused request would repeat on every connection.
        of_call: The socket led into a call, which a clean close ends.
    """
    number = 1006 if close_code is None else close_code
    close_row = (CALL_CLOSES if of_call else CLOSE_CODES).get(number) or CLOSE_CODES.get(number, OTHER_CLOSE)
    cause = _cause_of_close(reason, last_error)
    if of_call and number in CALL_CLOSES and cause is not None and cause.kind is not Kind.FATAL:
        cause = None  # the caller hung up, whatever was refused just before
    if cause is None:
        text = (close_row.meaning, close_row.remedy)
        return Failure(close_row.kind, f"close_{number}", reason, *text, close_code=close_code, close_reason=reason)
    row = _match(cause.code, cause.error_type, cause.message)
    refused = cause.kind is Kind.REQUEST_FAILED and (row or cause.error_type == "invalid_request_error")
    kind = (row and row.on_close) or close_row.kind
    if cause.kind is Kind.FATAL or (connecting and refused):
        kind = Kind.FATAL
    if row is None and cause.meaning == UNKNOWN.meaning:
        cause = replace(cause, meaning=close_row.meaning, remedy=close_row.remedy)
    code = cause.code or _known(cause.error_type) or f"close_{number}"
    message = cause.message or ("" if code in reason else reason)
    return replace(cause, kind=kind, code=code, message=message, close_code=close_code, close_reason=reason)


def from_http(
    status: int, *, body: str = "", retry_after: float | None = None, request_id: str = "", of_call: bool = False
) -> Failure:
    """Return the failure for an HTTP answer, to the WebSocket handshake or to a request.

    Args:
        status: The HTTP status.
        body: The body; the message and code are read from it when it is JSON.
        retry_after: Seconds, from the `Retry-After` header.
        request_id: From the `x-request-id` header.
        of_call: The socket was to lead into a call.
    """
    code, error_type, message, param = _read_body(body)
    attaching = CALL_STATUSES.get(status) if of_call else None
    row = attaching or HTTP_STATUSES.get(status) or HTTP_HUNDREDS.get(status // 100, NOT_A_WEBSOCKET)
    cause = _match(code, error_type, message) if attaching is None else None
    # A fatal cause goes before the status: 429 is also how "no credit left" arrives.
    if cause and cause.on_close in (Kind.FATAL, row.kind):
        row = cause
    # A refused request names what is wrong with it; that it is refused for good says the status.
    told = cause if cause and cause.kind is Kind.REQUEST_FAILED and status // 100 == 4 else row
    return Failure(
        row.on_close or row.kind,
        code or _known(error_type) or f"http_{status}",
        message,
        told.meaning,
        told.remedy,
        param=param or None,
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
    code, row = next((found for found in known if found), ("unexpected_error", UNEXPECTED))
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
    return next((name for pattern, name in MESSAGES if pattern.search(message)), None)


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


def _read_body(body: str) -> tuple[str, str, str, str]:
    """Return code, type, message and parameter of an HTTP error body; "" for what it does not say."""
    try:
        data = json.loads(body)
    except ValueError:
        text = " ".join(body.split())
        # An HTML page helps nobody in a log.
        return "", "", "" if text.startswith("<") else text[:500], ""
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return "", "", str(error or "")[:500], ""
    named = (error.get(key) for key in ("code", "type", "param"))
    code, error_type, param = (value if isinstance(value, str) else "" for value in named)
    message = error.get("message") or error.get("detail") or ""
    # Some gateways repeat the status as the code, which says nothing new.
    return "" if code.isdigit() else code, error_type, str(message)[:500], param[:200]


def _match_exception(exc: BaseException) -> tuple[str, Row] | None:
    # Before Python 3.11 the timeout of asyncio is a class of its own.
    if type(exc).__name__ == "TimeoutError":
        return "timeout", NO_ANSWER
    return next(((code, row) for cls, code, row in EXCEPTIONS if isinstance(exc, cls)), None)


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__
