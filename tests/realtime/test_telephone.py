"""A conversation in G.711: what is heard, spoken, cut, kept and brought back, and how it is counted."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import llm

from livekit_plugins_openai_ga.audio import InputAudio
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.voice import resample
from livekit_plugins_openai_ga.formats import FORMATS, PCMA, PCMU

VAD = {"type": "server_vad", "silence_duration_ms": 300, "prefix_padding_ms": 100}
G711 = pytest.mark.parametrize("form", [PCMU, PCMA], ids=lambda form: form.name)


def narrow(text: str) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A sentence as a telephone has it: int16 at 8 kHz."""
    wide = np.frombuffer(speak(text, "alloy", 1.3), "<i2").astype(np.float64)
    return np.rint(resample(wide, 24000, 8000, taps=128)).clip(-32768, 32767).astype(np.int16)


def frames(samples: np.ndarray[Any, np.dtype[np.int16]], rate: int = 8000) -> list[rtc.AudioFrame]:
    size = rate // 50
    pieces = [samples[i : i + size] for i in range(0, len(samples), size)]
    return [rtc.AudioFrame(piece.tobytes(), rate, 1, len(piece)) for piece in pieces]


def audio_of(session: Any) -> bytes:
    appends = (event["audio"] for event in session.received if event["type"] == "input_audio_buffer.append")
    return b"".join(base64.b64decode(audio) for audio in appends)


async def heard(reply: llm.GenerationCreatedEvent) -> tuple[str, list[rtc.AudioFrame]]:
    """The one message of a reply."""
    async for message in reply.message_stream:
        text = "".join([part async for part in message.text_stream])
        return text, [frame async for frame in message.audio_stream]
    raise AssertionError("the reply has no message")


@G711
async def test_a_turn_is_heard_and_answered_in_the_telephones_format(open_session, form):
    script = Script([Turn(heard="Are you there?", say="Yes, I am here.")])
    async with Emulator(script) as server:
        call = open_session(
            server, input_audio_format=form.name, output_audio_format=form.name, voice="alloy", turn_detection=VAD
        )
        said = np.concatenate([narrow("Are you there?"), np.zeros(8000, np.int16)])
        for frame in frames(said):
            call.session.push_audio(frame)
        text, played = await heard(await call.first("generation_created"))
        assert text == "Yes, I am here."
        assert {(frame.sample_rate, frame.num_channels) for frame in played} == {(8000, 1)}
        await call.first("input_audio_transcription_completed")
        assert call.session.chat_ctx.items[0].text_content == "Are you there?"
        assert form.encode(said).startswith(audio_of(server.sessions[0]))
        (update,) = server.received("session.update")
        told = update["session"]["audio"]
        assert (told["input"]["format"], told["output"]["format"]) == (dict(form.wire), dict(form.wire))
        assert call.errors == []


@G711
async def test_what_is_played_has_no_more_noise_than_g711_makes(open_session, form):
    text = "The quick brown fox jumps over the lazy dog."
    async with Emulator(Script([Turn(say=text)])) as server:
        call = open_session(server, output_audio_format=form.name, voice="alloy")
        _, played = await heard(await call.session.generate_reply())
        sound = np.concatenate([np.frombuffer(frame.data, np.int16) for frame in played]).astype(np.float64)
        spoken = np.frombuffer(speak(text, "alloy", 1.0), "<i2").astype(np.float64)
        clean = resample(spoken, 24000, 8000, taps=128)
        assert len(sound) == len(clean)
        assert 10 * np.log10(np.mean(clean**2) / np.mean((sound - clean) ** 2)) > 35


async def test_the_ways_are_chosen_one_by_one(open_session):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        call = open_session(server, input_audio_format="pcmu", turn_detection=None)
        _, played = await heard(await call.session.generate_reply())
        assert {frame.sample_rate for frame in played} == {24000}
        for frame in frames(narrow("A sentence."), 8000):
            call.session.push_audio(frame)
        call.session.commit_audio()
        await server.wait_received("input_audio_buffer.commit")
        assert audio_of(server.sessions[0]) == PCMU.encode(narrow("A sentence."))


async def test_a_room_of_48_khz_is_resampled_once(open_session):
    async with Emulator() as server:
        call = open_session(server, input_audio_format="pcma", turn_detection=None)
        wide = np.rint(8000 * np.sin(2 * np.pi * 700 * np.arange(24000) / 48000)).astype(np.int16)
        for frame in frames(wide, 48000):
            call.session.push_audio(frame)
        call.session.commit_audio()
        await server.wait_received("input_audio_buffer.commit")
        sent = audio_of(server.sessions[0])
        assert len(sent) == 500 * PCMA.bytes_per_ms
        spectrum = np.abs(np.fft.rfft(np.frombuffer(PCMA.decode(sent), "<i2")))
        assert np.argmax(spectrum) * 2 == 700


