"""Nothing in the installed openai SDK's Realtime API goes unnoticed: each part is in the table of what is supported."""

from __future__ import annotations

import inspect
import typing
from collections import Counter
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai._resource import SyncAPIResource
from openai.types import realtime, webhooks
from pydantic import BaseModel

from tests.parity import support

SESSIONS: dict[str, type[BaseModel]] = {
    "realtime": realtime.RealtimeSessionCreateRequest,
    "transcription": realtime.RealtimeTranscriptionSessionCreateRequest,
    "translation": realtime.RealtimeTranslationSessionUpdateRequest,
    "reply": realtime.RealtimeResponseCreateParams,
}
WHOLE = {"reply input"}
"""Fields that are not looked into: items have a row of their own."""


def inner(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside an annotation; what an object with free keys may hold is the user's."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) is not dict:
        for each in typing.get_args(annotation):
            yield from inner(each)


def leaves(path: str, model: type[BaseModel], dot: str = " ") -> Iterator[str]:
    """`realtime audio.input.format.type` and all the other fields that hold no model."""
    for name, field in model.model_fields.items():
        place = f"{path}{dot}{field.alias or name}"
        models = [] if place in WHOLE else list(inner(field.annotation))
        if not models:
            yield place
        for each in models:
            yield from leaves(place, each, ".")


def names(union: Any) -> Iterator[str]:
    """The types of all events, or items, in a union."""
    members = [each for each in typing.get_args(union) if typing.get_args(each)] or [union]
    for member in typing.get_args(members[0]):
        yield from typing.get_args(member.model_fields["type"].annotation)


def methods(resource: Any, prefix: str = "") -> Iterator[str]:
    """What can be called in a part of the SDK's client."""
    for name in dir(type(resource)):
        if name.startswith(("_", "with_")):
            continue
        if inspect.isfunction(inspect.getattr_static(type(resource), name)):
            yield prefix + name
        elif isinstance(found := getattr(resource, name), SyncAPIResource):
            yield from methods(found, f"{prefix}{name}.")


def sdk() -> set[str]:
    """Every part of the API that the installed SDK knows."""
    found = {part for kind, model in SESSIONS.items() for part in leaves(kind, model)}
    for kind, unions in {
        "sends": (realtime.RealtimeClientEvent, realtime.RealtimeTranslationClientEvent),
        "receives": (realtime.RealtimeServerEvent, realtime.RealtimeTranslationServerEvent),
        "item": (realtime.ConversationItem,),
    }.items():
        found |= {f"{kind} {name}" for union in unions for name in names(union)}
    found |= {f"calls {name}" for name in methods(openai.OpenAI(api_key="none").realtime)}
    events = names(webhooks.UnwrapWebhookEvent)
    return found | {f"webhook {name}" for name in events if name.startswith("realtime.")}


LISTED = Counter(part for row in support.ROWS for part in row.parts)
FAR = "some part of the SDK is not walked any more"


def test_the_walk_finds_what_is_known_to_be_there() -> None:
    assert {
        "sends response.create",
        "sends session.close",
        "receives session.output_audio.delta",
        "realtime audio.input.turn_detection.idle_timeout_ms",
        "realtime tools.require_approval.never.tool_names",
        "transcription audio.input.transcription.languages",
        "translation audio.output.language",
        "reply metadata",
        "item mcp_call",
        "calls calls.refer",
        "calls translations.client_secrets.create",
        "webhook realtime.call.incoming",
    } <= sdk(), FAR


def test_every_part_of_the_sdk_is_supported_or_listed_with_the_reason() -> None:
    assert sorted(sdk() - set(LISTED)) == [], "build it, or say in tests/parity/support.py why not"


def test_nothing_is_listed_that_the_sdk_does_not_know() -> None:
    assert sorted(set(LISTED) - sdk()) == []


def test_each_part_has_one_row() -> None:
    assert [part for part, count in LISTED.items() if count > 1] == []


def test_the_pages_table_is_made_of_the_rows() -> None:
    page = support.PAGE.read_text(encoding="utf-8")
    assert support.with_table(page) == page, "run: python -m tests.parity.support"


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        support.with_table("# A page")
