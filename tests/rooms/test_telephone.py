"""A room at a telephone's rate, or at the usual one, and a model that hears and speaks G.711."""

from __future__ import annotations

import base64

import pytest
from livekit.agents.voice.room_io import AudioInputOptions, AudioOutputOptions, RoomOptions

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn, g711

from . import sound
from .conftest import StartRoomCall
from .test_audio import heard_of_the_agent

MELODY = [440.0, 660.0, 880.0]
SUNG = sound.notes(MELODY, 0.8)
PHONE = RoomOptions(audio_input=AudioInputOptions(sample_rate=8000), audio_output=AudioOutputOptions(sample_rate=8000))

in_each_room = pytest.mark.parametrize("room_options", [PHONE, RoomOptions()], ids=["8 kHz", "24 kHz"])


@in_each_room
async def test_the_model_hears_callers_in_pitch_and_length(
    start_room_call: StartRoomCall, room_name: str, room_options: RoomOptions
) -> None:
    async def heard_of(number: int) -> sound.Samples:
        async with Emulator(Script([Turn(heard="La la la.", say="Oh.")])) as server:
            call = await start_room_call(
                server, name=f"{room_name}-{number}", room_options=room_options, input_audio_format="pcmu"
            )
            call.microphone.play(SUNG)
            await server.wait_sent("input_audio_buffer.speech_stopped", timeout=20)
            await call.session.aclose()
            appends = server.received("input_audio_buffer.append")
            codes = b"".join(base64.b64decode(event["audio"]) for event in appends)
            return sound.sounding(sound.samples(g711.decode(codes, "audio/pcmu")))

    original = sound.samples(SUNG)
    heard = await sound.take(heard_of, original)
    assert sound.whole(heard, original)
    assert sound.melody(heard, 3) == pytest.approx(MELODY, rel=0.01)


@in_each_room
async def test_the_caller_hears_the_model_in_pitch_and_length(
    start_room_call: StartRoomCall, room_name: str, room_options: RoomOptions
) -> None:
    knobs = Knobs(speak=lambda text, voice, speed: SUNG)

    async def heard_of(number: int) -> sound.Samples:
        async with Emulator(Script([Turn(say="La la la.")]), knobs=knobs) as server:
            call = await start_room_call(
                server, name=f"{room_name}-{number}", room_options=room_options, output_audio_format="pcma"
            )
            return await heard_of_the_agent(call)

    original = sound.samples(SUNG)
    heard = await sound.take(heard_of, original)
    assert sound.whole(heard, original)
    assert sound.melody(heard, 3) == pytest.approx(MELODY, rel=0.01)
