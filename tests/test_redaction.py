"""Keys are cut out of text, and nothing else is."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.redaction import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Incorrect API key provided: hunter2. You can find your API key at https://platform.openai.com.",
            "Incorrect API key provided: [redacted]. You can find your API key at https://platform.openai.com.",
        ),
        ("Bearer 0123456789abcdef", "Bearer [redacted]"),
        ("Bearer abcdefghijklmnopqrstuvwxyz", "Bearer [redacted]"),
        ("wss://gw/?access_token=hunter2&model=m", "wss://gw/?access_token=[redacted]&model=m"),
    ],
)
def test_keys_of_any_shape_are_cut_and_the_rest_stays(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Missing bearer or basic authentication in header",
        "Use bearer authentication.",
        "This is a high-risk task-force on disk-full week_12 seek_to",
        "Unknown parameter: 'session.audio.input.turn_detection.threshold'.",
        "Set your API key in the header",
        "Conversation already has an active response in progress: resp_CfV8abc123.",
    ],
)
def test_words_that_only_look_like_keys_stay(text: str) -> None:
    assert redact(text) == text
