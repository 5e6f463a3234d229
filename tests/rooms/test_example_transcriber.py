"""examples/transcriber.py with two people in a room: what each of them reads of the other."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller

from .conftest import Microphone
from .example_call import ExampleCall, example_call, script

pytestmark = pytest.mark.timeout(180)  # processes take long to start on a busy machine

TURNS = script("captions.json")
QUESTION, ANSWER, END = [turn.heard for turn in TURNS]


def listeners(call: ExampleCall) -> int:
    """How many people the model hears."""
    heard = [{event["type"] for event in session.received} for session in call.model.sessions]
    return len([types for types in heard if "input_audio_buffer.append" in types])


async def test_everybody_reads_what_everybody_says(livekit: LiveKitServer, room_name: str) -> None:
    async with (
        example_call(livekit, room_name, "transcriber.py", TURNS) as call,
        RoomCaller.join(livekit.url, livekit.token("second", room_name)) as second,
    ):
        microphone = Microphone()
        track = await second.publish_microphone(microphone)
        await call.model.wait_until(lambda: listeners(call) == 2, timeout=30.0)
        call.microphone.say(QUESTION)
        await second.until(lambda: second.texts("caller") == [QUESTION])
        microphone.say(ANSWER)
        await call.caller.until(lambda: call.caller.texts("second") == [ANSWER])
        call.microphone.say(END)
        await second.until(lambda: second.texts("caller") == [QUESTION, END])
        assert second.texts("second") == [ANSWER]

        captions = [caption for caption in call.caller.captions.values() if caption.identity == "second"]
        assert {caption.track_id for caption in captions} == {track.sid}
        assert len({caption.segment_id for caption in captions}) == 1
        assert [caption.final for caption in captions] == [False] * (len(captions) - 1) + [True]
        growing = [caption.text for caption in captions[:-1]]
        assert growing
        assert all(ANSWER.startswith(text) for text in growing)
