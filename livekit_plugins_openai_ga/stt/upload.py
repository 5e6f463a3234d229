"""Whole recordings by HTTP: `POST {base_url}/audio/transcriptions`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import stt
from livekit.agents.utils import AudioBuffer, http_context

from .. import errors
from ..api_errors import to_api_error
from ..core.turns import confidence
from ..core.usage import transcription_usage
from ..errors import Failure
from ..framework import LanguageCode, make
from ..post import post
from ..transport.link import LinkFailed
from ..wire.endpoint import Service
from .options import Options

READ_TIMEOUT_S = 60.0
"""Time for the whole request, on top of the time to connect: a long recording takes the server a while."""

VERBOSE_MODEL = "whisper-1"
"""The one model that tells the language it heard, and only in this format."""


class Http:
    """The HTTP session of uploads: one that was passed, the job's, or an own one."""

    def __init__(self, passed: aiohttp.ClientSession | None) -> None:
        self._passed = passed
        self._own: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """It; an own one is made when it is needed."""
        if self._passed is not None:
            return self._passed
        try:
            return http_context.http_session()
        except RuntimeError:  # not in a job
            if self._own is None or self._own.closed:
                self._own = aiohttp.ClientSession()
            return self._own

    async def aclose(self) -> None:
        """Close what is its own."""
        if self._own is not None:
            await self._own.close()


def form(options: Options, wav: bytes) -> aiohttp.FormData:
    """The request's body. Lists go as `name[]`, once per entry, as the openai SDK sends them."""
    data = aiohttp.FormData()
    fields: dict[str, Any] = dict(options.transcription())
    fields["response_format"] = "verbose_json" if options.model == VERBOSE_MODEL else "json"
    if options.temperature is not None:
        fields["temperature"] = options.temperature
    if options.logprobs:
        fields["include"] = ["logprobs"]
    for name, value in fields.items():
        if isinstance(value, list):
            for entry in value:
                data.add_field(f"{name}[]", entry)
        else:
            data.add_field(name, str(value))
    data.add_field("file", wav, filename="audio.wav", content_type="audio/wav")
    return data


def read(answer: Any, options: Options, *, request_id: str, seconds: float) -> stt.SpeechEvent:
    """The answer's body as LiveKit's event; `seconds` is the length of the recording. Raises ValueError."""
    if not isinstance(answer, Mapping) or not isinstance(answer.get("text"), str):
        raise ValueError("The answer has no text.")
    codes = [entry.get("code") for entry in answer.get("languages") or () if isinstance(entry, Mapping)]
    codes = codes or [answer.get("language")]
    languages = [LanguageCode(code) for code in codes if isinstance(code, str) and code]
    data = make(
        stt.SpeechData,
        language=languages[0] if languages else options.language,
        text=answer["text"].strip(),
        end_time=seconds,
        confidence=confidence(answer.get("logprobs")) or 0.0,
        source_languages=languages or None,
    )
    usage = transcription_usage(answer.get("usage"))
    billed = None
    if usage is not None:
        billed = make(
            stt.RecognitionUsage,
            audio_duration=usage.seconds or seconds,
            input_tokens=usage.input,
            output_tokens=usage.output,
        )
    return stt.SpeechEvent(
        type=stt.SpeechEventType.FINAL_TRANSCRIPT,
        request_id=request_id,
        alternatives=[data],
        recognition_usage=billed,
    )


async def transcribe(
    options: Options, buffer: AudioBuffer, *, http: aiohttp.ClientSession, timeout: float
) -> stt.SpeechEvent:
    """Have a recording transcribed. Raises `APIError`: what went wrong, and whether trying again may help."""
    answer = await _post(options, rtc.combine_audio_frames(buffer), http=http, timeout=timeout)
    if isinstance(answer, Failure):
        raise to_api_error(answer)  # from here: a traceback of `_post` leads to the request and its headers
    return answer


async def _post(
    options: Options, frame: rtc.AudioFrame, *, http: aiohttp.ClientSession, timeout: float
) -> stt.SpeechEvent | Failure:
    try:
        key = await options.connection.key(timeout)
    except LinkFailed as exc:
        return exc.failure
    where = options.connection.endpoint(Service.UPLOAD, key=key)
    body = form(options, frame.to_wav_bytes())
    answer = await post(where, body, http=http, timeout=timeout, read_timeout=READ_TIMEOUT_S)
    if isinstance(answer, Failure):
        return options.connection.explained(answer, key)
    try:
        return read(json.loads(answer.body), options, request_id=answer.request_id, seconds=frame.duration)
    except ValueError as exc:  # not what was asked for
        return errors.from_exception(ConnectionError(str(exc))).hiding(where.secrets)
