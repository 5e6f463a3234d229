"""A session attached to a call that runs on OpenAI: everything works but the audio, which runs elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, io, llm

from livekit_plugins_openai_ga import MCPTool, RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, MCPCall, Script, ToolCall, Turn, speak
from livekit_plugins_openai_ga.emulator.calls import Call
from livekit_plugins_openai_ga.emulator.faults import DropOn

from .conftest import QUICK, played

MINTED = {
    "type": "realtime",
    "model": "gpt-realtime-mini",
    "instructions": "As it was made.",
    "tools": [{"type": "function", "name": "theirs", "parameters": {"type": "object", "properties": {}}}],
    "audio": {
        "input": {"transcription": {"model": "gpt-transcribe"}, "turn_detection": {"type": "server_vad"}},
        "output": {"voice": "cedar", "format": {"type": "audio/pcmu"}},
    },
}
LONG = "One two three four five six seven eight nine ten eleven twelve."


async def answered(server: Emulator, **session: Any) -> Call:
    """A SIP call that is live."""
    call = server.calls.ring()
    url = f"{server.base_url}/realtime/calls/{call.id}/accept"
    key = {"Authorization": "Bearer sk-test"}
    async with aiohttp.ClientSession() as http, http.post(url, json={**MINTED, **session}, headers=key) as answer:
        assert answer.status == 200, await answer.text()
    return call


def messages(session: AgentSession) -> asyncio.Queue[llm.ChatMessage]:
    """What enters the history from here on."""
    said: asyncio.Queue[llm.ChatMessage] = asyncio.Queue()

    def note(event: Any) -> None:
        if event.item.type == "message":
            said.put_nowait(event.item)

    session.on("conversation_item_added", note)
    return said


def shop(require_approval: str) -> MCPTool:
    return MCPTool(server_label="shop", server_url="https://shop.test", require_approval=require_approval)


def frame() -> rtc.AudioFrame:
    return rtc.AudioFrame(bytes(960), 24000, 1, 480)


async def test_only_what_is_passed_changes_the_call(open_session):
    async with Emulator() as server:
        made = await answered(server)
        before = server.sessions[0].config
        call = open_session(server, call_id=made.id, speed=1.2)
        await call.session.update_instructions("Be brief.")
        after = server.sessions[0].config
        assert (after["instructions"], after["audio"]["output"].pop("speed")) == ("Be brief.", 1.2)
        assert after["tools"] == MINTED["tools"]
        assert after["audio"] == {**before["audio"], "output": {"voice": "cedar", "format": {"type": "audio/pcmu"}}}
        assert server.handshakes[-1].query == {"call_id": made.id}


async def test_a_prewarmed_connection_to_a_call_changes_nothing_of_it(reading):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        made = await answered(server)
        model = RealtimeModel(api_key="sk-test", base_url=server.base_url, conn_options=QUICK, call_id=made.id)
        model.prewarm()
        await server.wait_until(lambda: len(server.handshakes) == 1)
        session = model.session()
        assert (await reading(await session.generate_reply()))[0][0] == "Hello."
        assert len(server.handshakes) == 1
        assert server.sessions[0].config["tools"] == MINTED["tools"]
        assert server.sessions[0].config["instructions"] == MINTED["instructions"]
        await session.aclose()
        await model.aclose()


async def test_tools_that_are_taken_back_are_gone(open_session):
    async with Emulator() as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        tool = llm.function_tool(lambda: None, raw_schema={"name": "mine", "parameters": {"type": "object"}})
        await call.session.update_tools([tool])
        assert [tool["name"] for tool in server.sessions[0].config["tools"]] == ["mine"]
        await call.session.update_tools([])
        assert not server.sessions[0].config["tools"]
        assert call.errors == []


async def test_push_audio_is_refused_once_and_nothing_else_is_disturbed(open_session, reading):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        for _ in range(100):
            call.session.push_audio(frame())
        reply = await call.session.generate_reply()
        assert [text for text, _ in await reading(reply)] == ["Hello."]
        (error,) = call.errors
        assert error.recoverable
        assert "audio_runs_elsewhere" in str(error.error)
        assert server.received("input_audio_buffer.append") == []


async def test_a_turn_of_the_caller_is_transcribed_and_answered(open_session, reading):
    script = Script([Turn(heard="Where is it?", say="On its way.")])
    async with Emulator(script) as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        await call.session.update_instructions("Be brief.")
        server.hear(made, speak("Where is it?") + bytes(48000))
        reply = await call.first("generation_created")
        assert [text for text, _ in await reading(reply)] == ["On its way."]
        told = call.events["input_audio_transcription_completed"]
        await call.until(lambda: told and told[-1].is_final)
        assert told[-1].transcript == "Where is it?"
        texts = [item.text_content for item in call.session.chat_ctx.items]
        assert texts == ["Where is it?", "On its way."]
        assert server.sent("input_audio_buffer.speech_started")  # on the call, and not here
        heard = [event["type"] for event in call.events["openai_server_event_received"]]
        assert [name for name in heard if name.startswith("input_audio_buffer") or "audio.delta" in name] == []


async def test_speech_is_told_where_the_server_tells_of_it(open_session):
    async with Emulator(knobs=Knobs(sideband_input_events=True)) as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        await call.session.update_instructions("Be brief.")
        server.hear(made, speak("Where is it?") + bytes(48000))
        await call.first("input_speech_started")
        await call.first("input_speech_stopped")


async def test_a_reply_ends_when_it_was_played(open_session, reading):
    async with Emulator(Script([Turn(say="A sentence that takes a while.")]), knobs=Knobs(pace=50.0)) as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        reply = await call.session.generate_reply()
        await reading(reply)
        names = [event["type"] for event in call.events["openai_server_event_received"]]
        assert names.index("response.done") < names.index("output_audio_buffer.stopped") <= len(names) - 1


async def test_an_interruption_stops_what_the_caller_hears(open_session, reading):
    async with Emulator(Script([Turn(say=LONG)]), knobs=Knobs(pace=50.0)) as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        reply = await call.session.generate_reply()
        await server.wait_sent("response.done")
        call.session.interrupt()
        await asyncio.wait_for(reading(reply), 2)  # long before it is over
        assert [event["type"] for event in server.sent("output_audio_buffer.cleared")]
        assert server.sent("output_audio_buffer.stopped") == []
        call.session.truncate(message_id="x", modalities=["audio"], audio_end_ms=0, audio_transcript="One")
        assert server.received("conversation.item.truncate") == []


async def test_the_agent_ends_a_turn_where_the_calls_detection_is_off(open_session):
    off = {**MINTED["audio"], "input": {**MINTED["audio"]["input"], "turn_detection": None}}
    async with Emulator(Script([Turn(heard="Over.", say="Roger.")])) as server:
        made = await answered(server, audio=off)
        call = open_session(server, call_id=made.id)
        await call.session.update_instructions("Be brief.")
        server.hear(made, speak("Over."))
        call.session.commit_audio()
        await call.session.generate_reply()
        told = call.events["input_audio_transcription_completed"]
        await call.until(lambda: told and told[-1].is_final)
        assert told[-1].transcript == "Over."


async def test_a_lost_connection_attaches_again_and_repeats_nothing(open_session, reading):
    script = Script([Turn(say="Hello."), Turn(say="Still here.")])
    async with Emulator(script) as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        await reading(await call.session.generate_reply())
        before = [item["id"] for item in server.sessions[0].items]
        await server.drop()
        await call.first("session_reconnected")
        assert [item["id"] for item in server.sessions[0].items] == before
        assert server.received("conversation.item.create") == []
        assert [text for text, _ in await reading(await call.session.generate_reply())] == ["Still here."]
        assert len(server.sessions) == 1


async def test_a_result_on_its_way_when_the_connection_goes_is_sent_again(open_session):
    async with Emulator(faults=[DropOn("conversation.item.added")]) as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        context = llm.ChatContext.empty()
        context.add_message(role="user", content="A note.", id="note")
        await call.session.update_chat_ctx(context)
        assert [item["id"] for item in server.sessions[0].items] == ["note"]
        assert all(error.recoverable for error in call.errors)


async def test_the_end_of_the_call_is_an_event_and_no_error(open_session):
    async with Emulator() as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        await call.session.update_instructions("Be brief.")
        waiting = call.session.generate_reply()
        server.calls.end(made, "hangup")
        with pytest.raises(llm.RealtimeError, match="The call is over"):
            await waiting
        assert (await call.first("call_ended")).call_id == made.id
        assert call.errors == []
        assert len(server.handshakes) == 1


async def test_a_call_that_ended_while_the_connection_was_lost_is_over(open_session):
    async with Emulator() as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        await call.session.update_instructions("Be brief.")
        dropped = asyncio.ensure_future(server.drop())
        server.calls.end(made, "hangup")
        await dropped
        assert (await call.first("call_ended")).call_id == made.id
        assert [error for error in call.errors if not error.recoverable] == []


async def test_a_call_that_is_not_there_is_an_error(open_session):
    async with Emulator() as server:
        call = open_session(server, call_id="rtc_nobody")
        await call.until(lambda: any(not error.recoverable for error in call.errors))
        assert "no such call" in str(call.errors[-1].error)
        assert len(server.handshakes) == 1 + QUICK.max_retry  # one that was just made may not be known yet


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"call_id": "abc"}, "call_id='abc'.*rtc_"),
        ({"call_id": ""}, "call_id=''"),
        ({"call_id": "rtc_1", "fallback_models": ["gpt-realtime-mini"]}, "fallback_models.*remove"),
        ({"call_id": "rtc_1", "input_audio_format": "pcmu"}, "input_audio_format.*call_id.*remove"),
        ({"call_id": "rtc_1", "output_audio_format": "pcm"}, "output_audio_format.*call_id.*remove"),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        RealtimeModel(api_key="sk-test", **options)


def test_a_call_is_not_replaced_before_the_server_ends_it():
    model = RealtimeModel(api_key="sk-test", call_id="rtc_1", max_session_duration=60)
    assert model.options.connection.max_session_duration is None
    assert model.options.endpoint().url == "wss://api.openai.com/v1/realtime?call_id=rtc_1"
    assert model.capabilities.turn_detection
    assert model.capabilities.user_transcription


async def test_what_is_added_comes_behind_what_was_said_before_the_attachment(open_session, reading):
    async with Emulator(Script([Turn(say="One."), Turn(say="Two."), Turn(say="Three.")])) as server:
        made = await answered(server)
        first = open_session(server, call_id=made.id)
        await reading(await first.session.generate_reply())
        second = open_session(server, call_id=made.id)
        for item_id, told in (("a", "One of"), ("b", "two notes.")):
            context = second.session.chat_ctx.copy()
            context.add_message(role="user", content=told, id=item_id)
            await second.session.update_chat_ctx(context)
            await reading(await first.session.generate_reply())
        ids = [item["id"] for item in server.sessions[0].items]
        assert (len(ids), ids[1], ids[3]) == (5, "a", "b")


@pytest.mark.parametrize("taking", ["vad", "manual"])
async def test_livekits_own_turn_taking_leaves_the_calls_alone(taking):
    script = Script([Turn(heard="Hello?", say="Here I am.")])
    async with Emulator(script) as server:
        made = await answered(server)
        before = server.sessions[0].config["audio"]["input"]["turn_detection"]
        session = AgentSession(
            llm=RealtimeModel(call_id=made.id, base_url=server.base_url, conn_options=QUICK), turn_detection=taking
        )
        said = messages(session)
        await session.start(Shop())
        await server.wait_sent("session.updated")  # before 1.5.17, `start` does not wait for it
        server.hear(made, speak("Hello?") + bytes(48000))
        assert [(await asyncio.wait_for(said.get(), 10)).text_content for _ in range(2)] == ["Hello?", "Here I am."]
        assert server.sessions[0].config["audio"]["input"]["turn_detection"] == before
        await session.aclose()


async def test_turns_are_the_agents_where_the_model_is_told_so():
    script = Script([Turn(heard="Over.", say="Roger.")])
    async with Emulator(script) as server:
        made = await answered(server)
        model = RealtimeModel(call_id=made.id, base_url=server.base_url, conn_options=QUICK, turn_detection=None)
        session, agent = AgentSession(llm=model, turn_detection="manual"), Shop()
        said = messages(session)
        await session.start(agent)
        await server.wait_until(lambda: server.sessions[0].config["audio"]["input"]["turn_detection"] is None)
        server.hear(made, speak("Over.") + bytes(48000))
        session.commit_user_turn()
        texts = [(await asyncio.wait_for(said.get(), 10)).text_content for _ in range(2)]
        assert sorted(texts) == ["Over.", "Roger."]
        await session.aclose()


async def test_a_reply_that_goes_on_behind_a_server_tool_ends_when_all_of_it_was_played(open_session, reading):
    find = MCPCall("shop", "find", output="3 pairs", seconds=0.0)
    script = Script([Turn(say="One moment, please.", mcp=(find,)), Turn(say="There are three pairs.")])
    async with Emulator(script, knobs=Knobs(pace=50.0)) as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        await call.session.update_tools([shop("never")])
        texts = await reading(await call.session.generate_reply())
        assert [text for text, _ in texts] == played("One moment, please.", "There are three pairs.")
        names = [event["type"] for event in call.events["openai_server_event_received"]]
        assert names.count("output_audio_buffer.stopped") == 2


async def test_a_caller_who_spoke_when_the_connection_was_lost_speaks_no_longer(open_session):
    async with Emulator(knobs=Knobs(sideband_input_events=True)) as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        await call.session.update_instructions("Be brief.")
        server.hear(made, speak("Where is it?")[:19200])
        await call.first("input_speech_started")
        await server.drop()
        await call.first("input_speech_stopped")


async def test_what_waited_for_an_approval_when_the_call_ended_waits_no_more(open_session, reading):
    asked: list[Any] = []
    async with Emulator(Script([Turn(mcp=(MCPCall("shop", "buy"),))])) as server:
        made = await answered(server)
        call = open_session(server, call_id=made.id)
        call.session.on("mcp_approval_requested", lambda event: asked.append(event))
        await call.session.update_tools([shop("always")])
        await reading(await call.session.generate_reply())
        server.calls.end(made, "hangup")
        await call.first("call_ended")
        with pytest.raises(llm.RealtimeError, match="waits no more"):
            asked[0].approve()


class Microphone(io.AudioInput):
    """Somebody started the agent with audio all the same."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self.taken = 0

    async def __anext__(self) -> rtc.AudioFrame:
        await asyncio.sleep(0.005)
        self.taken += 1
        return frame()


