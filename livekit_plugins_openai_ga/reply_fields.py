"""One table of what a single reply can be told: how each value is checked, and where it stands in `response.create`.

A reply takes a part of what a session takes (`session_fields`), under the names it has on the wire, and three things of
its own. What is left out stays as the session has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livekit.agents.types import NotGiven

from .core.replies import CORRELATION
from .session_fields import FIELDS, Field, Target, modality, one_of

MAX_METADATA = 15
"""GA takes 16 pairs; the plugin needs one of them to know its reply again."""

MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512


def _metadata(value: Any, target: Target) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise ValueError("metadata is not a dict of texts: pass {'topic': 'billing'} or the like.")
    if CORRELATION in value:
        raise ValueError(f"metadata.{CORRELATION} is how this plugin knows its replies: use another key.")
    if len(value) > MAX_METADATA:
        raise ValueError(f"metadata has {len(value)} pairs: use {MAX_METADATA} at most.")
    for key, text in value.items():
        if len(key) > MAX_METADATA_KEY or len(text) > MAX_METADATA_VALUE:
            limits = f"{MAX_METADATA_KEY} characters at most for a key, {MAX_METADATA_VALUE} for a value"
            raise ValueError(f"metadata.{key[:MAX_METADATA_KEY]} is too long: use {limits}.")
    return dict(value)


REPLY_FIELDS: Mapping[str, Field] = {
    "output_modalities": Field(
        lambda value, target: modality("output_modalities", value), "session", "output_modalities"
    ),
    **{
        name: FIELDS[name]
        for name in ("voice", "tool_choice", "max_output_tokens", "reasoning", "parallel_tool_calls", "prompt")
    },
    "conversation": Field(
        lambda value, target: one_of("conversation", value, ("auto", "none")), "session", "conversation"
    ),
    "metadata": Field(_metadata, "session", "metadata"),
}


def response(given: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """The `response` of a `response.create` that says what was given; NOT_GIVEN is left out.

    Raises ValueError: one sentence that names the parameter and says what to do.
    """
    told: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, NotGiven):
            continue
        field = REPLY_FIELDS[name]
        checked = field.check(value, target)
        if checked is None or isinstance(checked, NotGiven):  # the check says: better not sent at all
            continue
        box = told.setdefault("audio", {}).setdefault("output", {}) if field.box == "output" else told
        box[field.wire] = checked
    return told
