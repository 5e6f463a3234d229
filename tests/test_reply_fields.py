"""What one reply can be told: checked before it leaves, in the words of the parameter."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.agents.types import NOT_GIVEN
from openai.types import realtime as ga

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.core.replies import CORRELATION
from livekit_plugins_openai_ga.reply_fields import REPLY_FIELDS, response

TARGET = RealtimeModel(api_key="sk-test").options
PLAIN = RealtimeModel(api_key="sk-test", model="gpt-realtime-1.5").options


@pytest.mark.parametrize(
    ("name", "value", "wire"),
    [
        ("output_modalities", ["text"], {"output_modalities": ["text"]}),
        ("output_modalities", ["text", "audio"], {"output_modalities": ["audio"]}),
        ("voice", "cedar", {"audio": {"output": {"voice": "cedar"}}}),
        ("voice", "voice_1", {"audio": {"output": {"voice": {"id": "voice_1"}}}}),
        ("max_output_tokens", 20, {"max_output_tokens": 20}),
        ("max_output_tokens", None, {"max_output_tokens": "inf"}),
        ("reasoning", "high", {"reasoning": {"effort": "high"}}),
        ("reasoning", ga.RealtimeReasoning(effort="minimal"), {"reasoning": {"effort": "minimal"}}),
        ("parallel_tool_calls", False, {"parallel_tool_calls": False}),
        ("prompt", {"id": "pmpt_1"}, {"prompt": {"id": "pmpt_1"}}),
        ("tool_choice", "required", {"tool_choice": "required"}),
        ("conversation", "none", {"conversation": "none"}),
        ("metadata", {"topic": "mood"}, {"metadata": {"topic": "mood"}}),
        *((name, NOT_GIVEN, {}) for name in REPLY_FIELDS),
        *((name, None, {}) for name in ("reasoning", "prompt", "metadata")),
    ],
)
def test_a_reply_is_told_what_was_given_and_nothing_else(name: str, value: Any, wire: dict[str, Any]) -> None:
    assert response({name: value}, TARGET) == wire


@pytest.mark.parametrize("name", ["reasoning", "parallel_tool_calls"])
def test_a_model_that_does_not_reason_is_not_told_to(name: str) -> None:
    assert response({name: {"effort": "low"} if name == "reasoning" else True}, PLAIN) == {}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "output_modalities",
            ["video"],
            r"^output_modalities=\['video'\] is not supported: use \['audio'\] or \['text'\]",
        ),
        ("voice", "breeze", "^voice='breeze' is not supported: use one of 'alloy'"),
        ("max_output_tokens", 0, "^max_output_tokens=0 is not supported"),
        ("reasoning", "max", r"^reasoning\.effort='max' is not supported"),
        ("conversation", "default", "^conversation='default' is not supported: use one of 'auto', 'none'"),
        ("metadata", ["mood"], "^metadata is not a dict of texts: pass"),
        ("metadata", {"count": 1}, "^metadata is not a dict of texts: pass"),
        (
            "metadata",
            {CORRELATION: "x"},
            r"^metadata\.client_event_id is how this plugin knows its replies: use another",
        ),
        ("metadata", {str(n): "" for n in range(16)}, "^metadata has 16 pairs: use 15 at most"),
        ("metadata", {"k" * 65: ""}, "is too long: use 64 characters at most for a key, 512 for a value"),
        ("metadata", {"k": "v" * 513}, r"^metadata\.k is too long: use 64"),
    ],
)
def test_what_ga_would_refuse_is_refused_by_its_name(name: str, value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        response({name: value}, TARGET)


def test_every_field_of_a_reply_in_the_sdk_can_be_told() -> None:
    """`audio` is told as `voice`, its format belongs to the session; the rest are arguments of `generate_reply`."""
    beside = {"instructions", "tools", "input", "audio"}
    assert set(ga.RealtimeResponseCreateParams.model_fields) - beside == REPLY_FIELDS.keys() - {"voice"}
