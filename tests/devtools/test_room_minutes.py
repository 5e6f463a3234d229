"""What an agent reports into a room, laid beside what its caller heard."""

from __future__ import annotations

from typing import Any, cast

import pytest
from livekit.agents.voice import RemoteSession
from livekit.protocol.agent_pb import agent_session as pb

from livekit_plugins_openai_ga.devtools.call import CallerAudio
from livekit_plugins_openai_ga.devtools.minutes import Minutes
from livekit_plugins_openai_ga.devtools.room_caller import Ear
from livekit_plugins_openai_ga.devtools.room_minutes import RoomReader
from livekit_plugins_openai_ga.devtools.timeline import Entry
from livekit_plugins_openai_ga.devtools.wav import CallRecording

Event = pb.AgentSessionEvent
LOUD = b"\x00\x40\x00\xc0"


class Desk:
    """Minutes on a clock that the test turns, and the agent's session as its events arrive."""

    def __init__(self) -> None:
        self.now = 0.0
        self.followed: list[str] = []
        caller = CallerAudio(b"", CallRecording(), zero=0.0)
        self.minutes = Minutes(caller, clock=lambda: self.now, follow=self.followed.append)
        self.reader = RoomReader(self.minutes)
        self.session = RemoteSession(cast(Any, None))
        self.reader.attend(self.session)
        self.ear = Ear()

    def hears(self, *stretches: tuple[float, float]) -> None:
        """The agent, at these seconds of the call; the event loop's clock is 100 s ahead."""
        for start, end in stretches:
            self.ear.add(LOUD * round((end - start) * 12000), 100.0 + end)

    def at(self, now: float, name: str, **what: Any) -> None:
        self.now = now
        self.session.emit(name, Event(**{name: what}))

    def said(self, now: float, text: str, *, interrupted: bool = False) -> None:
        message = pb.ChatMessage(
            role=pb.ASSISTANT, content=[pb.ChatMessage.ChatContent(text=text)], interrupted=interrupted
        )
        item = pb.ChatContext.ChatItem(message=message)
        self.now = now
        self.session.emit(
            "conversation_item_added",
            Event(conversation_item_added=Event.ConversationItemAdded(item=item)),
        )

    def entries(self, lane: str) -> list[Entry]:
        self.reader.close(self.ear, 100.0)
        return [entry for entry in self.minutes.timeline.entries if entry.lane == lane]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def spans(entries: list[Entry]) -> list[tuple[float, float, str]]:
    return [(round(e.at, 1), round(e.until or 0.0, 1), e.text) for e in entries]


def test_a_message_takes_all_that_was_heard_until_it_was_reported(desk: Desk) -> None:
    desk.hears((1.0, 2.0), (3.0, 4.1), (6.0, 7.0))
    desk.said(4.0, "One. Two.")
    desk.said(7.0, "Three.", interrupted=True)
    said = desk.entries("agent")
    assert spans(said) == [(1.0, 4.1, "One. Two."), (6.0, 7.0, "Three.")]
    assert [entry.interrupted for entry in said] == [False, True]
    assert desk.followed == ["agent: One. Two.", "agent: Three. (interrupted)"]


def test_speech_without_a_pause_is_parted_where_the_first_message_was_reported(desk: Desk) -> None:
    desk.hears((1.0, 5.0))
    desk.said(2.7, "A preamble.")
    desk.said(5.0, "The answer.")
    assert spans(desk.entries("agent")) == [(1.0, 3.0, "A preamble."), (3.0, 5.0, "The answer.")]


def test_a_message_that_was_not_heard_is_not_on_the_line(desk: Desk) -> None:
    desk.said(4.0, "Too late.")
    assert desk.entries("agent") == []


def test_a_callers_turn_has_the_words_that_came_after_it(desk: Desk) -> None:
    desk.at(1.0, "user_state_changed", old_state=pb.US_LISTENING, new_state=pb.US_SPEAKING)
    desk.at(2.0, "user_state_changed", old_state=pb.US_SPEAKING, new_state=pb.US_LISTENING)
    desk.at(2.2, "user_input_transcribed", transcript="Hel", is_final=False)
    desk.at(2.5, "user_input_transcribed", transcript="Hello.", is_final=True)
    assert spans(desk.entries("caller")) == [(1.0, 2.0, "Hello.")]
    assert desk.followed == ["caller: Hello."]


def test_a_tools_call_lasts_from_its_start_to_its_end(desk: Desk) -> None:
    call = pb.FunctionCall(call_id="call_1", name="get_weather", arguments="{}")
    started, ended = Event.ToolExecutionUpdated.Started, Event.ToolExecutionUpdated.Ended
    desk.at(1.0, "tool_execution_updated", started=started(function_call=call))
    desk.at(3.0, "tool_execution_updated", ended=ended(call_id="call_1", message="sunny"))
    assert spans(desk.entries("tool")) == [(1.0, 3.0, "get_weather({}) -> sunny")]


def test_the_last_sums_are_the_bill(desk: Desk) -> None:
    for tokens in (10, 25):
        used = pb.LLMModelUsage(model="gpt-realtime-2.1", input_audio_tokens=tokens, output_audio_tokens=7)
        sums = pb.AgentSessionUsage(model_usage=[pb.ModelUsage(llm=used)])
        desk.at(1.0, "session_usage_updated", usage=sums)
    desk.entries("agent")
    assert "25 audio in" in desk.minutes.timeline.render()


def test_an_error_is_told_where_it_happened(desk: Desk) -> None:
    desk.at(2.0, "error", message="rate_limit_exceeded: wait")
    told = [(entry.at, entry.text) for entry in desk.entries("session")]
    assert told == [(2.0, "error: rate_limit_exceeded: wait"), (2.0, "closed")]
