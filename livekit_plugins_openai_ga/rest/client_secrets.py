"""Client secrets: short-lived keys (`ek_...`) for browsers and other places where a key must not be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from livekit.agents import APIConnectOptions
from livekit.agents.types import NOT_GIVEN, NotGivenOr

from ..api_errors import to_api_error
from ..connection import KeyProvider
from ..errors import Failure, from_server_error
from ..post import Answer
from ..redaction import Secret, secrets_in
from ..session_fields import number
from ..wire.endpoint import Service, is_credential, is_ephemeral
from . import requested
from .asking import Request, Sent, ask

DEFAULT_EXPIRES_AFTER = 600
MIN_EXPIRES_AFTER, MAX_EXPIRES_AFTER = 10, 7200
"""Seconds, as OpenAI documents them."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A key that opens sessions until it expires. Those that are open then go on.

    Attributes:
        value: The key. Its `repr`, and so that of what holds it, is `[redacted]`; `print(secret.value)`, a text with it
            and JSON show it.
        expires_at: When it expires, in s since 1970.
        session: The session it opens, as the server completed it; a client may still change it.
    """

    value: str
    expires_at: float
    session: Mapping[str, Any] = field(repr=False)


async def create_client_secret(
    session: requested.Session,
    *,
    expires_after: int = DEFAULT_EXPIRES_AFTER,
    kind: requested.Kind | None = None,
    instructions: str | None = None,
    base_url: NotGivenOr[str] = NOT_GIVEN,
    api_key: str | KeyProvider | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_query: Mapping[str, str] | None = None,
    allow_insecure: bool = False,
    conn_options: NotGivenOr[APIConnectOptions] = NOT_GIVEN,
    http_session: aiohttp.ClientSession | None = None,
) -> ClientSecret:
    """Make a key for a browser: `POST /realtime/client_secrets`, or `/realtime/translations/client_secrets`.

    OpenAI checks the session as it checks a `session.update`; whether the model may be used shows only when a session
    is opened.

    Args:
        session: a `RealtimeModel`, `STT` or `Translator`, which stands for the session it would open; or a GA session
            as a dict.
        expires_after: seconds until the key opens no further session, 10 to 7200.
        kind: for a dict without a `type`. Default: as its model says, else `realtime`.
        instructions: for a conversation; a model's sessions get theirs from the agent, so it has none itself.
        base_url: default that of the model, else as in `RealtimeModel`.
        api_key: default that of the model, else `$OPENAI_API_KEY`. A standard key, or a function that gives one.
        extra_headers: for example `OpenAI-Safety-Identifier`, a hash of the end user's id, which OpenAI binds to the
            key.
        extra_query: added to the URL.
        allow_insecure: allow a plain-text base URL of another host.
        conn_options: attempts, seconds between them, and seconds one may take; default that of the model.
        http_session: default the job's, or one for this once.

    Raises:
        ValueError: a value OpenAI would refuse; names the parameter and what to do.
        APIError: the server refused, or could not be reached.
    """
    if isinstance(expires_after, bool) or not isinstance(expires_after, int):
        raise ValueError(f"expires_after={expires_after!r} is not supported: use a whole number of seconds.")
    number("expires_after", expires_after, MIN_EXPIRES_AFTER, MAX_EXPIRES_AFTER)
    wanted = requested.payload(session, kind=kind, instructions=instructions)
    translates = wanted["type"] == "translation"
    if translates:
        del wanted["type"]  # the one session that is not tagged
    connection = requested.connection_for(
        session,
        base_url=base_url,
        api_key=api_key,
        extra_headers=extra_headers,
        extra_query=extra_query,
        allow_insecure=allow_insecure,
        conn_options=conn_options,
    )
    told = {"session": wanted, "expires_after": {"anchor": "created_at", "seconds": expires_after}}

    def body(key: str) -> Sent:
        if is_ephemeral(key):
            raise ValueError("api_key is a client secret, which makes no further ones: use a standard key.")
        return aiohttp.JsonPayload(told), secrets_in(wanted)

    service = Service.TRANSLATION_SECRETS if translates else Service.CLIENT_SECRETS
    request = Request(service, body, repeatable=True)
    read = _read(await ask(connection, request, http_session))
    if isinstance(read, Failure):
        raise to_api_error(read)
    return read


def _read(answer: Answer) -> ClientSecret | Failure:
    try:
        told = json.loads(answer.body)
    except ValueError:
        told = None
    if isinstance(told, dict) and "value" not in told and "client_secret" in told:
        return from_server_error("beta_answer", None, None)
    if isinstance(told, dict):
        value, expires_at, session = told.get("value"), told.get("expires_at"), told.get("session")
        if isinstance(value, str) and is_credential(value) and isinstance(expires_at, (int, float)):
            return ClientSecret(Secret(value), expires_at, session if isinstance(session, dict) else {})
    return from_server_error("unexpected_answer", None, "There is no client secret in it.")
