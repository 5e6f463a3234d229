"""Azure OpenAI on its GA path: `<resource>/openai/v1/realtime?model=<deployment>`, with an API key or an Entra token.

The dated dialect (`/openai/realtime?api-version=2024-...`, beta event names) is retired and refused here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from livekit.agents import APIConnectOptions
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGiven, NotGivenOr

from .connection import DEFAULT_HEARTBEAT, Connection, KeyProvider
from .log import logger
from .session_fields import plain

DEFAULT_TRANSCRIPTION: Mapping[str, Any] = {"model": "whisper-1"}
"""As the official plugin has it. On Azure this is the name of a deployment, so no newer model can be taken for granted;
and OpenAI's shutdown dates do not hold there."""

DEFAULT_TURN_DETECTION: Mapping[str, Any] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 200,
    "create_response": True,
}
"""As the official plugin has it, so that a switch does not change how turns end."""

_RETIRED = "Azure's dated Realtime API is retired; remove the version, the GA path /openai/v1/realtime needs none."


def connection(
    *,
    azure_endpoint: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    ad_token: str | None = None,
    ad_token_provider: KeyProvider | None = None,
    api_version: str | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_query: Mapping[str, str] | None = None,
    allow_insecure: bool = False,
    conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    heartbeat: float = DEFAULT_HEARTBEAT,
    max_session_duration: NotGivenOr[float | None] = NOT_GIVEN,
) -> Connection:
    """A connection to an Azure resource.

    Args:
        azure_endpoint: `https://<resource>.openai.azure.com`, with or without `/openai/v1`; default
            `$AZURE_OPENAI_ENDPOINT`.
        base_url: instead of it, a URL that is used as it is (`/v1` is added to a bare host and to `/openai`).
        api_key: sent as `api-key`. Default `$AZURE_OPENAI_API_KEY`, when there is no token either.
        ad_token: an Entra token, sent as a bearer token; default `$AZURE_OPENAI_AD_TOKEN`. It lives for about an hour.
        ad_token_provider: gives an Entra token; asked for every connection.
        api_version: refused.
        extra_headers, extra_query, allow_insecure, conn_options, heartbeat, max_session_duration: as in `Connection`.

    Raises:
        ValueError: something is missing, given twice, or retired; one sentence that names it.
    """
    if api_version:
        raise ValueError(f"api_version={api_version!r} is not supported: {_RETIRED}")
    if os.environ.get("OPENAI_API_VERSION"):
        logger.warning("$OPENAI_API_VERSION is ignored: the GA path /openai/v1/realtime needs no version")
    url = _base_url(azure_endpoint, base_url)
    if sum(map(bool, (api_key, ad_token, ad_token_provider))) > 1:
        raise ValueError("api_key, an Entra token and a token provider exclude each other: pass one of them.")
    if not (api_key or ad_token or ad_token_provider):
        ad_token = os.environ.get("AZURE_OPENAI_AD_TOKEN")  # the openai SDK prefers it to the key, too
        api_key = None if ad_token else os.environ.get("AZURE_OPENAI_API_KEY")
    key = (ad_token or api_key or "").strip()
    if not key and ad_token_provider is None:
        raise ValueError(
            "api_key is missing: pass api_key=..., an Entra token or azure_ad_token_provider=..., or set the "
            "AZURE_OPENAI_API_KEY environment variable."
        )
    return Connection.create(
        base_url=url,
        api_key=ad_token_provider or key,
        key_header="api-key" if api_key else "Authorization",
        extra_headers=extra_headers,
        extra_query=extra_query,
        allow_insecure=allow_insecure,
        conn_options=conn_options,
        heartbeat=heartbeat,
        max_session_duration=max_session_duration,
    )


def _base_url(azure_endpoint: str | None, base_url: str | None) -> str:
    if base_url and azure_endpoint:
        raise ValueError("base_url and azure_endpoint exclude each other: pass one of them.")
    name = "base_url" if base_url else "azure_endpoint"
    url = (base_url or azure_endpoint or os.environ.get("AZURE_OPENAI_ENDPOINT") or "").strip()
    if not url:
        raise ValueError(
            "azure_endpoint is missing: pass azure_endpoint=... or set the AZURE_OPENAI_ENDPOINT environment variable."
        )
    if "://" not in url:
        raise ValueError(f"{name} must start with https://: give a URL such as https://<resource>.openai.azure.com.")
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # `Connection` says what is wrong with it
    if "api-version" in (parameter for parameter, _ in parse_qsl(parts.query)):
        raise ValueError(f"{name} has an api-version in its query, which is not supported: {_RETIRED}")
    path = parts.path.rstrip("/").removesuffix("/realtime")
    if not base_url:
        path = path.removesuffix("/v1").removesuffix("/openai") + "/openai/v1"
    elif path in ("", "/openai"):
        path += "/v1"
    return parts._replace(path=path).geturl()


def transcription(wanted: Any) -> Any:
    """An `input_audio_transcription` with Azure's default model where it names none; None stays None."""
    if isinstance(wanted, NotGiven):
        return dict(DEFAULT_TRANSCRIPTION)
    given = plain(wanted)
    if not isinstance(given, dict):
        return given
    return {**DEFAULT_TRANSCRIPTION, **{name: value for name, value in given.items() if value is not None}}
