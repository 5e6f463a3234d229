"""The two plugins behind one way of asking, so that every figure drives both alike."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import Any

FAST_MODULES = ("pybase64",)
"""What the extra `fast` brings, as modules."""

KEY = "sk-benchmark"


def block_fast() -> None:
    """Make this process one without the extra `fast`. To be called before the plugin is imported."""
    for name in FAST_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]


def realtime_model(plugin: str, url: str, closing: AsyncExitStack, options: dict[str, Any]) -> Any:
    """A `RealtimeModel`, closed by `closing`."""
    if plugin == "official":
        import aiohttp
        from livekit.plugins import openai

        # Its own session takes 100 connections at most.
        http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        closing.push_async_callback(http.close)
        model: Any = openai.realtime.RealtimeModel(base_url=url, api_key=KEY, **{"http_session": http, **options})
    else:
        from livekit_plugins_openai_ga import RealtimeModel

        model = RealtimeModel(base_url=url, api_key=KEY, **options)
    closing.push_async_callback(model.aclose)
    return model


def stt(plugin: str, url: str, closing: AsyncExitStack, options: dict[str, Any]) -> Any:
    """An `STT` that streams, closed by `closing`."""
    if plugin == "official":
        from livekit.plugins import openai

        model: Any = openai.STT(base_url=url, api_key=KEY, use_realtime=True, **options)
    else:
        from livekit_plugins_openai_ga import STT

        model = STT(base_url=url, api_key=KEY, **options)
    closing.push_async_callback(model.aclose)
    return model
