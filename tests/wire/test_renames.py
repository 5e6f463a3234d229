"""The beta -> GA tables, checked against both sets of types in the openai SDK."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Any

import pytest
from openai.types.beta import realtime as beta
from openai.types.beta.realtime.session_update_event import Session as BetaSession
from openai.types.realtime import (
    RealtimeClientEvent,
    RealtimeServerEvent,
    RealtimeSessionCreateRequest,
    realtime_audio_formats,
    realtime_conversation_item_assistant_message,
)
from pydantic import BaseModel

from livekit_plugins_openai_ga.wire import renames


def classes(annotation: Any) -> list[type[BaseModel]]:
    """Every pydantic model inside an annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [cls for arg in typing.get_args(annotation) for cls in classes(arg)]


def literals(annotation: Any) -> set[str]:
    """Every string inside the Literals of an annotation."""
    args = typing.get_args(annotation)
    return {arg for arg in args if isinstance(arg, str)} | {v for arg in args for v in literals(arg)}


def event_names(union: Any) -> set[str]:
    return {name for cls in classes(union) for name in literals(cls.model_fields["type"].annotation)}


def has_path(model: type[BaseModel], path: str) -> bool:
    head, _, rest = path.partition(".")
    field = model.model_fields.get(head)
    if field is None:
        return False
    return not rest or any(has_path(cls, rest) for cls in classes(field.annotation))


GA_SERVER = event_names(RealtimeServerEvent)
GA_CLIENT = event_names(RealtimeClientEvent)


def test_every_beta_server_event_that_ga_lacks_is_renamed() -> None:
    missing = event_names(beta.RealtimeServerEvent) - GA_SERVER
    assert missing
    assert missing <= set(renames.SERVER_EVENTS)


def test_every_beta_client_event_that_ga_lacks_is_renamed() -> None:
    assert event_names(beta.RealtimeClientEvent) - GA_CLIENT == set(renames.CLIENT_EVENTS)


@pytest.mark.parametrize("name", renames.SERVER_EVENTS.values())
def test_a_renamed_server_event_exists_in_ga(name: str) -> None:
    assert name in GA_SERVER


@pytest.mark.parametrize("name", renames.CLIENT_EVENTS.values())
def test_a_renamed_client_event_exists_in_ga(name: str) -> None:
    assert name in GA_CLIENT


def test_no_ga_name_is_renamed_away() -> None:
    # `conversation.item.created` is still in the SDK's union, but GA never sends it.
    assert set(renames.SERVER_EVENTS) & GA_SERVER == {"conversation.item.created"}
    assert not set(renames.CLIENT_EVENTS) & GA_CLIENT


def test_every_beta_session_field_that_ga_lacks_is_renamed_or_removed() -> None:
    lost = set(BetaSession.model_fields) - set(RealtimeSessionCreateRequest.model_fields)
    assert lost == set(renames.SESSION_FIELDS)


@pytest.mark.parametrize("path", [path for path in renames.SESSION_FIELDS.values() if path])
def test_a_session_field_leads_to_a_ga_path(path: str) -> None:
    assert has_path(RealtimeSessionCreateRequest, path)


def test_every_beta_format_becomes_a_ga_format() -> None:
    assert set(renames.FORMATS) == literals(BetaSession.model_fields["input_audio_format"].annotation)
    ga_types = event_names(realtime_audio_formats.RealtimeAudioFormats)
    assert {value["type"] for value in renames.FORMATS.values()} == ga_types
    # The server refuses PCM without a rate.
    assert renames.FORMATS["pcm16"]["rate"] == 24000


def test_assistant_content_becomes_output_content() -> None:
    content = realtime_conversation_item_assistant_message.Content.model_fields["type"].annotation
    assert set(renames.CONTENT_TYPES.values()) == literals(content)


@pytest.mark.parametrize(
    "table",
    [renames.SERVER_EVENTS, renames.CLIENT_EVENTS, renames.SESSION_FIELDS, renames.FORMATS, renames.CONTENT_TYPES],
)
def test_the_tables_cannot_be_changed(table: Any) -> None:
    assert isinstance(table, types.MappingProxyType)