async def test_a_cut_is_counted_in_the_telephones_milliseconds(open_session):
    # No whole number of samples at 8 kHz, and its last millisecond is whole there only.
    knobs = Knobs(speak=lambda text, voice, speed: bytes(2 * (24 * 1000 - 1)))
    async with Emulator(Script([Turn(say="One two three four five six.")]), knobs=knobs) as server:
        call = open_session(server, output_audio_format="pcmu")
        _, played = await heard(await call.session.generate_reply())
        said_ms = int(sum(frame.samples_per_channel for frame in played) / 8)
        assert said_ms == 1000
        item = call.session.chat_ctx.items[0]
        how = {"message_id": item.id, "modalities": ["audio", "text"], "audio_transcript": "One two"}
        call.session.truncate(**how, audio_end_ms=60_000)
        call.session.truncate(**how, audio_end_ms=300)
        first, second = await server.wait_received("conversation.item.truncate", count=2)
        assert (first["audio_end_ms"], second["audio_end_ms"]) == (said_ms, 300)
        await server.wait_sent("conversation.item.truncated", count=2)
        assert server.sent("error") == []
        assert server.sessions[0].conversation.find(item.id).audio_ms == 300


async def test_less_than_a_tenth_of_a_second_is_not_committed(open_session):
    async with Emulator() as server:
        call = open_session(server, input_audio_format="pcmu", turn_detection=None)
        await call.session.update_instructions("Be brief.")
        for frame in frames(np.zeros(79 * 8, np.int16)):
            call.session.push_audio(frame)
        call.session.commit_audio()
        for frame in frames(np.zeros(40 * 8, np.int16)):
            call.session.push_audio(frame)
        call.session.commit_audio()
        await server.wait_received("input_audio_buffer.commit")
        assert len(server.received("input_audio_buffer.commit")) == 1
        assert call.session.info.audio_sent == pytest.approx(0.119)
        assert server.sent("error") == []


async def test_audio_that_no_item_has_yet_is_sent_again_to_the_millisecond(open_session):
    async with Emulator() as server:
        call = open_session(server, input_audio_format="pcmu", turn_detection=None)
        await call.session.update_instructions("")
        said = narrow("Hello, are you there?")
        for frame in frames(said):
            call.session.push_audio(frame)
        await server.wait_received("input_audio_buffer.append", count=10)
        await server.drop()
        await call.first("session_reconnected")
        call.session.commit_audio()
        await server.wait_received("input_audio_buffer.commit")
        assert audio_of(server.sessions[1]) == PCMU.encode(said)


async def test_what_is_kept_for_the_next_connection_is_bounded_in_seconds(open_session):
    async with Emulator() as server:
        call = open_session(server, input_audio_format="pcmu", turn_detection=None, max_replay_audio=1.0)
        await call.session.update_instructions("")
        said = np.arange(16000, dtype=np.int16)
        for frame in frames(said):
            call.session.push_audio(frame)
        await server.wait_received("input_audio_buffer.append", count=100)
        await server.drop()
        await call.first("session_reconnected")
        call.session.commit_audio()
        await server.wait_received("input_audio_buffer.commit")
        assert audio_of(server.sessions[1]) == PCMU.encode(said[-8000:])
        assert call.session.info.audio_dropped == pytest.approx(1.0)


async def test_a_turn_without_a_transcript_is_brought_back_as_it_was_sent(open_session):
    script = Script([Turn(heard="My name is Ada.", say="x")] * 2)
    async with Emulator(script, knobs=Knobs(transcription_latency=60.0)) as server:
        call = open_session(server, input_audio_format="pcmu", turn_detection={**VAD, "create_response": False})
        await call.session.update_instructions("Be brief.")
        silence, said = np.zeros(24000, np.int16), narrow("My name is Ada.")
        for frame in frames(np.concatenate([silence, said, silence])):
            call.session.push_audio(frame)
        await call.first("remote_item_added")
        call.session.restart()
        await call.first("session_reconnected")
        (create,) = await server.wait_received("conversation.item.create")
        back = PCMU.decode(base64.b64decode(create["item"]["content"][0]["audio"]))
        loud = PCMU.decode(PCMU.encode(said[np.argmax(np.abs(said) > 500) :][:4000]))
        assert loud in back
        assert len(back) / 16 < len(said) / 8 + 1200  # ms: without the silence before it
        assert server.sessions[1].items[0]["id"] == create["item"]["id"]


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
async def test_audio_in_a_context_gets_the_sessions_format(open_session, form):
    async with Emulator() as server:
        call = open_session(server, input_audio_format=form.name)
        said = frames(narrow("My name is Ada."))
        context = llm.ChatContext()
        context.add_message(role="user", content=[llm.AudioContent(frame=said, transcript="My name is Ada.")])
        await call.session.update_chat_ctx(context)
        (create,) = server.received("conversation.item.create")
        audio = InputAudio(form)
        chunks = [*(chunk for frame in said for chunk in audio.push(frame)), *audio.flush()]
        assert base64.b64decode(create["item"]["content"][0]["audio"]) == b"".join(chunks)


async def test_a_format_stays_as_long_as_the_session(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        with pytest.raises(TypeError, match="input_audio_format"):
            call.session.update_options(input_audio_format="pcmu")
        await asyncio.sleep(0)
        assert len(server.received("session.update")) == 1
