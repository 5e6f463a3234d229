"""LiveKit's official OpenAI plugin holds a conversation with the emulator, and has speech transcribed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIStatusError, llm, stt, utils
from livekit.plugins import openai

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, ToolCall, Turn, faults, speak
from livekit_plugins_openai_ga.emulator.voice import synthetic

SCRIPT = [
    Turn(say="Hello, how can I help?"),
    Turn(heard="What is the weather?", tool=ToolCall("weather", {"city": "Lisbon"})),
    Turn(say="It is sunny."),
]


@llm.function_tool
async def weather(city: str) -> str:
    """The weather of a city."""
    return "sunny"


async def take(generation):
    """What was said, for how long, and which tools were called."""
    texts, seconds = [], 0.0
    async for message in generation.message_stream:
        texts.append("".join([str(piece) async for piece in message.text_stream]))
        async for frame in message.audio_stream:
            seconds += frame.duration
    return texts, seconds, [call async for call in generation.function_stream]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_spoken_conversation_with_a_tool():
    async with Emulator(Script(SCRIPT), knobs=Knobs(pace=50.0, speak=synthetic)) as server:
        model = openai.realtime.RealtimeModel(base_url=server.base_url, api_key="sk-test")
        session = model.session()
        generations: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
        session.on("generation_created", generations.put_nowait)
        errors: list[object] = []
        session.on("error", errors.append)
        try:
            await session.update_instructions("Be nice.")
            await session.update_tools([weather])
            texts, seconds, _ = await take(await session.generate_reply())
            assert texts == ["Hello, how can I help?"]
            assert seconds == pytest.approx(len(synthetic(texts[0])) / 48000, abs=0.01)
            await generations.get()

            # The plugin's default is semantic VAD, which waits longer for the user to go on.
            pcm = synthetic("What is the weather?") + bytes(48 * 1500)
            for start in range(0, len(pcm) - 959, 960):
                session.push_audio(rtc.AudioFrame(pcm[start : start + 960], 24000, 1, 480))
            texts, _, (call,) = await take(await asyncio.wait_for(generations.get(), 10))
            assert (texts, call.name, call.arguments) == ([], "weather", '{"city": "Lisbon"}')

            context = session.chat_ctx.copy()
            output = llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="sunny", is_error=False)
            context.items.append(output)
            await session.update_chat_ctx(context)
            texts, _, _ = await take(await session.generate_reply())
            assert texts == ["It is sunny."]
            assert server.sent("error") == []
            assert errors == []
        finally:
            await session.aclose()
            await model.aclose()


SENTENCES = ["What is the weather?", "Thank you very much."]


@contextlib.asynccontextmanager
async def recognizing(server, model, **options):
    async with utils.http_context.open():
        recognizer = openai.STT(model=model, base_url=server.base_url, api_key="sk-test", **options)
        try:
            yield recognizer
        finally:
            await recognizer.aclose()


def frames(pcm):
    return [rtc.AudioFrame(pcm[start : start + 960], 24000, 1, 480) for start in range(0, len(pcm) - 959, 960)]


async def sentences(stream):
    """Speak each sentence, with a pause behind it, once the one before is final."""
    finals, kinds = [], set()
    for text in SENTENCES:
        for frame in frames(bytes(48 * 200) + speak(text) + bytes(48 * 2000)):
            stream.push_frame(frame)
        async for event in stream:
            kinds.add(event.type)
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                finals.append(event.alternatives[0].text)
                break
    return finals, kinds


async def test_a_stream_that_the_server_cuts():
    async with Emulator(Script([Turn(heard=text) for text in SENTENCES])) as server:
        options = {"language": "en", "use_realtime": True}
        async with (
            recognizing(server, "gpt-4o-mini-transcribe", **options) as recognizer,
            recognizer.stream() as stream,
        ):
            finals, kinds = await sentences(stream)
        assert finals == SENTENCES
        assert {stt.SpeechEventType.START_OF_SPEECH, stt.SpeechEventType.END_OF_SPEECH} <= kinds
        assert server.sent("error") == []


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-realtime-whisper"])
async def test_a_stream_that_the_plugins_own_detector_cuts(model):
    # The plugin leaves turn_detection out for these models, as the documentation says it may.
    knobs = Knobs(keeps_default_detection=False)
    async with Emulator(Script([Turn(heard=text) for text in SENTENCES]), knobs=knobs) as server:
        async with recognizing(server, model, language="en") as recognizer, recognizer.stream() as stream:
            finals, kinds = await sentences(stream)
        assert finals == SENTENCES
        assert stt.SpeechEventType.INTERIM_TRANSCRIPT in kinds
        assert len(server.received("input_audio_buffer.commit")) == 2
        assert server.sent("error") == []


@pytest.mark.parametrize(
    ("model", "language"), [("whisper-1", "pt"), ("gpt-transcribe", "pt"), ("gpt-4o-mini-transcribe", "")]
)
async def test_a_recording(model, language):
    turn = Turn(heard="Obrigado.", languages=("pt",))
    async with Emulator(Script([turn])) as server:
        async with recognizing(server, model, detect_language=True) as recognizer:
            event = await recognizer.recognize(frames(speak("Obrigado.")))
        assert event.alternatives[0].text == "Obrigado."
        assert event.alternatives[0].language == language
        assert [upload.value("model") for upload in server.uploads] == [model]


async def test_a_recording_that_is_refused():
    fault = faults.RefuseHandshake(401, '{"error": {"message": "No.", "type": "invalid_request_error"}}')
    async with Emulator(faults=[fault]) as server, recognizing(server, "gpt-transcribe") as recognizer:
        with pytest.raises(APIStatusError) as refused:
            await recognizer.recognize(frames(speak("Hello.")), conn_options=APIConnectOptions(max_retry=0))
        assert refused.value.status_code == 401
