"""Where the server is, who we are there, how long to wait: one frozen `Connection`, shared by every kind of session.

It turns into an `Endpoint` (a URL and headers) and opens sockets. What a session is told is not its business.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from livekit.agents import APIConnectOptions
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGiven, NotGivenOr

from .errors import Failure, from_exception, from_server_error
from .failures import FAILURES
from .redaction import Secret, redact
from .session_fields import number
from .transport.link import Link, LinkFailed
from .wire import endpoint
from .wire.endpoint import Endpoint, KeyHeader, Service

DEFAULT_BASE_URL = "https://api.openai.com/v1"
LOCAL_KEY = "no-key"
"""What a server on this machine is told by those who have no key: an emulator takes any."""
DEFAULT_MAX_SESSION_DURATION = 50 * 60.0
"""Seconds until a connection is replaced at a calm moment. The server ends every session after 60 minutes."""
DEFAULT_HEARTBEAT = 12.0

KeyProvider = Callable[[], "str | Awaitable[str]"]
"""Gives a key or token that is valid now. A plain function runs in a thread, so it may block; there is no event loop
there, so one that makes a Task or Future must be `async`."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything about the server that is the same for each of its sockets. Make it with `create`, which checks it.

    Attributes:
        base_url: http(s) or ws(s), with any path prefix and query. Some gateways take a key in the query.
        api_key: The key; "" when there is a `key_provider`.
        key_header: The header that carries key or token: `Authorization` (as a bearer token) or `api-key`.
        key_provider: Asked for a key or token before every connection and request.
        extra_headers: Sent with every request; they replace ours.
        extra_query: Added to every URL.
        allow_insecure: Plain text to another host is allowed.
        conn_options: Attempts in a row, seconds between them, seconds one may take.
        heartbeat: Seconds between pings; a peer without a sign of life for twice that is taken for dead.
        max_session_duration: Seconds until a connection is replaced at a calm moment; None: never.
    """

    base_url: str = field(repr=False)
    api_key: str = field(repr=False)
    key_header: KeyHeader = "Authorization"
    key_provider: KeyProvider | None = field(default=None, repr=False)
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_query: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_insecure: bool = False
    conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    heartbeat: float = DEFAULT_HEARTBEAT
    max_session_duration: float | None = DEFAULT_MAX_SESSION_DURATION

    @classmethod
    def create(
        cls,
        *,
        base_url: NotGivenOr[str] | None = NOT_GIVEN,
        api_key: str | KeyProvider | None = None,
        key_header: KeyHeader = "Authorization",
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str] | None = None,
        allow_insecure: bool = False,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        heartbeat: float = DEFAULT_HEARTBEAT,
        max_session_duration: NotGivenOr[float | None] = NOT_GIVEN,
    ) -> Connection:
        """Fill in `$OPENAI_API_KEY`, `$OPENAI_BASE_URL` and defaults, and check what can be checked without a network.

        `api_key` is a key, or a function that gives one (see `KeyProvider`). The environment is asked only without it.
        A server on this machine's loopback interface, such as the emulator, needs none. With a client secret (`ek_...`)
        as a text, the default `max_session_duration` is None: it opens no further connection once it has expired.

        Raises ValueError: one sentence that names the parameter and says what to do.
        """
        if isinstance(base_url, NotGiven) or not base_url:
            base_url = os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
        key, provider = _key(api_key)
        if not key and provider is None:
            if not endpoint.build(base_url, Service.UPLOAD, allow_insecure=allow_insecure).is_local:
                raise ValueError("api_key is missing: pass api_key=... or set the OPENAI_API_KEY environment variable.")
            key = LOCAL_KEY
        if isinstance(max_session_duration, NotGiven):
            max_session_duration = None if endpoint.is_ephemeral(key) else DEFAULT_MAX_SESSION_DURATION
        if max_session_duration is not None:
            number("max_session_duration", max_session_duration, 1)
        made = cls(
            base_url=base_url,
            api_key=Secret(key),
            key_header=key_header,
            key_provider=provider,
            extra_headers=dict(extra_headers or {}),
            extra_query=dict(extra_query or {}),
            allow_insecure=allow_insecure,
            conn_options=conn_options,
            heartbeat=float(number("heartbeat", heartbeat, 0.1)),
            max_session_duration=max_session_duration,
        )
        made._check()
        return made

    def _check(self) -> None:
        self.endpoint(Service.UPLOAD)  # the one that needs nothing but what is here

    def changed(
        self,
        *,
        extra_headers: NotGivenOr[Mapping[str, str] | None] = NOT_GIVEN,
        extra_query: NotGivenOr[Mapping[str, str] | None] = NOT_GIVEN,
        conn_options: NotGivenOr[APIConnectOptions] = NOT_GIVEN,
        api_key: str | KeyProvider | None = None,
    ) -> Connection:
        """This connection with other extras, attempts or key. None takes extras back, and leaves the key.

        Raises ValueError as `create` does.
        """
        made = self if isinstance(conn_options, NotGiven) else replace(self, conn_options=conn_options)
        if api_key:
            key, provider = _key(api_key)
            made = replace(made, api_key=Secret(key), key_provider=provider)
        if not isinstance(extra_headers, NotGiven):
            made = replace(made, extra_headers=dict(extra_headers or {}))
        if not isinstance(extra_query, NotGiven):
            made = replace(made, extra_query=dict(extra_query or {}))
        made._check()
        return made

    def endpoint(
        self,
        service: Service,
        *,
        model: str = "",
        model_in_url: bool | None = None,
        call_id: str = "",
        action: str = "",
        key: str | None = None,
    ) -> Endpoint:
        """The URL and headers for `service`; see `wire.endpoint.build`. Raises ValueError when they cannot be used.

        `key` goes before the connection's own. Without it, one with a `key_provider` has no credential in the headers.
        A client secret is a bearer token, on Azure, too.
        """
        key = self.api_key if key is None else key
        return endpoint.build(
            self.base_url,
            service,
            model=model,
            call_id=call_id,
            action=action,
            api_key=key,
            key_header="Authorization" if endpoint.is_ephemeral(key) else self.key_header,
            extra_headers=self.extra_headers,
            extra_query=self.extra_query,
            model_in_url=model_in_url,
            allow_insecure=self.allow_insecure,
        )

    @property
    def is_native(self) -> bool:
        """Whether this is OpenAI's own server. Elsewhere names may be aliases, so the server decides."""
        return self.endpoint(Service.UPLOAD).host == endpoint.OPENAI_HOST

    async def key(self, timeout: float | None = None) -> str:
        """A key that is valid now: asks the key provider, if there is one.

        `timeout` (s, default that of `conn_options`) is how long the provider may take. Raises `LinkFailed`.
        """
        if self.key_provider is None:
            return self.api_key
        return await _ask(self.key_provider, self.conn_options.timeout if timeout is None else timeout)

    async def open(
        self,
        service: Service,
        *,
        model: str = "",
        call_id: str = "",
        model_in_url: bool | None = None,
        timeout: float | None = None,
    ) -> Link:
        """Open a socket, all of it within `timeout` seconds (default that of `conn_options`). Raises `LinkFailed`."""
        timeout = self.conn_options.timeout if timeout is None else timeout
        started = time.monotonic()
        key = await self.key(timeout)
        where = self.endpoint(service, model=model, call_id=call_id, model_in_url=model_in_url, key=key)
        left = max(0.1, timeout - (time.monotonic() - started))
        try:
            return await Link.open(where, timeout=left, heartbeat=self.heartbeat)
        except LinkFailed as exc:
            failure = self.explained(exc.failure, key)
        raise LinkFailed(failure)

    def explained(self, failure: Failure, key: str) -> Failure:
        """The failure; when it is that the `key` in use was refused, as what that means here.

        A client secret has expired. A key provider may keep a key that was replaced or has expired meanwhile, and give
        another the next time: that is worth another attempt.
        """
        if failure.code != "invalid_api_key" and failure.http_status != 401:
            return failure
        if endpoint.is_ephemeral(key):
            row = FAILURES["client_secret_refused"]
            failure = replace(failure, code="client_secret_refused", meaning=row.meaning, remedy=row.remedy)
        if self.key_provider is not None:
            row = FAILURES["key_provider_failed"]
            failure = replace(failure, kind=row.kind, remedy=row.remedy)
        return failure


