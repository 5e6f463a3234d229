"""A caller interrupts the agent."""

from __future__ import annotations

import pytest
from livekit.agents import llm

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn, speak

from .conftest import StartRoomCall

LONG = (
    "This is a long answer that goes on and on, about the weather, the sea and the stars, about all the rivers and "
    "all the roads, about what there is for dinner, and about what there was for lunch, until somebody stops it."
)


async def test_barge_in_stops_the_agents_track_and_the_history_is_what_was_heard(
    start_room_call: StartRoomCall,
) -> None:
    turns = [Turn(say=LONG), Turn(heard="Stop right there.", say="All right.")]
    async with Emulator(Script(turns)) as server:
        call = await start_room_call(server)
        speech = call.session.generate_reply()
        await call.caller.until(lambda: len("".join(call.caller.texts("agent", final=False)).split()) > 5)
        call.microphone.say("Stop right there.")
        await call.caller.until(lambda: call.caller.texts("agent")[-1:] == ["All right."])
        assert speech.interrupted

        ear = call.caller.agent_ear
        assert ear is not None
        audible = sum(end - begin for begin, end in ear.stretches())
        whole = len(speak(LONG, "marin")) / 48000
        assert audible < whole / 2

        (cut,) = server.received("conversation.item.truncate")
        answer = len(speak("All right.", "marin")) / 48000
        assert cut["audio_end_ms"] / 1000 == pytest.approx(audible - answer, abs=1.0)
        heard = call.texts("assistant")[0]
        assert LONG.startswith(heard.rstrip())
        assert 0 < len(heard) < len(LONG)
        shown = call.caller.texts("agent")[0]
        # LiveKit shows a word while it is spoken, and has it in the history when it was.
        assert shown.startswith(heard)
        assert len(shown.split()) - len(heard.split()) <= 1
        rt = call.agent.realtime_llm_session
        assert isinstance(rt, llm.RealtimeSession)
        mirrored = rt.chat_ctx.get_by_id(cut["item_id"])
        assert isinstance(mirrored, llm.ChatMessage)
        assert mirrored.text_content == heard
