"""What is heard on either side of a room."""

from __future__ import annotations

import asyncio
import functools

import pytest

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn, speak

from . import sound
from .conftest import Microphone, RoomCall, StartRoomCall

MELODY = [440.0, 660.0, 880.0]


async def test_a_caller_asks_and_hears_the_answer(start_room_call: StartRoomCall) -> None:
    turns = [Turn(say="Good morning."), Turn(heard="Who is it?", say="It is Iris.")]
    async with Emulator(Script(turns)) as server:
        call = await start_room_call(server)
        await call.session.generate_reply()
        call.microphone.say("Who is it?")
        await call.caller.until(lambda: call.caller.texts("agent") == ["Good morning.", "It is Iris."])
        assert call.caller.texts("caller") == ["Who is it?"]
        assert call.caller.agent_ear is not None
        assert len(call.caller.agent_ear.stretches()) >= 2


@pytest.mark.parametrize("publishers", [[(48000, 1), (48000, 2)], [(44100, 1), (44100, 2)], [(24000, 1), (16000, 1)]])
async def test_the_model_hears_callers_in_pitch_and_length(
    start_room_call: StartRoomCall, room_name: str, publishers: list[tuple[int, int]]
) -> None:
    async def heard_of(rate: int, channels: int, number: int) -> sound.Samples:
        async with Emulator(Script([Turn(heard="La la la.", say="Oh.")])) as server:
            microphone = Microphone(rate, channels)
            name = f"{room_name}-{rate}-{channels}-{number}"
            call = await start_room_call(server, microphone=microphone, name=name)
            sung = sound.notes(MELODY, 0.8, rate)
            call.microphone.play(sound.interleaved(*[sung] * channels))
            await server.wait_sent("input_audio_buffer.speech_stopped", timeout=20)
            await call.session.aclose()
            return sound.sounding(sound.microphone_audio(server.received("input_audio_buffer.append")))

    # Each in a room of its own.
    original = sound.samples(sound.notes(MELODY, 0.8))
    takes = [sound.take(functools.partial(heard_of, *publisher), original) for publisher in publishers]
    for heard in await asyncio.gather(*takes):
        assert sound.whole(heard, original)
        assert sound.melody(heard, 3) == pytest.approx(MELODY, rel=0.01)


async def test_the_model_hears_both_channels_of_a_stereo_caller(start_room_call: StartRoomCall) -> None:
    async with Emulator(Script([Turn(heard="La la la.", say="Oh.")])) as server:
        call = await start_room_call(server, microphone=Microphone(48000, 2))
        left, right = sound.notes([440], 1.5, 48000), sound.notes([1000], 1.5, 48000)
        call.microphone.play(sound.interleaved(left, right))
        await server.wait_sent("input_audio_buffer.speech_stopped", timeout=20)
        heard = sound.sounding(sound.microphone_audio(server.received("input_audio_buffer.append")))
        assert sound.strength(heard, 440) > 0.4
        assert sound.strength(heard, 1000) > 0.4


async def heard_of_the_agent(call: RoomCall) -> sound.Samples:
    """What the caller hears of a reply, from its first to its last sound."""
    speech = call.session.generate_reply()

    def over() -> bool:
        ear = call.caller.agent_ear
        last_half_second = b"" if ear is None else ear.pcm[-sound.RATE :]
        return speech.done() and ear is not None and ear.audible and sound.gaps(sound.samples(last_half_second)) == 1

    await call.caller.until(over)
    await call.session.aclose()
    return sound.sounding(sound.samples(next(iter(call.caller.ears.values())).pcm))


async def test_the_caller_hears_the_model_in_pitch_and_length(start_room_call: StartRoomCall, room_name: str) -> None:
    sung = sound.notes(MELODY, 0.8)
    knobs = Knobs(speak=lambda text, voice, speed: sung)

    async def heard_of(number: int) -> sound.Samples:
        async with Emulator(Script([Turn(say="La la la.")]), knobs=knobs) as server:
            return await heard_of_the_agent(await start_room_call(server, name=f"{room_name}-{number}"))

    original = sound.samples(sung)
    heard = await sound.take(heard_of, original)
    assert sound.whole(heard, original)
    assert sound.melody(heard, 3) == pytest.approx(MELODY, rel=0.01)


async def test_the_caller_hears_every_word_at_its_place(start_room_call: StartRoomCall, room_name: str) -> None:
    text = "Good morning, this is Iris."

    async def heard_of(number: int) -> sound.Samples:
        async with Emulator(Script([Turn(say=text)])) as server:
            return await heard_of_the_agent(await start_room_call(server, name=f"{room_name}-{number}", voice="alloy"))

    spoken = sound.sounding(sound.samples(speak(text, "alloy")))
    heard = await sound.take(heard_of, spoken)
    assert sound.whole(heard, spoken)
    assert sound.likeness(heard, spoken) > 0.85
