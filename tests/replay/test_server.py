"""The recorded server, for a client of one's own."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from livekit.agents import Agent, AgentSession

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.recording.entries import Entry, Header, Recording
from livekit_plugins_openai_ga.recording.reader import read
from livekit_plugins_openai_ga.replay import Replay, clock
from tests.replay.sessions import SESSIONS, record


async def greeted(session) -> str:
    await session.update_instructions("Be kind.")
    reply = await session.generate_reply(instructions="Greet the caller.")
    return (await reply.end()).text


def test_a_client_of_ones_own_hears_the_recorded_server(tmp_path):
    path, _ = record(tmp_path, **SESSIONS["plain turn"])

    async def main():
        async with Replay(path) as server:
            session = RealtimeModel(base_url=server.base_url, api_key="sk-test", turn_detection=None).session()
            try:
                return await greeted(session), server
            finally:
                await session.aclose()

    text, server = clock.run(main())
    assert text == "Hello there."
    first, *_ = server.differences
    assert first.what.startswith("session.update differs in session.audio.input.turn_detection: ")
    assert any("the client left before" in difference.what for difference in server.differences)


def test_an_agent_is_played_to(tmp_path):
    path, _ = record(tmp_path, **SESSIONS["plain turn"])

    async def main():
        async with Replay(path) as server:
            model = RealtimeModel(base_url=server.base_url, api_key="sk-test")
            said: list[str] = []
            async with AgentSession(llm=model) as session:
                session.on("conversation_item_added", lambda event: said.append(event.item.text_content))
                await session.start(Agent(instructions="Be kind."))
                session.generate_reply(instructions="Greet the caller.")
                await asyncio.sleep(20)
            return said

    assert clock.run(main()) == ["Hello there.", "How are you?", "I am fine, thanks."]


def test_lost_connections_come_back(tmp_path):
    path, _ = record(tmp_path, **SESSIONS["busy server, then a session"])

    async def main():
        async with Replay(path) as server:
            session = RealtimeModel(base_url=server.base_url, api_key="sk-test").session()
            codes: list[str] = []
            session.on("error", lambda event: codes.append(event.error.body.code))
            try:
                return await greeted(session), codes
            finally:
                await session.aclose()

    assert clock.run(main()) == ("Hello there.", ["http_503", "http_503"])


def test_a_server_can_be_faster_than_it_was(tmp_path):
    path, _ = record(tmp_path, **SESSIONS["plain turn"])

    async def main(speed: float) -> float:
        async with Replay(path, speed=speed) as server:
            session = RealtimeModel(base_url=server.base_url, api_key="sk-test").session()
            begun = asyncio.get_running_loop().time()
            try:
                await greeted(session)
            finally:
                await session.aclose()
            return asyncio.get_running_loop().time() - begun

    assert clock.run(main(1.0)) > 5 * clock.run(main(100.0))


def test_a_client_that_does_nothing_is_not_waited_for_for_ever(tmp_path):
    path, _ = record(tmp_path, **SESSIONS["plain turn"])

    async def main():
        async with Replay(path, patience=0.5) as server:
            session = RealtimeModel(base_url=server.base_url, api_key="sk-test").session()
            said: list[str] = []
            session.on("remote_item_added", lambda event: said.append(event.item.type))
            await asyncio.sleep(10)
            await session.aclose()
            return said, [difference.what for difference in server.differences]

    said, differences = clock.run(main())
    assert "the client did not send response.create." in differences
    assert said == ["message", "message", "message"]


@pytest.mark.parametrize(("given", "named"), [({"speed": 0}, "speed=0"), ({"patience": -1.0}, "patience=-1.0")])
def test_what_cannot_be_is_refused_with_its_name(given, named, tmp_path):
    path, _ = record(tmp_path, **SESSIONS["invalid model"])
    with pytest.raises(ValueError, match=named):
        Replay(path, **given)


@pytest.mark.parametrize(
    ("note", "code"),
    [
        ({"code": "http_520", "kind": "reconnect"}, "http_520"),  # a proxy's own
        ({"code": "http_999", "kind": "reconnect"}, "close_1006"),  # there is no such status
    ],
)
def test_a_status_that_python_has_no_name_for(note, code):
    failed = Entry(1.0, 0, "note", {"type": "failed", "sentence": "x", **note})
    recording = Recording(Header(model="gpt-realtime"), (failed,))

    async def main():
        async with Replay(recording) as server:
            session = RealtimeModel(base_url=server.base_url, api_key="sk-test").session()
            codes: list[str] = []
            session.on("error", lambda event: codes.append(event.error.body.code))
            await asyncio.sleep(1)
            await session.aclose()
            return codes[0]

    assert clock.run(main()) == code


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"code": "close_0007"}, "close_1006"),  # there is none
        ({"code": "close_4321", "close_reason": "é" * 120}, "close_4321"),  # more bytes than characters
    ],
)
def test_a_close_that_is_too_long_or_none(end, code):
    created = Entry(1.0, 1, "in", {"type": "session.created", "session": {"id": "s"}})
    lost = Entry(100.0, 1, "note", {"type": "lost", "sentence": "x", **end})
    again = Entry(200.0, 2, "in", {"type": "session.created", "session": {"id": "t"}})

    async def main():
        async with Replay(Recording(Header(model="gpt-realtime"), (created, lost, again))) as server:
            session = RealtimeModel(base_url=server.base_url, api_key="sk-test").session()
            codes: list[str] = []
            session.on("error", lambda event: codes.append(event.error.body.code))
            await asyncio.sleep(3)
            await session.aclose()
            return codes[0]

    assert clock.run(main()) == code


def test_times_of_the_recording_are_todays(tmp_path):
    path, _ = record(tmp_path, **SESSIONS["plain turn"])
    recording = read(path)
    old = dataclasses.replace(recording, header=dataclasses.replace(recording.header, at=recording.header.at - 1e6))
    (created,) = [n for n, e in enumerate(old.entries) if e.event["type"] == "session.created"]
    then = old.entries[created].event["session"]["expires_at"]
    later = Replay(old).tape.event(
        next(n for n, e in enumerate(Replay(old).tape.entries) if "created" in e.event["type"])
    )
    assert later["session"]["expires_at"] - then >= 1e6 - 10
