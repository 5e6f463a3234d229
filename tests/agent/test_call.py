"""An AgentSession holds a call: greeting, tools, barge-in, reconnect."""

from __future__ import annotations

import asyncio

from livekit.agents import Agent, function_tool, llm

from livekit_plugins_openai_ga.emulator import Emulator, Script, ToolCall, Turn

LONG = "This is a long answer that goes on and on, about the weather, the sea and the stars, until somebody stops it."


async def test_the_agent_greets_and_is_heard(start_call):
    async with Emulator(Script([Turn(say="Hello, how can I help?")])) as server:
        call = await start_call(server)
        await call.session.generate_reply(instructions="Greet the caller.")
        assert call.texts("assistant") == ["Hello, how can I help?"]
        assert call.speaker.loudness > 1000
        (create,) = server.received("response.create")
        assert create["response"]["instructions"] == "Be brief.\nGreet the caller."


async def test_a_spoken_question_gets_a_spoken_answer(start_call):
    async with Emulator(Script([Turn(heard="What time is it?", say="It is noon.")])) as server:
        call = await start_call(server)
        call.microphone.say("What time is it?")
        await call.until(lambda: call.texts("assistant") == ["It is noon."] and call.texts("user") != [])
        assert call.texts("user") == ["What time is it?"]
        finals = [e for e in call.named("user_input_transcribed") if e.is_final]
        assert [e.transcript for e in finals] == ["What time is it?"]


async def test_a_tool_is_called_and_its_result_is_spoken_about(start_call):
    class Weather(Agent):
        def __init__(self) -> None:
            super().__init__(instructions="Tell the weather.")

        @function_tool
        async def get_weather(self, city: str) -> str:
            """The weather in a city.

            Args:
                city: its name
            """
            return f"sunny in {city}"

    turns = [
        Turn(heard="Weather in Lisbon?", tool=ToolCall("get_weather", {"city": "Lisbon"})),
        Turn(say="It is sunny in Lisbon."),
    ]
    async with Emulator(Script(turns)) as server:
        call = await start_call(server, Weather())
        call.microphone.say("Weather in Lisbon?")
        await call.until(lambda: "It is sunny in Lisbon." in call.texts("assistant"))
        outputs = [
            create["item"]
            for create in server.received("conversation.item.create")
            if create["item"]["type"] == "function_call_output"
        ]
        assert [o["output"] for o in outputs] == ["sunny in Lisbon"]
        assert server.sent("error") == []


async def test_a_handoff_takes_along_what_the_user_said_although_its_transcript_comes_later(start_call):
    class Billing(Agent):
        def __init__(self, chat_ctx: llm.ChatContext) -> None:
            super().__init__(instructions="You do the bills.", chat_ctx=chat_ctx)

    class Reception(Agent):
        def __init__(self) -> None:
            super().__init__(instructions="You pass callers on.")

        @function_tool
        async def pass_on(self) -> Agent:
            """Pass the caller on."""
            billing = Billing(self.chat_ctx.copy())
            await call.until(lambda: [e for e in call.named("user_input_transcribed") if e.is_final] != [])
            return billing

    turns = [Turn(heard="My bill is wrong.", tool=ToolCall("pass_on"))]
    async with Emulator(Script(turns)) as server:
        call = await start_call(server, Reception())
        call.microphone.say("My bill is wrong.")
        await call.until(lambda: isinstance(call.session.current_agent, Billing))
        billing = call.session.current_agent
        await call.until(lambda: billing._activity is not None and billing.realtime_llm_session is call.rt)
        await call.rt.update_chat_ctx(billing.chat_ctx)
        assert [m.text_content for m in billing.chat_ctx.messages()] == ["My bill is wrong."]
        assert [m.text_content for m in call.rt.chat_ctx.messages()] == ["My bill is wrong."]
        spoken = [e["item"]["id"] for e in server.sent("conversation.item.added") if e["item"].get("role") == "user"]
        assert not {e["item_id"] for e in server.received("conversation.item.delete")} & set(spoken)
        assert len(server.sessions) == 1


async def test_barge_in_cuts_the_reply_to_what_was_heard(start_call):
    turns = [Turn(say=LONG), Turn(heard="Stop.", say="All right.")]
    async with Emulator(Script(turns)) as server:
        call = await start_call(server)
        speech = call.session.generate_reply()
        await call.until(lambda: call.speaker._started is not None)
        await asyncio.sleep(1.2)  # the caller listens for a while
        call.microphone.say("Stop right there, please.")
        await call.until(lambda: call.texts("assistant")[-1:] == ["All right."])
        assert speech.interrupted
        (seconds, interrupted), *_ = call.speaker.heard
        assert interrupted
        (cut,) = server.received("conversation.item.truncate")
        assert abs(cut["audio_end_ms"] - seconds * 1000) < 100
        # The server, the model's history and LiveKit's history agree on what was heard.
        heard = call.texts("assistant")[0]
        assert LONG.startswith(heard.rstrip())
        assert len(heard) < len(LONG)
        mirrored = call.rt.chat_ctx.get_by_id(cut["item_id"])
        assert mirrored is not None
        assert mirrored.text_content == heard
        assert server.received("conversation.item.delete") == []
        # The server's turn detection and the client may both cancel; the one who comes late is told so.
        assert {e["error"]["code"] for e in server.sent("error")} <= {"response_cancel_not_active"}


async def test_the_call_goes_on_after_the_connection_drops(start_call):
    turns = [Turn(say="Hello."), Turn(heard="Are you there?", say="Yes, still here.")]
    async with Emulator(Script(turns)) as server:
        call = await start_call(server)
        await call.session.generate_reply()
        await server.drop()
        await call.until(lambda: call.named("session_reconnected") != [])
        call.microphone.say("Are you there?")
        await call.until(lambda: "Yes, still here." in call.texts("assistant"))
        replayed = [c["item"]["content"][0]["text"] for c in server.received("conversation.item.create")]
        assert replayed == ["Hello."]
        assert [e.error.recoverable for e in call.named("error")] == [True]
        assert len(server.received("session.update")) == 2
