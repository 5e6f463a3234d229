"""The beta -> GA table, checked against both sets of types in the openai SDK."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest
from openai.types.beta import realtime as beta
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel

from livekit_plugins_openai_ga.wire import renames


def classes(annotation: Any) -> list[type[BaseModel]]:
    """Every pydantic model inside an annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [cls for arg in typing.get_args(annotation) for cls in classes(arg)]


def event_names(union: Any) -> set[str]:
    return {name for cls in classes(union) for name in typing.get_args(cls.model_fields["type"].annotation)}


GA_SERVER = event_names(RealtimeServerEvent)


def test_every_beta_server_event_that_ga_lacks_is_renamed() -> None:
    missing = event_names(beta.RealtimeServerEvent) - GA_SERVER
    assert missing
    assert missing <= set(renames.SERVER_EVENTS)


@pytest.mark.parametrize("name", renames.SERVER_EVENTS.values())
def test_a_renamed_server_event_exists_in_ga(name: str) -> None:
    assert name in GA_SERVER


def test_no_ga_name_is_renamed_away() -> None:
    # `conversation.item.created` is still in the SDK's union, but GA never sends it.
    assert set(renames.SERVER_EVENTS) & GA_SERVER == {"conversation.item.created"}
