"""The keywords of a model that mean the same wherever its server is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import aiohttp
from livekit.agents import llm
from livekit.agents.types import NotGivenOr

from .. import options as opts
from ..images import Images
from ..prices import Price


class SessionOptions(TypedDict, total=False):
    """The constructor's keywords that mean the same wherever the server is."""

    voice: Any
    modalities: NotGivenOr[list[Literal["text", "audio"]]]
    tool_choice: NotGivenOr[llm.ToolChoice | None]
    input_audio_noise_reduction: NotGivenOr[Any]
    speed: NotGivenOr[float]
    tracing: NotGivenOr[Any]
    truncation: NotGivenOr[Any]
    reasoning: NotGivenOr[Any]
    max_output_tokens: NotGivenOr[int | Literal["inf"] | None]
    parallel_tool_calls: NotGivenOr[bool]
    prompt: NotGivenOr[Any]
    include: NotGivenOr[list[str] | None]
    http_session: aiohttp.ClientSession | None
    reply_timeout: float
    request_timeout: float
    resume_replies: opts.ResumeReplies
    max_replay_audio: float
    input_chunk_ms: float
    input_audio_format: NotGivenOr[Any]
    output_audio_format: NotGivenOr[Any]
    fallback_models: Sequence[str]
    images: Images
    read_aloud: bool
    recorder: opts.RecorderOption
    prices: Mapping[str, Price] | None
    max_cost: float | None
    temperature: NotGivenOr[float]
