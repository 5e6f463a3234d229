"""The session's calls, over real sockets to the emulator."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import function_tool, llm

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, ToolCall, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import DelayOn, DropOn, FailResponse, RefuseHandshake, RejectOn, RepeatOn

from .conftest import played

VAD = {"type": "server_vad", "silence_duration_ms": 300}


def frames(pcm: bytes, rate: int = 24000, ms: int = 20) -> list[rtc.AudioFrame]:
    size = rate * ms // 1000 * 2
    pieces = [pcm[i : i + size] for i in range(0, len(pcm), size)]
    return [rtc.AudioFrame(p, rate, 1, len(p) // 2) for p in pieces]


def tone(hz: float, seconds: float, rate: int, channels: int = 1) -> bytes:
    t = np.arange(int(seconds * rate)) / rate
    wave = (8000 * np.sin(2 * np.pi * hz * t)).astype("<i2")
    return np.repeat(wave, channels).tobytes()


# -- configuration ---------------------------------------------------------------------------------------------


async def test_everything_an_agent_starts_with_goes_out_in_one_update(open_session):
    @function_tool
    async def look_up(name: str) -> str:
        """Look something up."""
        return name

    history = llm.ChatContext()
    history.add_message(role="user", content="My name is Ada.", id="item_user")
    history.add_message(role="assistant", content="Hello, Ada.", id="item_agent")
    async with Emulator() as server:
        call = open_session(server)
        await call.session._update_session(instructions="Be brief.", chat_ctx=history, tools=[look_up])
        (update,) = server.received("session.update")
        assert update["session"]["instructions"] == "Be brief."
        assert [tool["name"] for tool in update["session"]["tools"]] == ["look_up"]
        types = [event["type"] for event in server.sessions[0].received]
        assert types == ["session.update", "conversation.item.create", "conversation.item.create"]
        assert [i.text_content for i in call.session.chat_ctx.items] == ["My name is Ada.", "Hello, Ada."]
        assert list(call.session.tools.function_tools) == ["look_up"]


@pytest.fixture
def in_steps(monkeypatch, set_up_at_once):
    """LiveKit before 1.5.17."""
    monkeypatch.delattr(llm.RealtimeSession, "_update_session", raising=False)


@pytest.mark.parametrize("history", [0, 2])
async def test_an_agent_that_is_set_up_in_steps_waits_for_its_history_only(open_session, in_steps, history):
    past = llm.ChatContext()
    for number in range(history):
        past.add_message(role="user", content=f"Sentence {number}.")
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        await call.session.update_chat_ctx(past)
        await call.session.update_tools([tool("look_up")])
        await server.wait_until(lambda: "look_up" in str(server.received("session.update")))
        updates = [update["session"] for update in server.received("session.update")]
        assert len(updates) == (2 if history else 1)
        assert updates[0]["instructions"] == "Be brief."
        assert len(server.received("conversation.item.create")) == history
        await call.session.update_instructions("Be kind.")  # confirmed: waited for
        assert server.received("session.update")[-1]["session"]["instructions"] == "Be kind."


async def test_what_is_refused_while_an_agent_is_set_up_in_steps_is_told(open_session, in_steps):
    fault = RejectOn("session.update", "string_above_max_length", "Too long.", "session.instructions")
    async with Emulator(faults=[fault]) as server:
        call = open_session(server)
        await call.session.update_instructions("x" * 100)
        error = await call.first("error")
        assert "Too long." in str(error.error)


async def test_no_reply_is_asked_for_before_the_configuration_is_confirmed(open_session):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        call = open_session(server)
        await call.session.generate_reply()
        raw = call.events["openai_client_event_queued"] + call.events["openai_server_event_received"]
        assert {"response.create", "session.updated"} <= {event["type"] for event in raw}
        session = server.sessions[0]
        assert [e["type"] for e in session.received][:2] == ["session.update", "response.create"]
        assert session.sent[1]["type"] == "session.updated"


async def test_only_what_changed_is_sent_later(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        call.session.update_options(max_response_output_tokens=200, voice="marin")
        await server.wait_received("session.update", count=2)
        change = server.received("session.update")[1]["session"]
        assert change == {"type": "realtime", "max_output_tokens": 200}


async def test_refused_instructions_raise_with_param_and_message_and_the_old_ones_stay(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        server.add_fault(RejectOn("session.update", "string_above_max_length", "Too long.", "session.instructions"))
        with pytest.raises(llm.RealtimeError, match=r"session\.instructions.*Too long|Too long.*session\.instructions"):
            await call.session.update_instructions("x" * 100)
        call.session.update_options(speed=1.2)
        await server.wait_received("session.update", count=3)
        change = server.received("session.update")[2]["session"]
        assert change == {"type": "realtime", "audio": {"output": {"speed": 1.2}}}


async def test_a_refused_option_rolls_back_and_is_reported(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        server.add_fault(RejectOn("session.update", "invalid_value", "Bad voice.", "session.audio.output.voice"))
        call.session.update_options(voice="cedar")
        error = await call.first("error")
        assert error.recoverable
        assert "Bad voice." in str(error.error)
        await call.session.update_instructions("Be kind.")
        assert server.received("session.update")[2]["session"] == {"type": "realtime", "instructions": "Be kind."}


def tool(name: str, description: str = "Does something.") -> llm.RawFunctionTool:
    async def run(raw_arguments: dict[str, object]) -> str:
        return name

    schema = {"name": name, "description": description, "parameters": {"type": "object", "properties": {}}}
    return function_tool(run, raw_schema=schema)


GOOD, BAD = tool("good"), tool("bad", "x" * 1025)


async def under_way() -> None:
    """Let what was just begun get as far as its request, and the server not yet to an answer."""
    for _ in range(3):
        await asyncio.sleep(0)


def tool_names(server: Emulator) -> list[str]:
    return [each["name"] for each in server.sessions[-1].config["tools"]]


async def test_a_tool_that_is_refused_is_left_out_and_told_and_the_rest_is_kept(open_session, caplog):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        await call.session._update_session(instructions="Be kind.", tools=[GOOD, BAD])
        assert (tool_names(server), server.sessions[0].config["instructions"]) == (["good"], "Be kind.")
        assert list(call.session.tools.function_tools) == ["good"]
        (error,) = call.errors
        assert error.recoverable
        for words in ("'bad' is left out", "session.tools[1].description", "too long"):
            assert words in str(error.error)
        assert "'bad' is left out" in caplog.text
        # What is left out here is not asked for again.
        call.session.update_options(speed=1.2)
        await server.wait_received("session.update", count=4)
        assert server.received("session.update")[3]["session"] == {
            "type": "realtime",
            "audio": {"output": {"speed": 1.2}},
        }


async def test_a_bad_tool_does_not_keep_a_session_from_beginning(open_session, reading):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        call = open_session(server)
        await call.session._update_session(instructions="Be brief.", tools=[BAD, GOOD])
        assert (await reading(await call.session.generate_reply()))[0][0] == "Hello."
        assert len(server.handshakes) == 1
        assert (tool_names(server), server.sessions[0].config["instructions"]) == (["good"], "Be brief.")
        assert len(call.errors) == 1


async def test_a_tool_left_out_stays_out_of_the_next_connection(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_tools([BAD, GOOD])
        call.session.restart()
        await call.first("session_reconnected")
        assert tool_names(server) == ["good"]
        assert len(call.errors) == 1


REFUSED = RejectOn("session.update", "string_above_max_length", "Too long.", "session.instructions", nth=2)


@pytest.mark.parametrize("later", ["instructions", "tools", "options"])
async def test_a_refused_change_takes_back_itself_and_not_one_that_came_later(open_session, later):
    """Both are on their way at once; the first is refused, the second taken."""
    changes = {
        "instructions": lambda session: session.update_instructions("Be kind."),
        "tools": lambda session: session.update_tools([GOOD]),
        "options": lambda session: asyncio.sleep(0, session.update_options(speed=1.2)),
    }
    async with Emulator(faults=[REFUSED]) as server:
        call = open_session(server)
        await call.session._update_session(instructions="Be brief.", tools=[tool("old")])
        first = asyncio.create_task(call.session._update_session(instructions="No.", tools=[tool("new")]))
        await under_way()
        await changes[later](call.session)
        await first
        assert "Too long." in str(call.errors[0].error)
        # Another change sends itself only: what is wanted here is what the server has.
        call.session.update_options(max_output_tokens=77)
        await server.wait_received("session.update", count=4)
        assert server.received("session.update")[3]["session"] == {"type": "realtime", "max_output_tokens": 77}
        await call.until(lambda: server.sessions[0].config["max_output_tokens"] == 77)
        config = server.sessions[0].config
        assert config["instructions"] == ("Be kind." if later == "instructions" else "Be brief.")
        assert tool_names(server) == list(call.session.tools.function_tools) == ["good" if later == "tools" else "old"]
        assert config["audio"]["output"]["speed"] == (1.2 if later == "options" else 1.0)


@pytest.mark.parametrize("later", ["instructions", "tools", "options"])
async def test_a_refused_change_leaves_the_one_before_it(open_session, later):
    refused = RejectOn("session.update", "invalid_value", "No.", "session", nth=3)
    async with Emulator(faults=[refused]) as server:
        call = open_session(server)
        await call.session._update_session(instructions="Be brief.", tools=[tool("old")])
        first = asyncio.create_task(call.session._update_session(instructions="Be kind.", tools=[GOOD]))
        await under_way()
        if later == "instructions":
            with pytest.raises(llm.RealtimeError, match=r"No\."):
                await call.session.update_instructions("No.")
        elif later == "tools":
            with pytest.raises(llm.RealtimeError, match=r"No\."):
                await call.session.update_tools([tool("new")])
        else:
            call.session.update_options(speed=1.2)
            await call.first("error")
        await first
        call.session.update_options(max_output_tokens=77)
        await server.wait_received("session.update", count=4)
        assert server.received("session.update")[3]["session"] == {"type": "realtime", "max_output_tokens": 77}
        assert tool_names(server) == list(call.session.tools.function_tools) == ["good"]
        assert server.sessions[0].config["instructions"] == "Be kind."
        assert call.session.tools.function_tools["good"] is GOOD


async def test_a_change_made_while_the_connection_was_down_and_refused_does_not_end_the_call(open_session, reading):
    async with Emulator(Script([Turn(say="Still here.")])) as server:
        call = open_session(server)
        await call.session._update_session(instructions="Be brief.", tools=[GOOD])
        server.add_fault(RejectOn("session.update", "string_above_max_length", "Too long.", "session.instructions"))
        server.add_fault(RefuseHandshake(503))
        call.session.restart()
        await call.first("error")
        with pytest.raises(llm.RealtimeError, match="Too long"):
            await call.session.update_instructions("x" * 100)
        assert (await reading(await call.session.generate_reply()))[0][0] == "Still here."
        assert (tool_names(server), server.sessions[1].config["instructions"]) == (["good"], "Be brief.")


async def test_a_voice_that_comes_too_late_waits_for_the_next_connection_and_the_rest_does_not(
    open_session, reading, caplog
):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        call = open_session(server)
        await reading(await call.session.generate_reply())
        call.session.update_options(voice="cedar", speed=1.2)
        call.session.update_options(voice="coral")
        await call.session.update_instructions("Be brief.")
        output = server.sessions[0].config["audio"]["output"]
        assert (output["voice"], output["speed"]) == ("marin", 1.2)
        assert caplog.text.count("voice changes with the next connection") == 1
        call.session.restart()
        await call.first("session_reconnected")
        output = server.sessions[1].config["audio"]["output"]
        assert (output["voice"], output["speed"]) == ("coral", 1.2)
        assert call.errors == []


async def test_a_voice_that_crosses_the_first_audio_is_deferred_too(open_session):
    refused = RejectOn(
        "session.update",
        "cannot_update_voice",
        "Cannot update a conversation's voice if assistant audio is present.",
        nth=2,
    )
    async with Emulator(faults=[refused]) as server:
        call = open_session(server)
        await call.session.update_instructions("")
        call.session.update_options(voice="cedar", speed=1.2)
        await call.session.update_instructions("Be brief.")
        await call.until(lambda: server.sessions[0].config["audio"]["output"]["speed"] == 1.2)
        config = server.sessions[0].config
        assert (config["audio"]["output"]["voice"], config["instructions"]) == ("marin", "Be brief.")
        assert call.errors == []
        call.session.restart()
        await call.first("session_reconnected")
        assert server.sessions[1].config["audio"]["output"]["voice"] == "cedar"


async def test_capabilities_follow_a_change_and_its_refusal(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        server.add_fault(RejectOn("session.update", "invalid_value", "Not now.", "session.audio.input"))
        call.session.update_options(turn_detection=None, input_audio_transcription=None)
        capabilities = call.session.capabilities
        assert (capabilities.turn_detection, capabilities.user_transcription) == (False, False)
        await call.first("error")
        capabilities = call.session.capabilities
        assert (capabilities.turn_detection, capabilities.user_transcription) == (True, True)


async def test_an_agent_whose_setup_is_refused_leaves_the_one_before_it_in_place(open_session):
    @function_tool
    async def weather(city: str) -> str:
        """The weather in a city."""
        return "sunny"

    async with Emulator() as server:
        call = open_session(server)
        await call.session._update_session(instructions="Be brief.", tools=[weather])
        server.add_fault(RejectOn("session.update", "invalid_value", "Bad tool.", "session.tools[0]"))
        await call.session._update_session(instructions="Sell.", tools=[])
        assert list(call.session.tools.function_tools) == ["weather"]
        call.session.update_options(speed=1.2)
        await server.wait_received("session.update", count=3)
        change = server.received("session.update")[2]["session"]
        assert change == {"type": "realtime", "audio": {"output": {"speed": 1.2}}}


async def test_turn_detection_can_be_off_for_one_session(open_session):
    async with Emulator() as server:
        call = open_session(server, turn_detection_disabled=True)
        await call.session.update_instructions("")
        assert server.received("session.update")[0]["session"]["audio"]["input"]["turn_detection"] is None
        assert not call.session.capabilities.turn_detection
        assert call.session.realtime_model.capabilities.turn_detection


# -- audio -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (48000, 1), (48000, 2), (44100, 1), (16000, 1), (8000, 2)])
async def test_pitch_and_length_of_user_audio_arrive(open_session, rate, channels):
    async with Emulator() as server:
        call = open_session(server, turn_detection=None)
        data = tone(440, 1.0, rate, channels)
        step = rate // 100 * channels * 2
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            call.session.push_audio(rtc.AudioFrame(piece, rate, channels, len(piece) // 2 // channels))
        call.session.commit_audio()
        await server.wait_received("input_audio_buffer.commit")
        sent = b"".join(base64.b64decode(e["audio"]) for e in server.received("input_audio_buffer.append"))
        samples = np.frombuffer(sent, "<i2").astype(float)
        assert abs(len(samples) / 24000 - 1.0) < 0.005
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        assert abs(np.argmax(spectrum) * 24000 / len(samples) - 440) < 2
        assert server.sent("error") == []


@pytest.mark.parametrize("watched", [True, False])
async def test_user_audio_arrives_whole_and_in_order_whether_somebody_watches_it_or_not(open_session, watched):
    async with Emulator() as server:
        call = open_session(server, turn_detection=None)
        call.session.watches_audio = watched
        await call.session.update_instructions("")  # configured: from now on it goes straight to the socket
        said = tone(440, 1.0, 24000)
        for frame in frames(said):
            call.session.push_audio(frame)
        call.session.commit_audio()
        await server.wait_received("input_audio_buffer.commit")
        sent = [base64.b64decode(e["audio"]) for e in server.received("input_audio_buffer.append")]
        assert b"".join(sent) == said
        assert len(sent) == 50
        watched_ones = [
            e for e in call.events["openai_client_event_queued"] if e["type"] == "input_audio_buffer.append"
        ]
        assert len(watched_ones) == (50 if watched else 0)


async def test_whoever_listens_to_what_leaves_hears_of_audio(open_session):
    async with Emulator() as server:
        call = open_session(server)
        session = call.session
        assert session.watches_audio
        model = session.realtime_model
        other = model.session()
        assert not other.watches_audio
        heard = other.on("openai_client_event_queued", lambda event: None)
        assert other.watches_audio
        other.off("openai_client_event_queued", heard)
        assert not other.watches_audio
        await other.aclose()


async def test_whoever_listens_to_what_comes_hears_of_it_from_then_on(open_session):
    async with Emulator() as server:
        session = open_session(server).session.realtime_model.session()
        all_of_it = []
        first = []
        await session.update_instructions("Nobody listens.")
        listener = session.on("openai_server_event_received", all_of_it.append)
        session.once("openai_server_event_received", first.append)
        await session.update_instructions("Be brief.")
        await session.update_instructions("Be kind.")
        assert [event["session"]["instructions"] for event in all_of_it] == ["Be brief.", "Be kind."]
        assert first == all_of_it[:1]
        session.off("openai_server_event_received", listener)
        await session.update_instructions("Nobody listens again.")
        assert len(all_of_it) == 2
        await session.aclose()


async def test_commit_needs_100_ms_and_clear_forgets(open_session):
    async with Emulator() as server:
        call = open_session(server, turn_detection=None)
        for frame in frames(bytes(4800 - 960)):  # 80 ms
            call.session.push_audio(frame)
        call.session.commit_audio()
        call.session.clear_audio()
        for frame in frames(bytes(4800)):
            call.session.push_audio(frame)
        call.session.commit_audio()
        call.session.commit_audio()  # of nothing
        await server.wait_sent("input_audio_buffer.committed")
        await call.session.update_instructions("Behind both.")
        assert len(server.received("input_audio_buffer.commit")) == 1
        assert len(server.received("input_audio_buffer.clear")) == 1
        assert server.sent("error") == []


async def test_what_was_cleared_does_not_count_for_a_commit(open_session):
    async with Emulator() as server:
        call = open_session(server, turn_detection=None)
        for ms in (80, 80, 100):
            for frame in frames(bytes(48 * ms)):
                call.session.push_audio(frame)
            call.session.commit_audio()
            call.session.clear_audio()
        await server.wait_received("input_audio_buffer.clear", count=3)
        assert len(server.received("input_audio_buffer.commit")) == 1


async def test_a_reply_asked_for_after_a_commit_does_not_overtake_the_audio(open_session):
    async with Emulator(Script([Turn(heard="Hi.", say="Hello.")])) as server:
        call = open_session(server, turn_detection=None)
        for frame in frames(speak("Hi there.", "alloy")):
            call.session.push_audio(frame)
        call.session.commit_audio()
        await call.session.generate_reply()
        types = [e["type"] for e in server.sessions[0].received if e["type"] != "input_audio_buffer.append"]
        assert types == ["session.update", "input_audio_buffer.commit", "response.create"]


async def test_a_video_frame_becomes_an_inline_image(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("")
        call.session.push_video(rtc.VideoFrame(16, 16, rtc.VideoBufferType.RGBA, bytes(16 * 16 * 4)))
        (create,) = await server.wait_received("conversation.item.create")
        (part,) = create["item"]["content"]
        assert part["type"] == "input_image"
        assert part["image_url"].startswith("data:image/jpeg;base64,")
        await server.wait_sent("conversation.item.added")
        assert server.sent("error") == []


async def test_a_spoken_turn_is_transcribed_piece_by_piece(open_session, reading):
    async with Emulator(Script([Turn(heard="What time is it?", say="Noon.")])) as server:
        call = open_session(server, turn_detection=VAD)
        for frame in frames(speak("What time is it?", "alloy") + bytes(48000)):
            call.session.push_audio(frame)
        assert await reading(await call.first("generation_created")) == [("Noon.", pytest.approx(0.7, abs=0.5))]
        transcripts = call.events["input_audio_transcription_completed"]
        await call.until(lambda: transcripts and transcripts[-1].is_final)
        texts = [t.transcript for t in transcripts]
        assert texts[-1] == "What time is it?"
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
        assert transcripts[-1].turn_started_at is not None
        assert transcripts[-1].confidence is None  # nobody asked for logprobs
        assert call.events["input_speech_stopped"][0].user_transcription_enabled
        assert [i.text_content for i in call.session.chat_ctx.items] == ["What time is it?", "Noon."]


async def test_logprobs_give_a_confidence(open_session):
    async with Emulator(Script([Turn(heard="What time is it?", say="Noon.")])) as server:
        call = open_session(
            server,
            turn_detection=VAD,
            input_audio_transcription={"model": "gpt-4o-transcribe"},
            include=["item.input_audio_transcription.logprobs"],
        )
        for frame in frames(speak("What time is it?", "alloy") + bytes(48000)):
            call.session.push_audio(frame)
        transcripts = call.events["input_audio_transcription_completed"]
        await call.until(lambda: transcripts and transcripts[-1].is_final)
        (done,) = server.sent("conversation.item.input_audio_transcription.completed")
        mean = np.mean([p["logprob"] for p in done["logprobs"]])
        assert transcripts[-1].confidence == pytest.approx(float(np.exp(mean)))


# -- replies ---------------------------------------------------------------------------------------------------


async def test_a_reply_is_announced_once_and_is_the_one_that_was_asked_for(open_session, reading):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        call = open_session(server)
        reply = await call.session.generate_reply()
        assert reply.user_initiated
        assert call.events["generation_created"] == [reply]
        ((text, seconds),) = await reading(reply)
        assert text == "Hello."
        assert seconds > 0.3
        await call.until(lambda: any(m.request_id for m in call.events["metrics_collected"]))
        (metrics,) = [m for m in call.events["metrics_collected"] if m.request_id]
        assert metrics.request_id == reply.response_id
        assert metrics.ttft > 0
        assert metrics.output_token_details.audio_tokens > 0
        assert not call.session.has_active_generation


@pytest.mark.skipif(
    not hasattr(llm.RealtimeSession, "_report_connection_acquired"),
    reason="metrics of this release of LiveKit do not tell how long a connection took",
)
async def test_how_long_a_connection_took_is_told_once(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        (connected,) = [m for m in call.events["metrics_collected"] if not m.request_id]
        assert connected.acquire_time > 0


async def test_text_replies_are_text_only(open_session):
    async with Emulator(Script([Turn(say="Written.")])) as server:
        call = open_session(server, modalities=["text"])
        reply = await call.session.generate_reply()
        message = await reply.message_stream.__aiter__().__anext__()
        assert await message.modalities == ["text"]
        assert "".join([part async for part in message.text_stream]) == "Written."
        assert [frame async for frame in message.audio_stream] == []


async def test_several_messages_in_one_reply(open_session, reading):
    async with Emulator(Script([Turn(messages=("Let me see.", "It is noon."))])) as server:
        call = open_session(server)
        messages = await reading(await call.session.generate_reply())
        assert [text for text, _ in messages] == played("Let me see.", "It is noon.")


async def test_function_calls_arrive_complete(open_session):
    async with Emulator(Script([Turn(tool=ToolCall("add", {"a": 1, "b": 2}))])) as server:

        @function_tool
        async def add(a: int, b: int) -> int:
            """Add."""
            return a + b

        call = open_session(server)
        await call.session.update_tools([add])
        reply = await call.session.generate_reply()
        (made,) = [c async for c in reply.function_stream]
        assert (made.name, made.arguments) == ("add", '{"a": 1, "b": 2}')
        assert call.session.chat_ctx.items[-1].call_id == made.call_id


async def test_a_second_reply_waits_for_the_first(open_session, reading):
    async with Emulator(Script([Turn(say="One."), Turn(say="Two.")])) as server:
        call = open_session(server)
        first, second = call.session.generate_reply(), call.session.generate_reply()
        one, two = await asyncio.gather(reading(await first), reading(await second))
        assert [one[0][0], two[0][0]] == ["One.", "Two."]
        assert server.sent("error") == []
        assert call.errors == []


async def test_an_out_of_band_reply_runs_beside_another_and_leaves_no_trace(open_session, reading):
    script = Script([Turn(say="This is the spoken answer.")], out_of_band=[Turn(say="A side remark.")])
    async with Emulator(script) as server:
        call = open_session(server)
        spoken = await call.session.generate_reply()
        aside = await call.session.generate_reply(conversation="none", instructions="Classify.")
        texts = await asyncio.gather(reading(spoken), reading(aside))
        assert [messages[0][0] for messages in texts] == ["This is the spoken answer.", "A side remark."]
        assert [i.text_content for i in call.session.chat_ctx.items] == ["This is the spoken answer."]
        assert server.sent("error") == []


async def test_an_applications_own_out_of_band_reply_is_not_spoken_into_the_room(open_session):
    async with Emulator(Script(out_of_band=[Turn(say="A side remark.")])) as server:
        call = open_session(server)
        call.session.send_event({"type": "response.create", "response": {"conversation": "none"}})
        await server.wait_sent("response.done")
        await call.until(lambda: any(e["type"] == "response.done" for e in call.events["openai_server_event_received"]))
        assert call.events["generation_created"] == []


async def test_a_cancelled_request_cancels_the_reply(open_session):
    script, late = Script([Turn(say="Never heard.", latency=1.0)]), DelayOn("response.created", 0.2)
    async with Emulator(script, faults=[late]) as server:
        call = open_session(server)
        reply = call.session.generate_reply()
        sent = call.events["openai_client_event_queued"]
        await call.until(lambda: sent and sent[-1]["type"] == "response.create")
        reply.cancel()
        await server.wait_received("response.cancel")
        (done,) = await server.wait_sent("response.done")
        assert done["response"]["status"] == "cancelled"
        assert call.events["generation_created"] == []
        assert not call.session.has_active_generation


async def test_interrupt_cancels_the_reply_that_is_being_made(open_session, reading):
    async with Emulator(Script([Turn(say="A reply without an end.", stall=True)])) as server:
        call = open_session(server)
        call.session.interrupt()  # nothing to cancel yet
        reply = await call.session.generate_reply()
        message = await reply.message_stream.__aiter__().__anext__()
        await message.audio_stream.__aiter__().__anext__()
        call.session.interrupt()
        (done,) = await server.wait_sent("response.done")
        assert done["response"]["status_details"]["reason"] == "client_cancelled"
        assert await reading(reply) == []  # the stream ended
        assert len(server.received("response.cancel")) == 1
        assert call.errors == []


async def test_truncate_never_exceeds_what_was_received_and_the_history_holds_what_was_heard(open_session, reading):
    async with Emulator(Script([Turn(say="One two three four five six.")])) as server:
        call = open_session(server)
        reply = await call.session.generate_reply()
        ((_, seconds),) = await reading(reply)
        item = call.session.chat_ctx.items[0]
        call.session.truncate(
            message_id=item.id, modalities=["audio", "text"], audio_end_ms=60_000, audio_transcript="One two"
        )
        (cut,) = await server.wait_received("conversation.item.truncate")
        assert cut["audio_end_ms"] == int(seconds * 1000)
        assert call.session.chat_ctx.items[0].text_content == "One two"
        # The next sync leaves the item alone.
        wanted = call.session.chat_ctx.copy()
        wanted.add_message(role="user", content="Go on.")
        await call.session.update_chat_ctx(wanted)
        assert server.received("conversation.item.delete") == []
        assert len(server.received("conversation.item.create")) == 1
        assert server.sent("error") == []


async def test_a_message_nobody_heard_is_taken_out(open_session, reading):
    async with Emulator(Script([Turn(say="Unheard.")])) as server:
        call = open_session(server)
        await reading(await call.session.generate_reply())
        item = call.session.chat_ctx.items[0]
        call.session.truncate(message_id=item.id, modalities=["audio"], audio_end_ms=0)
        await server.wait_sent("conversation.item.deleted")
        assert call.session.chat_ctx.items == []


async def test_a_reply_that_does_not_begin_in_time_fails_and_is_never_heard(open_session):
    async with Emulator(Script([Turn(say="Too late.")]), faults=[DelayOn("response.created", 0.4)]) as server:
        call = open_session(server, reply_timeout=0.1)
        with pytest.raises(llm.RealtimeError, match="timed out"):
            await call.session.generate_reply()
        await server.wait_received("response.cancel")
        await server.wait_sent("response.done")
        assert call.events["generation_created"] == []


async def test_a_failed_reply_is_reported_with_its_reason_and_its_stream_ends(open_session, reading):
    async with Emulator(Script([Turn(say="x")]), faults=[FailResponse("content_filter", error_type="")]) as server:
        call = open_session(server)
        assert await reading(await call.session.generate_reply()) == []
        error = await call.first("error")
        assert error.recoverable
        assert "content_filter" in str(error.error)


async def test_raw_events_of_the_openai_sdk_are_sent(open_session):
    sdk = pytest.importorskip("openai.types.realtime")
    async with Emulator() as server:
        call = open_session(server)
        call.session.send_event(sdk.ConversationItemRetrieveEvent(type="conversation.item.retrieve", item_id="nope"))
        (event,) = await server.wait_received("conversation.item.retrieve")
        assert event["item_id"] == "nope"


# -- history ---------------------------------------------------------------------------------------------------


async def test_the_history_follows_an_edited_context(open_session):
    async with Emulator() as server:
        call = open_session(server)
        context = llm.ChatContext()
        for number in range(4):
            context.add_message(role="user", content=f"Message {number}", id=f"item_{number}")
        await call.session.update_chat_ctx(context)
        items = context.items
        items[1].content = ["Changed"]
        context.items = [items[1], items[3], items[0]]
        await call.session.update_chat_ctx(context)
        server_ids = [item["id"] for item in server.sessions[0].items]
        assert server_ids == ["item_1", "item_3", "item_0"]
        assert [i.text_content for i in call.session.chat_ctx.items] == ["Changed", "Message 3", "Message 0"]


async def test_a_refused_item_is_left_out_and_the_rest_goes_on(open_session):
    async with Emulator(faults=[RejectOn("conversation.item.create", "invalid_value", "No.", "item")]) as server:
        call = open_session(server)
        context = llm.ChatContext()
        context.add_message(role="user", content="refused")
        context.add_message(role="user", content="kept")
        await call.session.update_chat_ctx(context)
        assert [i.text_content for i in call.session.chat_ctx.items] == ["kept"]


async def test_call_ids_of_other_providers_are_shortened_alike(open_session):
    async with Emulator() as server:
        call = open_session(server)
        long_id = "call_" + "x" * 60
        context = llm.ChatContext()
        context.items.append(llm.FunctionCall(call_id=long_id, name="add", arguments="{}"))
        context.items.append(llm.FunctionCallOutput(call_id=long_id, name="add", output="3", is_error=False))
        await call.session.update_chat_ctx(context)
        made, output = (event["item"] for event in server.received("conversation.item.create"))
        assert made["call_id"] == output["call_id"]
        assert len(made["call_id"]) == 32
        assert server.sent("error") == []


# -- reconnects ------------------------------------------------------------------------------------------------


async def test_a_pending_reply_survives_a_drop_and_is_asked_for_once(open_session, reading):
    async with Emulator(Script([Turn(say="Here I am.")]), faults=[DropOn("response.create")]) as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        assert (await reading(await call.session.generate_reply()))[0][0] == "Here I am."
        assert [e["type"] for e in server.sessions[1].received] == ["session.update", "response.create"]
        assert len(call.events["session_reconnected"]) == 1


async def test_audio_that_no_item_has_yet_is_sent_again(open_session):
    async with Emulator(Script([Turn(heard="Hello?", say="Yes.")])) as server:
        call = open_session(server, turn_detection=None)
        await call.session.update_instructions("")
        spoken = speak("Hello, are you there?", "alloy")
        for frame in frames(spoken):
            call.session.push_audio(frame)
        await server.wait_received("input_audio_buffer.append", count=10)
        await server.drop()
        await call.first("session_reconnected")
        call.session.commit_audio()
        await server.wait_received("input_audio_buffer.commit")
        again = [e for e in server.sessions[1].received if e["type"] == "input_audio_buffer.append"]
        assert b"".join(base64.b64decode(e["audio"]) for e in again) == spoken


@pytest.mark.parametrize("seconds", [0.0, 0.05])
async def test_live_audio_leaves_although_little_or_none_is_kept_for_a_reconnect(open_session, seconds):
    async with Emulator() as server:
        call = open_session(server, turn_detection=None, max_replay_audio=seconds)
        await call.session.update_instructions("Be brief.")
        spoken = speak("All of this is heard.", "alloy", 1.3)
        for frame in frames(spoken):
            call.session.push_audio(frame)
        call.session.commit_audio()
        await server.wait_sent("input_audio_buffer.committed")
        got = b"".join(base64.b64decode(event["audio"]) for event in server.received("input_audio_buffer.append"))
        assert got == spoken
        assert call.session.info.audio_dropped == 0


@pytest.mark.parametrize(("given", "sizes"), [({}, [960] * 5), ({"input_chunk_ms": 40}, [1920] * 2 + [960])])
async def test_a_message_carries_as_much_audio_as_was_asked_for_and_a_commit_sends_the_rest(open_session, given, sizes):
    async with Emulator() as server:
        call = open_session(server, turn_detection=None, **given)
        for _ in range(10):
            call.session.push_audio(rtc.AudioFrame(bytes(480), 24000, 1, 240))
        call.session.commit_audio()
        await server.wait_received("input_audio_buffer.commit")
        sent = [base64.b64decode(event["audio"]) for event in server.received("input_audio_buffer.append")]
        assert [len(chunk) for chunk in sent] == sizes


async def test_audio_leaves_in_the_step_that_pushes_it_and_listeners_get_it_as_a_dict(open_session):
    async with Emulator() as server:
        call = open_session(server, turn_detection=None)
        await call.session.update_instructions("Be brief.")
        left: list[dict[str, object]] = []
        call.session.on("openai_client_event_queued", left.append)
        call.session.push_audio(rtc.AudioFrame(bytes(2400), 24000, 1, 1200))
        assert left == [{"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(2400)).decode()}]


async def test_a_function_call_that_is_told_twice_runs_once(open_session):
    turn = Turn(tools=(ToolCall("good", {"n": 1}), ToolCall("good", {"n": 2})))
    async with Emulator(Script([turn]), faults=[RepeatOn("response.output_item.done", times=2)]) as server:
        call = open_session(server)
        await call.session.update_tools([GOOD])
        reply = await call.session.generate_reply()
        calls = [each.arguments async for each in reply.function_stream]
        assert [json.loads(arguments)["n"] for arguments in calls] == [1, 2]
        assert [event["type"] for event in call.events["openai_server_event_received"]].count(
            "response.output_item.done"
        ) == 4


async def test_a_planned_change_of_connection_waits_for_the_reply_to_end(open_session, reading):
    async with Emulator(Script([Turn(say="One two three four five.")]), knobs=Knobs(pace=2.0)) as server:
        call = open_session(server, max_session_duration=1.0)
        await call.session.update_instructions("Be brief.")
        await asyncio.sleep(0.7)
        ((text, _),) = await reading(await call.session.generate_reply())
        assert text == "One two three four five."
        await call.first("session_reconnected")
        assert call.errors == []
        replayed = [e["item"]["content"] for e in server.sessions[1].received if "item" in e]
        assert replayed == [[{"type": "output_text", "text": "One two three four five."}]]


async def test_a_restart_takes_configuration_and_history_to_a_new_connection(open_session, reading):
    async with Emulator(Script([Turn(say="One."), Turn(say="Two.")])) as server:
        call = open_session(server)
        await call.session.update_instructions("Count.")
        await reading(await call.session.generate_reply())
        call.session.restart()
        await call.first("session_reconnected")
        assert [text for text, _ in await reading(await call.session.generate_reply())] == ["Two."]
        assert len(server.handshakes) == 2
        last = server.sessions[-1]
        (configured,) = [event["session"] for event in last.received if event["type"] == "session.update"]
        assert configured["instructions"] == "Count."
        assert [event["item"]["content"][0]["text"] for event in last.received if "item" in event] == ["One."]
        assert call.errors == []


async def test_a_restart_ends_the_reply_that_is_being_heard(open_session, reading):
    async with Emulator(Script([Turn(say="A reply " * 20), Turn(say="Again.")]), knobs=Knobs(pace=2.0)) as server:
        call = open_session(server)
        reply = await call.session.generate_reply()
        await server.wait_sent("response.output_audio.delta", count=3)
        call.session.restart()
        ((said, _),) = await asyncio.wait_for(reading(reply), 5)
        assert ("A reply " * 20).startswith(said)
        await call.first("session_reconnected")
        assert [text for text, _ in await reading(await call.session.generate_reply())] == ["Again."]


async def test_a_restart_asks_again_for_a_reply_that_does_not_begin_to_be_heard(open_session, reading):
    async with Emulator(Script([Turn(say="Never said.", latency=60), Turn(say="Said.")])) as server:
        call = open_session(server)
        reply = await call.session.generate_reply()
        call.session.restart()
        assert [text for text, _ in await asyncio.wait_for(reading(reply), 5)] == ["Said."]


async def test_a_restart_of_a_session_that_is_over_does_nothing(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        await call.session.aclose()
        call.session.restart()
        assert len(server.handshakes) == 1