class Shop(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.asked: list[int] = []

    @llm.function_tool
    async def order_status(self, number: int) -> str:
        """Where an order is."""
        self.asked.append(number)
        return "On its way."


async def test_an_agent_without_a_room_has_the_call():
    script = Script([Turn(heard="Order 42.", tool=ToolCall("order_status", {"number": 42})), Turn(say="It comes.")])
    async with Emulator(script) as server:
        made = await answered(server)
        model = RealtimeModel(call_id=made.id, base_url=server.base_url, conn_options=QUICK)
        session, agent = AgentSession(llm=model), Shop()
        said = messages(session)
        await session.start(agent)
        await server.wait_sent("session.updated")  # before 1.5.17, `start` does not wait for it
        server.hear(made, speak("Order forty two.") + bytes(48000))
        assert [(await asyncio.wait_for(said.get(), 10)).text_content for _ in range(2)] == ["Order 42.", "It comes."]
        assert agent.asked == [42]
        await session.aclose()
        assert made.state == "live"  # the agent left; the caller did not


async def test_a_caller_who_speaks_interrupts_the_agent_and_the_server_cuts():
    script = Script([Turn(say=LONG), Turn(heard="Stop.", say="Yes?")])
    async with Emulator(script, knobs=Knobs(pace=20.0, sideband_input_events=True)) as server:
        made = await answered(server)
        model = RealtimeModel(call_id=made.id, base_url=server.base_url, conn_options=QUICK)
        session = AgentSession(llm=model)
        said = messages(session)
        await session.start(Shop())
        session.generate_reply()
        await server.wait_sent("response.done")
        await asyncio.sleep(0.3)  # some of it is heard
        server.hear(made, speak("Stop.") + bytes(48000))
        first = await asyncio.wait_for(said.get(), 5)
        assert (first.role, first.interrupted) == ("assistant", True)
        answers = [(await asyncio.wait_for(said.get(), 10)).text_content for _ in range(2)]
        assert sorted(answers) == ["Stop.", "Yes?"]
        assert len(server.sent("output_audio_buffer.cleared")) == 1
        assert len(server.sent("conversation.item.truncated")) == 1
        changes = ("conversation.item.truncate", "conversation.item.delete", "conversation.item.create")
        assert [event for name in changes for event in server.received(name)] == []
        await session.aclose()


async def test_what_is_said_before_a_tool_call_is_heard_to_its_end():
    """LiveKit interrupts before it asks for the reply to a tool's result: there is nothing left to interrupt."""
    first = Turn(say="One moment, please.", tool=ToolCall("order_status", {"number": 42}))
    async with Emulator(Script([first, Turn(say="It comes.")]), knobs=Knobs(pace=20.0)) as server:
        made = await answered(server)
        model = RealtimeModel(call_id=made.id, base_url=server.base_url, conn_options=QUICK)
        session = AgentSession(llm=model)
        said = messages(session)
        await session.start(Shop())
        session.generate_reply()
        texts = [(await asyncio.wait_for(said.get(), 10)).text_content for _ in range(2)]
        assert texts == ["One moment, please.", "It comes."]
        assert server.received("output_audio_buffer.clear") == server.received("response.cancel") == []
        assert server.sent("output_audio_buffer.cleared") == []
        await session.aclose()


async def test_audio_that_livekit_pushes_is_refused_once_and_the_agent_goes_on():
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        made = await answered(server)
        session = AgentSession(llm=RealtimeModel(call_id=made.id, base_url=server.base_url, conn_options=QUICK))
        said, errors, microphone = messages(session), [], Microphone()
        session.on("error", lambda event: errors.append(event.error))
        session.input.audio = microphone
        await session.start(Shop())
        session.generate_reply()
        assert (await asyncio.wait_for(said.get(), 10)).text_content == "Hello."
        before = microphone.taken
        await asyncio.sleep(0.1)
        assert microphone.taken > before > 20  # nobody stopped listening to it
        (error,) = errors
        assert (error.recoverable, "Start the AgentSession without audio input" in str(error.error)) == (True, True)
        await session.aclose()
