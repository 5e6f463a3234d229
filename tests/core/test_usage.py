"""Usage as plain numbers."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga.core.usage import ReplyUsage, TranscriptionUsage, reply_usage, transcription_usage

FULL = {
    "total_tokens": 100,
    "input_tokens": 70,
    "output_tokens": 30,
    "input_token_details": {
        "text_tokens": 20,
        "audio_tokens": 40,
        "image_tokens": 10,
        "cached_tokens": 15,
        "cached_tokens_details": {"text_tokens": 5, "audio_tokens": 7, "image_tokens": 3},
    },
    "output_token_details": {"text_tokens": 8, "audio_tokens": 22},
}


def test_every_count_of_a_reply_is_read() -> None:
    assert reply_usage(FULL) == ReplyUsage(
        total=100,
        input=70,
        output=30,
        input_text=20,
        input_audio=40,
        input_image=10,
        cached=15,
        cached_text=5,
        cached_audio=7,
        cached_image=3,
        output_text=8,
        output_audio=22,
    )


@pytest.mark.parametrize("payload", [None, {}, {"cents": 1}, {"input_token_details": {}}])
def test_a_usage_that_says_nothing_is_none(payload: Any) -> None:
    assert reply_usage(payload) is None


@pytest.mark.parametrize("odd", [None, "12", [], float("inf"), float("nan"), -1])
def test_a_count_that_is_no_count_is_zero(odd: Any) -> None:
    assert reply_usage({"total_tokens": odd, "input_token_details": odd, "output_tokens": 0}) == ReplyUsage()
    assert transcription_usage({"type": "tokens", "input_tokens": odd, "output_tokens": 0}) == TranscriptionUsage()


def test_a_transcript_is_billed_in_tokens_or_in_seconds() -> None:
    tokens = {"type": "tokens", "total_tokens": 9, "input_tokens": 5, "output_tokens": 4}
    details = {"input_token_details": {"audio_tokens": 5, "text_tokens": 0}}
    assert transcription_usage({**tokens, **details}) == TranscriptionUsage(total=9, input=5, input_audio=5, output=4)
    assert transcription_usage({"type": "duration", "seconds": 3.2}) == TranscriptionUsage(seconds=3.2)


@pytest.mark.parametrize("payload", [None, {}, {"type": "barter"}, {"type": []}])
def test_a_kind_of_billing_unknown_here_is_none(payload: Any) -> None:
    assert transcription_usage(payload) is None


@pytest.mark.parametrize("payload", [{"type": "duration", "seconds": "3"}, {"type": "duration"}, {"type": "tokens"}])
def test_a_billing_that_says_nothing_is_none(payload: Any) -> None:
    assert transcription_usage(payload) is None