def _key(given: str | KeyProvider | None) -> tuple[str, KeyProvider | None]:
    """The key, or what gives one. "" and None: neither was given, nor is there one in the environment."""
    if given is None or isinstance(given, str):
        return (given or os.environ.get("OPENAI_API_KEY") or "").strip(), None
    if not callable(given):
        raise ValueError("api_key is neither a text nor a function: pass a key, or a function that gives one.")
    return "", given


async def _ask(provider: KeyProvider, timeout: float) -> Secret:
    """A fresh key. A provider that fails may work the next time; one that gives no key never will."""

    # What comes of it is hidden where it comes, in thread and task: asyncio's debug messages show their results.
    def call() -> Any:
        try:
            return _hidden(provider())
        except Exception as exc:
            return _provider_failed(exc)

    async def ask() -> Any:
        answer = await asyncio.to_thread(call)
        try:
            return _hidden(await answer) if inspect.isawaitable(answer) else answer
        except Exception as exc:
            return _provider_failed(exc)

    asking = asyncio.ensure_future(ask())
    try:
        # Not `wait_for`: before Python 3.12 it can swallow the cancellation that ends a session.
        if not (await asyncio.wait({asking}, timeout=timeout))[0]:
            overdue = from_exception(TimeoutError())
            raise LinkFailed(replace(overdue, message="The key provider did not answer in time."))
        # Something it waits for, such as a refresh that others share, was cancelled; this session was not.
        gone = asking.cancelled()
        key: Secret | Failure | None = _provider_failed(asyncio.CancelledError()) if gone else asking.result()
    finally:
        asking.cancel()
    if isinstance(key, Failure):
        raise LinkFailed(key)
    if key is None or not endpoint.is_credential(key):
        raise LinkFailed(from_server_error("key_unusable", None, None))
    return key


def _hidden(answer: Any) -> Any:
    if inspect.isawaitable(answer):
        return answer
    return Secret(answer.strip()) if isinstance(answer, str) else None


def _provider_failed(exc: BaseException) -> Failure:
    said = " ".join(f"{type(exc).__name__}: {exc}".split()).removesuffix(":")
    # The text is redacted on its way into a failure; LiveKit would log the exception as it is.
    return from_server_error("key_provider_failed", None, redact(said)[:500])
