"""What LiveKit's clients can read along: text streams on the topic `lk.transcription`."""

from __future__ import annotations

from livekit import rtc
from livekit.agents.voice.room_io import RoomOptions

from livekit_plugins_openai_ga.devtools.room_caller import Caption
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import DelayTranscription

from .conftest import RoomCall, StartRoomCall

TURNS = [
    Turn(heard="Who is it?", say="It is Iris."),
    Turn(heard="Iris who?", say="From the bank."),
]


def of(call: RoomCall, identity: str) -> list[Caption]:
    return [caption for caption in call.caller.captions.values() if caption.identity == identity]


def track_of(participant: rtc.Participant) -> str:
    (sid,) = participant.track_publications
    return sid


async def test_each_turn_is_one_segment_of_its_speakers_track(start_room_call: StartRoomCall) -> None:
    async with Emulator(Script(TURNS)) as server:
        call = await start_room_call(server)
        call.microphone.say("Who is it?")
        await call.caller.until(lambda: len(call.caller.texts("agent")) == 1)
        call.microphone.say("Iris who?")
        await call.caller.until(lambda: len(call.caller.texts("agent")) == 2)
        assert call.caller.texts("agent") == ["It is Iris.", "From the bank."]
        assert call.caller.texts("caller") == ["Who is it?", "Iris who?"]
        agent = call.caller.agent
        assert agent is not None
        assert {caption.track_id for caption in of(call, "agent")} == {track_of(agent)}
        assert {caption.track_id for caption in of(call, "caller")} == {track_of(call.caller.room.local_participant)}
        # The agent's text grows within one stream; each version of the caller's is a stream of its own.
        assert len({caption.segment_id for caption in of(call, "agent")}) == len(of(call, "agent")) == 2
        assert len({caption.segment_id for caption in of(call, "caller")}) == 2


async def test_the_callers_words_appear_before_they_are_final(start_room_call: StartRoomCall) -> None:
    slow = DelayTranscription(0.5, deltas_first=True)
    async with Emulator(Script(TURNS), faults=[slow]) as server:
        call = await start_room_call(server)
        call.microphone.say("Who is it?")
        await call.caller.until(lambda: call.caller.texts("caller") == ["Who is it?"])
        versions = of(call, "caller")
        assert [caption.final for caption in versions] == [False] * (len(versions) - 1) + [True]
        growing = [caption.text for caption in versions]
        assert growing[:3] == ["Who", "Who is", "Who is it?"]
        assert growing[-1] == "Who is it?"
        assert len({caption.segment_id for caption in versions}) == 1


async def test_a_reply_in_text_alone_is_a_caption_and_no_sound(start_room_call: StartRoomCall) -> None:
    async with Emulator(Script([Turn(say="You can read this.")])) as server:
        silent = RoomOptions(audio_output=False)
        call = await start_room_call(server, modalities=["text"], room_options=silent)
        await server.wait_received("input_audio_buffer.append", timeout=20)  # agent and caller are both there
        await call.session.generate_reply()
        await call.caller.until(lambda: call.caller.texts("agent") == ["You can read this."])
        assert call.caller.agent_ear is None
