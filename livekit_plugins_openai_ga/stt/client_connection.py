"""A connection made of `STT`'s arguments and of the openai client among them, which is only read, never used."""

from __future__ import annotations

from typing import Any

from livekit.agents.types import NotGivenOr
from livekit.agents.utils import is_given

from ..connection import Connection, KeyProvider


def create(
    *, client: Any, base_url: NotGivenOr[str], api_key: NotGivenOr[str | KeyProvider], **rest: Any
) -> Connection:
    """The connection; what was given goes before the client's. Raises ValueError: one sentence with the parameter."""
    if is_given(api_key) and not api_key:
        raise ValueError("api_key is empty: pass a key, or leave it out to use the environment's OPENAI_API_KEY.")
    key: str | KeyProvider | None = api_key if is_given(api_key) else None
    if client is not None:
        if "azure" in type(client).__name__.lower():
            raise ValueError("client is an Azure client: use STT.with_azure(...), which takes its parameters.")
        # A client that was given a function keeps it here, and no key.
        key = key or client.api_key or getattr(client, "_api_key_provider", None)
        base_url = base_url if is_given(base_url) else str(client.base_url)
        scope = {"OpenAI-Organization": client.organization, "OpenAI-Project": client.project}
        ours = {name: value for name, value in scope.items() if value}
        rest["extra_headers"] = {**ours, **(rest["extra_headers"] or {})}
    return Connection.create(base_url=base_url, api_key=key, **rest)
