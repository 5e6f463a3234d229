"""What is in a file is what was on the wire: the emulator's own log is the witness."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, function_tool, llm
from livekit.agents import stt as lk

from livekit_plugins_openai_ga import STT, RealtimeModel, Recorder, Translator
from livekit_plugins_openai_ga.emulator import Emulator, Script, ToolCall, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import DropOn, RefuseHandshake
from livekit_plugins_openai_ga.recording import Recording, read
from livekit_plugins_openai_ga.transport.supervisor import Supervisor

QUICK = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=2.0)
KEY = "sk-very-secret-key-1234567890"


def only_file(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def wire(recording: Recording, direction: str, link: int) -> list[Any]:
    return [entry.event for entry in recording.entries if entry.direction == direction and entry.link == link]


def notes(recording: Recording) -> list[str]:
    return [entry.event["type"] for entry in recording.entries if entry.direction == "note"]


def begins_with(whole: Sequence[Any], beginning: Sequence[Any]) -> bool:
    return list(whole[: len(beginning)]) == list(beginning)


def assert_witnessed(recording: Recording, server: Emulator, *, broken: Sequence[int] = ()) -> None:
    """A broken connection may have lost what was on its way: then one log is the beginning of the other."""
    assert {entry.link for entry in recording.entries} - {0} == set(range(1, len(server.sessions) + 1))
    for link, session in enumerate(server.sessions, 1):
        came, left = wire(recording, "in", link), wire(recording, "out", link)
        if link in broken:
            assert begins_with(session.sent, came)
            assert begins_with(left, session.received)
        else:
            assert [event["type"] for event in came] == [event["type"] for event in session.sent]
            assert (came, left) == (session.sent, session.received)
        assert came, "nothing was recorded"
    times = [entry.t_ms for entry in recording.entries]
    assert times == sorted(times)


def frames(pcm: bytes) -> list[rtc.AudioFrame]:
    return [rtc.AudioFrame(pcm[i : i + 960], 24000, 1, len(pcm[i : i + 960]) // 2) for i in range(0, len(pcm), 960)]


async def spoken(reply: llm.GenerationCreatedEvent) -> None:
    async for message in reply.message_stream:
        async for _ in message.audio_stream:
            pass
    async for _ in reply.function_stream:
        pass


@function_tool
async def weather(city: str) -> str:
    """Look the weather up."""
    return city


async def call(server: Emulator, **options: Any) -> None:
    """A greeting that breaks off, a tool, its result, and a reply that is interrupted."""
    options = {"api_key": KEY, "base_url": server.base_url, "conn_options": QUICK, "turn_detection": None, **options}
    session = RealtimeModel(**options).session()
    came: list[int] = []  # events that came, by connection
    session.on("session_created", lambda _: came.append(0))
    session.on("openai_server_event_received", lambda _: came.append(came.pop() + 1))
    try:
        await session.update_instructions("Be kind to Ada Lovelace.")
        await session.update_tools([weather])
        again = asyncio.Event()
        session.on("session_reconnected", lambda _: again.set())
        await spoken(await session.generate_reply())
        for frame in frames(speak("What is the weather")):
            session.push_audio(frame)
        session.commit_audio()
        await server.wait_sent("conversation.item.input_audio_transcription.completed")
        await spoken(await session.generate_reply())
        result = session.chat_ctx.copy()
        made = next(item for item in result.items if item.type == "function_call")
        result.items.append(llm.FunctionCallOutput(call_id=made.call_id, output="Rain in Paris.", is_error=False))
        await session.update_chat_ctx(result)
        reply = await session.generate_reply()
        session.interrupt()
        await spoken(reply)
        await server.wait_sent("response.done", count=2)
        await asyncio.wait_for(again.wait(), 5)
        await server.wait_sent("rate_limits.updated", count=2)  # the last that is told of a reply
        await session.update_instructions("Say goodbye.")  # what was on its way before has come, too
        assert came[-1] == len(server.sessions[-1].sent)
    finally:
        await session.aclose()


def script() -> Script:
    return Script(
        [
            Turn(say="Hello there."),
            Turn(heard="What is the weather", tool=ToolCall("weather", {"city": "Paris"})),
            Turn(say="It rains in Paris, and it will go on raining for the whole of the afternoon."),
        ]
    )


async def test_a_call_with_tools_an_interruption_and_a_reconnect_is_recorded_as_it_was(tmp_path):
    directory = tmp_path / "recordings"
    async with Emulator(script(), faults=[DropOn("response.output_audio.delta")]) as server:
        await call(server, recorder=Recorder(directory, audio=True))
        recording = read(only_file(directory))
        assert_witnessed(recording, server, broken=[1])
    types = [entry.event["type"] for entry in recording.entries]
    assert {"response.function_call_arguments.done", "response.cancel", "input_audio_buffer.commit"} <= set(types)
    assert notes(recording) == ["opened", "lost", "retry", "opened", "closed"]
    header = recording.header
    assert (header.kind, header.model, header.host) == ("realtime", "gpt-realtime-2.1", "127.0.0.1")
    assert (header.audio, header.redacted, bool(header.plugin), bool(header.livekit)) == (True, False, True, True)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(only_file(directory).stat().st_mode) == 0o600


async def test_without_audio_and_texts_nothing_that_anybody_said_is_in_the_file(tmp_path):
    async with Emulator(script(), faults=[DropOn("response.output_audio.delta")]) as server:
        await call(server, recorder=Recorder(tmp_path, redact=True))
    text = only_file(tmp_path).read_text()
    for said in ("Ada", "weather up", "Paris", "rain", "Hello", "sk-", "What is"):
        assert said not in text
    recording = read(only_file(tmp_path))
    assert [e.event["item"]["name"] for e in recording.entries if e.event["type"] == "response.output_item.done"][:1]
    appended = next(e.event["audio"] for e in recording.entries if e.event["type"] == "input_audio_buffer.append")
    assert (appended["bytes"], appended["ms"], len(appended["sha256"])) == (960, 20.0, 16)


async def test_what_listeners_change_is_recorded_as_it_left_and_as_it_came(tmp_path):
    def spoil(event: dict[str, Any]) -> None:
        if event["type"] == "session.created":
            event["session"]["spoilt"] = True

    def add(event: dict[str, Any]) -> None:
        if event["type"] == "session.update":
            event["session"]["tracing"] = "auto"

    async with Emulator() as server:
        model = RealtimeModel(api_key=KEY, base_url=server.base_url, recorder=Recorder(tmp_path))
        session = model.session()
        session.on("openai_server_event_received", spoil)
        session.on("openai_client_event_queued", add)
        await session.update_instructions("Be kind.")
        await session.aclose()
        recording = read(only_file(tmp_path))
        assert_witnessed(recording, server)
    assert wire(recording, "out", 1)[0]["session"]["tracing"] == "auto"


async def test_a_link_that_was_made_ahead_is_recorded_with_what_it_was_told(tmp_path):
    async with Emulator() as server:
        model = RealtimeModel(api_key=KEY, base_url=server.base_url, recorder=Recorder(tmp_path))
        model.prewarm(instructions="Be kind.")
        await server.wait_received("session.update")
        assert list(tmp_path.iterdir()) == []
        session = model.session()
        await session.update_instructions("Be brief.")
        await session.aclose()
        recording = read(only_file(tmp_path))
        assert_witnessed(recording, server)
    assert wire(recording, "out", 1)[0]["event_id"] == "session_ahead"


async def test_an_event_that_is_held_back_is_not_recorded(tmp_path):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        model = RealtimeModel(api_key=KEY, base_url=server.base_url, recorder=Recorder(tmp_path))
        session = model.session()
        asked = session.generate_reply()  # waits for the configuration
        asked.cancel()
        await asyncio.sleep(0)
        await session.update_instructions("Be kind.")
        await session.aclose()
        recording = read(only_file(tmp_path))
        assert_witnessed(recording, server)
    assert "response.create" not in [entry.event["type"] for entry in recording.entries]


async def test_a_session_that_cannot_be_opened_leaves_a_file_that_says_why(tmp_path):
    async with Emulator(faults=[RefuseHandshake(401, body='{"error": {"code": "invalid_api_key"}}')]) as server:
        model = RealtimeModel(api_key=KEY, base_url=server.base_url, recorder=Recorder(tmp_path))
        session = model.session()
        over = asyncio.Event()
        session.on("error", lambda _: over.set())
        await asyncio.wait_for(over.wait(), 5)
        await session.aclose()
    recording = read(only_file(tmp_path))
    assert notes(recording) == ["failed", "closed"]
    failed = recording.entries[0]
    assert (failed.link, failed.event["kind"]) == (0, "fatal")
    assert KEY not in only_file(tmp_path).read_text()


async def test_a_stream_of_speech_to_text_is_recorded(tmp_path):
    async with Emulator(Script([Turn(heard="Hello there")]), faults=[RefuseHandshake(503)]) as server:
        model = STT(api_key=KEY, base_url=server.base_url, recorder=Recorder(tmp_path, audio=True))
        stream = model.stream(conn_options=QUICK)
        for frame in frames(speak("Hello there") + bytes(48000)):
            stream.push_frame(frame)
        stream.end_input()
        finals = [event async for event in stream if event.type is lk.SpeechEventType.FINAL_TRANSCRIPT]
        await stream.aclose()
        assert finals[0].alternatives[0].text == "Hello there"
        recording = read(only_file(tmp_path))
        assert_witnessed(recording, server)
    assert recording.header.kind == "stt"
    assert notes(recording) == ["failed", "opened", "lost", "closed"]


async def test_one_utterance_is_recorded_too(tmp_path):
    async with Emulator(Script([Turn(heard="Hello there")])) as server:
        model = STT(api_key=KEY, base_url=server.base_url, recorder=Recorder(tmp_path, audio=True))
        await model.recognize(frames(speak("Hello there")), conn_options=QUICK)
        recording = read(only_file(tmp_path))
        assert_witnessed(recording, server)
    assert notes(recording)[-1] == "closed"


async def test_a_translation_is_recorded(tmp_path):
    turn = Turn(heard="Good morning", say="Guten Morgen")
    async with Emulator(Script([turn])) as server:
        recorder = Recorder(tmp_path, audio=True)
        translator = Translator(target_language="de", api_key=KEY, base_url=server.base_url, recorder=recorder)
        stream = translator.stream()
        for frame in frames(speak("Good morning")):
            stream.push_frame(frame)
        stream.end_input()
        async for _ in stream.transcript:
            pass
        await stream.aclose()
        await translator.aclose()
        recording = read(only_file(tmp_path))
        assert_witnessed(recording, server)
    assert recording.header.kind == "translation"
    assert wire(recording, "out", 1)[-1]["type"] == "session.close"


async def test_telephone_audio_is_counted_in_its_own_format(tmp_path):
    async with Emulator() as server:
        recorder = Recorder(tmp_path)
        options = {"input_audio_format": "pcmu", "output_audio_format": "pcma", "input_chunk_ms": 100}
        model = RealtimeModel(api_key=KEY, base_url=server.base_url, recorder=recorder, **options)
        session = model.session()
        for frame in frames(speak("Hello there")):
            session.push_audio(frame)
        await server.wait_received("input_audio_buffer.append")
        await session.aclose()
    recording = read(only_file(tmp_path))
    header = recording.header
    assert (header.input_format, header.input_rate, header.output_format) == ("audio/pcmu", 8000, "audio/pcma")
    appended = next(e.event["audio"] for e in recording.entries if e.event["type"] == "input_audio_buffer.append")
    assert (appended["bytes"], appended["ms"]) == (800, 100.0)


@pytest.mark.parametrize("recorder", [None, False])
async def test_without_a_recorder_the_session_itself_serves_its_connection(monkeypatch, recorder):
    """There is nothing in between, so recording costs nothing while it is off."""
    peers = []
    begin = Supervisor.__init__

    def watched(self: Supervisor, dial: Any, peer: Any, *rest: Any, **options: Any) -> None:
        peers.append(peer)
        begin(self, dial, peer, *rest, **options)

    monkeypatch.setattr(Supervisor, "__init__", watched)
    monkeypatch.delenv("OPENAI_GA_RECORD", raising=False)
    async with Emulator() as server:
        session = RealtimeModel(api_key=KEY, base_url=server.base_url, recorder=recorder).session()
        assert peers == [session]
        await session.aclose()


async def test_the_environment_records_without_code_when_a_model_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_GA_RECORD", str(tmp_path))
    monkeypatch.setenv("OPENAI_GA_RECORD_REDACT", "1")
    async with Emulator() as server:
        model = RealtimeModel(api_key=KEY, base_url=server.base_url)
        never = RealtimeModel(api_key=KEY, base_url=server.base_url, recorder=False)
        monkeypatch.delenv("OPENAI_GA_RECORD")
        for each in (model, never):
            session = each.session()
            await session.update_instructions("Be kind.")
            await session.aclose()
    header = json.loads(only_file(tmp_path).read_text().splitlines()[0])
    assert (header["redacted"], header["audio"]) == (True, False)


async def test_every_session_of_a_model_has_a_file_of_its_own(tmp_path):
    async with Emulator() as server:
        model = RealtimeModel(api_key=KEY, base_url=server.base_url, recorder=Recorder(tmp_path))
        sessions = [model.session() for _ in range(5)]
        for session in sessions:
            await session.update_instructions("Be kind.")
        await asyncio.gather(*(session.aclose() for session in sessions))
    assert len(list(tmp_path.iterdir())) == 5
    assert {notes(read(path))[-1] for path in tmp_path.iterdir()} == {"closed"}


def translator(**options: Any) -> Translator:
    return Translator(target_language="de", **options)


@pytest.mark.parametrize("make", [RealtimeModel, STT, translator])
def test_every_kind_of_model_asks_its_argument_first_and_then_the_environment(make, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_GA_RECORD", raising=False)
    assert make(api_key=KEY).options.recorder is None
    monkeypatch.setenv("OPENAI_GA_RECORD", str(tmp_path))
    assert make(api_key=KEY).options.recorder == Recorder(str(tmp_path))
    assert make(api_key=KEY, recorder=Recorder("there")).options.recorder == Recorder("there")
    assert make(api_key=KEY, recorder=False).options.recorder is None
    with pytest.raises(ValueError, match="recorder=True is not supported"):
        make(api_key=KEY, recorder=True)
