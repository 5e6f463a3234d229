"""Keys are cut out of text, and nothing else is."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.redaction import Secret, hide, redact, secrets_in, traces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Incorrect API key provided: hunter2. You can find your API key at https://platform.openai.com.",
            "Incorrect API key provided: [redacted]. You can find your API key at https://platform.openai.com.",
        ),
        ("Bearer 0123456789abcdef", "Bearer [redacted]"),
        ("Bearer abcdefghijklmnopqrstuvwxyz", "Bearer [redacted]"),
        (
            "http://user:hunter2@proxy.example:3128 isn't a valid proxy",
            "http://[redacted]@proxy.example:3128 isn't a valid proxy",
        ),
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
        "See https://platform.openai.com/docs, or mail help@openai.com.",
        "Conversation already has an active response in progress: resp_CfV8abc123.",
    ],
)
def test_words_that_only_look_like_keys_stay(text: str) -> None:
    assert redact(text) == text


def test_keys_that_are_known_are_cut_wherever_they_stand() -> None:
    assert hide("0f1e2d3c is not 0f1e2d3c4b5a", ["0f1e2d3c4b5a", "0f1e2d3c"]) == "[redacted] is not [redacted]"
    assert hide("nothing here", []) == "nothing here"


def test_a_key_is_looked_for_in_every_form_and_what_is_too_short_for_one_in_none() -> None:
    assert traces(["1", "", "Bearer 0f1e2d3c/4b5a", "0f1e2d3c"]) == (
        "Bearer%200f1e2d3c%2F4b5a",
        "Bearer 0f1e2d3c/4b5a",
        "0f1e2d3c%2F4b5a",
        "0f1e2d3c/4b5a",
        "0f1e2d3c",
    )


def test_secrets_are_found_wherever_they_are() -> None:
    token, key = Secret("token"), Secret("key")
    assert list(secrets_in({"tools": [{"authorization": token, "headers": {"X-Key": key}, "name": "find"}]})) == [
        token,
        key,
    ]
