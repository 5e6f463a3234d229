"""The names of the official plugin's `realtime.realtime_model`, for code that imports from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import azure, elsewhere
from ..audio import NUM_CHANNELS as NUM_CHANNELS
from ..audio import SAMPLE_RATE as SAMPLE_RATE
from ..connection import DEFAULT_BASE_URL as OPENAI_BASE_URL
from ..options import DEFAULT_VOICE as DEFAULT_VOICE
from ..wire.endpoint import Service, build
from .model import RealtimeModel as RealtimeModel
from .session import RealtimeSession as RealtimeSession

# Until release 1.2 of the official plugin these were here.
from .utils import AZURE_DEFAULT_INPUT_AUDIO_TRANSCRIPTION as AZURE_DEFAULT_INPUT_AUDIO_TRANSCRIPTION
from .utils import AZURE_DEFAULT_TURN_DETECTION as AZURE_DEFAULT_TURN_DETECTION
from .utils import DEFAULT_INPUT_AUDIO_TRANSCRIPTION as DEFAULT_INPUT_AUDIO_TRANSCRIPTION
from .utils import DEFAULT_MAX_RESPONSE_OUTPUT_TOKENS as DEFAULT_MAX_RESPONSE_OUTPUT_TOKENS
from .utils import DEFAULT_MAX_SESSION_DURATION as DEFAULT_MAX_SESSION_DURATION
from .utils import DEFAULT_TOOL_CHOICE as DEFAULT_TOOL_CHOICE
from .utils import DEFAULT_TURN_DETECTION as DEFAULT_TURN_DETECTION

__all__ = [
    "DEFAULT_VOICE",
    "NUM_CHANNELS",
    "OPENAI_BASE_URL",
    "SAMPLE_RATE",
    "RealtimeModel",
    "RealtimeSession",
    "process_base_url",
]


def process_base_url(
    url: str,
    model: str,
    is_azure: bool = False,
    azure_deployment: str | None = None,
    api_version: str | None = None,
) -> str:
    """The `ws(s)://` URL of a realtime session behind `url`, an http(s) or ws(s) base.

    Path prefixes and query parameters are kept; a `model` among them goes before the argument. On Azure
    `azure_deployment` stands for the model, and `/v1` is added to a bare host and to `/openai`; elsewhere it does
    nothing, nor does `api_version`.

    Raises:
        ValueError: the URL cannot be used, or `api_version` asks for Azure's dated dialect, which is retired.
    """
    if is_azure:
        # Only the URL is wanted; a connection is what knows how Azure's is made.
        made = azure.connection(base_url=url, api_key="none", api_version=api_version, allow_insecure=True)
        return made.endpoint(Service.REALTIME, model=azure_deployment or model).url
    return build(url, Service.REALTIME, model=model, allow_insecure=True).url


if not TYPE_CHECKING:
    __getattr__ = elsewhere.attribute(__name__)
