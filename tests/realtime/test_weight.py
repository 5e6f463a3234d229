"""What an idle session is made of: each table that Python makes for an object's attributes is in every call."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import livekit_plugins_openai_ga as plugin
from livekit_plugins_openai_ga.emulator import Emulator

SHARED_ATTRIBUTES = 30
"""CPython keeps the names of so many attributes once for a class. Objects with more have a table of 1.7 KiB each."""

WITH_TABLES = {"Conversation", "_SessionLog"}
"""One has too many attributes for a line of slots that anybody would read, the other is a `LoggerAdapter`."""


def attributes(thing: Any) -> Iterator[Any]:
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    for name in (*getattr(thing, "__dict__", ()), *slots):
        yield getattr(thing, name, None)


OF_A_CONNECTION = ("transport.link", "transport.framing", "transport.pulse")


def parts(session: plugin.RealtimeSession) -> list[Any]:
    """The objects of this package's own that belong to a session, without its connection's."""
    found: dict[int, Any] = {}
    rest = list(attributes(session))
    while rest:
        thing = rest.pop()
        module = type(thing).__module__
        own = module.startswith(plugin.__name__) and module.removeprefix(f"{plugin.__name__}.") not in OF_A_CONNECTION
        shared = isinstance(thing, plugin.RealtimeModel | plugin.RealtimeSession | enum.Enum)
        if own and not shared and id(thing) not in found:
            found[id(thing)] = thing
            rest += attributes(thing)
    return list(found.values())


async def test_a_session_has_less_attributes_than_python_shares_the_names_of(open_session):
    async with Emulator() as server:
        session = open_session(server).session
        assert len(vars(session)) < SHARED_ATTRIBUTES


async def test_the_parts_of_a_session_have_no_tables_of_attributes(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        found = {type(part).__name__: part for part in parts(call.session)}
        assert {"Conversation", "Mirror", "Outbox", "ReplyStreams", "Supervisor", "Trail"} <= found.keys()
        assert {name for name, part in found.items() if hasattr(part, "__dict__")} <= WITH_TABLES
