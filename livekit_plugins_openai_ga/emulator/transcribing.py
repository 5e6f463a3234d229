"""What the emulated transcription model reports about one committed turn.

The words come from the script; shape, order and billing follow the configured model: several deltas or a single one,
tokens or seconds, languages and log probabilities when asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .. import models
from .actions import Event
from .conversation import audio_tokens, text_tokens
from .reply import words

LOGPROBS = "item.input_audio_transcription.logprobs"
_LOGPROB = -0.05
PREFIX = "conversation.item.input_audio_transcription"


class Transcriber:
    """One model's way of reporting, from `session.audio.input.transcription` and `session.include`."""

    def __init__(self, settings: Mapping[str, Any], include: list[str] | None) -> None:
        self._model = models.find(settings["model"])
        self._settings = settings
        self._wants_logprobs = LOGPROBS in (include or ())

    @property
    def streams(self) -> bool:
        """Whether deltas come while the user still speaks."""
        return self._model is not None and self._model.deltas_before_commit

    def deltas(self, text: str) -> list[Event]:
        """The delta events' own fields for `text`; whisper-1 gives its whole text in one."""
        if not text:
            return []
        pieces = [text] if self._settings["model"] == "whisper-1" else words(text)
        return [{"delta": piece, **self._logprobs(piece)} for piece in pieces]

    def completed(self, text: str, audio_ms: float) -> Event:
        """The completed event's own fields."""
        fields: Event = {"transcript": text, "usage": self._usage(text, audio_ms), **self._logprobs(text)}
        if self._settings["model"] == "gpt-transcribe":
            languages = self._settings.get("languages") or ["en"]
            fields["languages"] = [{"code": languages[0]}] if text else []
        return fields

    def _usage(self, text: str, audio_ms: float) -> Event:
        if self._model is None or self._model.usage != "tokens":
            return {"type": "duration", "seconds": math.ceil(audio_ms / 1000)}
        heard, written = audio_tokens(audio_ms, 100), text_tokens(text)
        prompt = text_tokens(self._settings.get("prompt") or "")
        return {
            "type": "tokens",
            "total_tokens": heard + prompt + written,
            "input_tokens": heard + prompt,
            "input_token_details": {"text_tokens": prompt, "audio_tokens": heard},
            "output_tokens": written,
        }

    def _logprobs(self, text: str) -> Event:
        if not self._wants_logprobs or self._model is None or "logprobs" not in self._model.takes:
            return {}
        tokens = words(text) if text else []
        return {"logprobs": [{"token": t, "logprob": _LOGPROB, "bytes": list(t.encode())} for t in tokens]}
