"""What the emulated transcription model reports about one committed turn.

The words come from the script; shape, order and billing follow the configured model: several deltas or a single one,
tokens or seconds, languages and log probabilities when asked for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from ..models import Model
from .actions import Event
from .conversation import audio_tokens, text_tokens
from .reply import words
from .script import Turn

LOGPROBS = "item.input_audio_transcription.logprobs"
PREFIX = "conversation.item.input_audio_transcription"


class Transcriber:
    """One model's way of reporting. `settings` are as in `session.audio.input.transcription`.

    `logprobs`: they are wanted. `leading_space`: a streaming model's deltas begin with one.
    """

    def __init__(
        self, model: Model | None, settings: Mapping[str, Any], *, logprobs: bool = False, leading_space: bool = False
    ) -> None:
        self._model = model
        self._settings = settings
        self._tells_logprobs = logprobs and model is not None and "logprobs" in model.takes
        self._leading_space = leading_space

    @property
    def streams(self) -> bool:
        """Whether deltas come while the user still speaks."""
        return self._model is not None and self._model.deltas_before_commit

    def deltas(self, turn: Turn) -> list[Event]:
        """The delta events' own fields for a turn; whisper-1 gives its whole text in one."""
        if not turn.heard:
            return []
        pieces, logprobs = words(turn.heard), self._logprobs(turn)
        shares = [[logprob] for logprob in logprobs]
        if self._settings["model"] == "whisper-1":
            pieces, shares = [turn.heard], [logprobs]
        if self.streams and self._leading_space:
            pieces[0] = " " + pieces[0]
        return [{"delta": piece, **self._included(share)} for piece, share in zip(pieces, shares, strict=True)]

    def completed(self, turn: Turn, audio_ms: float) -> Event:
        """The completed event's own fields."""
        return {
            "transcript": turn.heard,
            "usage": self.usage(turn.heard, audio_ms),
            **self.languages(turn),
            **self._included(self._logprobs(turn)),
        }

    def languages(self, turn: Turn) -> Event:
        """The detected languages, from the one model that tells them."""
        if self._settings["model"] != "gpt-transcribe":
            return {}
        guess = (self._settings.get("languages") or ["en"])[0]
        found = (guess,) if turn.languages is None else turn.languages
        return {"languages": [{"code": code} for code in found] if turn.heard else []}

    def usage(self, text: str, audio_ms: float) -> Event:
        """The bill: tokens, or seconds begun."""
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

    def _included(self, logprobs: list[Event]) -> Event:
        return {"logprobs": logprobs} if self._tells_logprobs else {}

    def _logprobs(self, turn: Turn) -> list[Event]:
        tokens = words(turn.heard) if turn.heard else []
        values = itertools.cycle(turn.logprobs)
        return [
            {"token": t, "logprob": value, "bytes": list(t.encode())} for t, value in zip(tokens, values, strict=False)
        ]
