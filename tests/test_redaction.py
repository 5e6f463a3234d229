"""Keys are cut out of text, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from livekit_plugins_openai_ga.redaction import Secret, harmless, hide, redact, secrets_in, traces


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
        ("ghp_abcdefghijklmnop0123 and AKIAIOSFODNN7EXAMPLE", "[redacted] and [redacted]"),
        ("x-eyJhbGciOi.eyJzdWIi.c2ln, and so on", "x-[redacted], and so on"),
        ("{'password': 'hunter2', 'n': 1}", "{'password': '[redacted]', 'n': 1}"),
        ('{"city": "Rome", "password": "hun', '{"city": "Rome", "password": "[redacted]'),
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


@pytest.mark.parametrize("wrapped", [1, 2, 3])
def test_what_json_in_a_text_has_under_a_name_of_credentials_is_cut(wrapped: int) -> None:
    secrets = {
        "api_key": "hunter2",
        "Authorization": "Basic hunter2",
        "x-api-key": "hunter2",
        "client-secret": "hunter2",
    }
    others = {"headers": {"x": "hunter2"}, "token": 70707, "tokens": 5, "city": "Rome", "password": ""}
    text: str = json.dumps({**secrets, **others})
    for _ in range(1, wrapped):
        text = json.dumps({"arguments": text})
    text = redact(text)
    assert "hunter2" not in text
    assert "70707" not in text
    for _ in range(1, wrapped):
        text = json.loads(text)["arguments"]
    hidden = dict.fromkeys([*secrets, "headers", "token"], "[redacted]")
    assert json.loads(text) == {**hidden, "tokens": 5, "city": "Rome", "password": ""}


def test_a_quote_in_a_password_does_not_end_it() -> None:
    assert json.loads(redact(json.dumps({"password": 'hun"ter"2', "n": 1}))) == {"password": "[redacted]", "n": 1}


_HOSTILE = """
from livekit_plugins_openai_ga.redaction import redact
for end in ("", ". ", "@"):
    for piece in (
        "eyJa-", "-eyJ.", "eyJ", "-", "a.eyJ", chr(92), chr(92) + '"token', '"token":', '"token":"', '"headers":{',
        '"token" ', "api_key", "api_key ", "api_key=.", "bearer ", "bearer a", "sk-", "sk-.", "ghp_", "xoxa-", "://a",
        "&token=", "x@", " ", "."
    ):
        redact("key eyJ" + piece * 40000 + end)
"""


def test_a_long_text_is_gone_through_in_steps_that_grow_with_its_length_only() -> None:
    """What looks at 200,000 characters for each of them takes more than a minute for one of these texts."""
    done = subprocess.run([sys.executable, "-c", _HOSTILE], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_letter_that_only_folds_to_one_of_a_key_hides_none() -> None:
    assert redact("it is s\u212a-proj-0123") == "it is [redacted]"
    assert (
        redact("pa\u017f\u017fword: {'pa\u017f\u017fword': 'hunter2'}")
        == "pa\u017f\u017fword: {'pa\u017f\u017fword': '[redacted]'}"
    )


def test_texts_with_a_key_among_many_are_not_harmless() -> None:
    texts = ["How are you?", "resp_CfV8abc123", "It is 0f1e2d3c4b5a."]
    assert harmless("\0".join(texts))
    assert harmless("\0".join(texts), ["0f1e2d3c4b5b"])
    assert not harmless("\0".join(texts), ["0f1e2d3c4b5b", "0f1e2d3c4b5a"])
    assert not harmless("\0".join([*texts, "Bearer 0123456789"]))


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
