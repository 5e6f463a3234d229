"""An agent made of our STT, a language model and a voice answers what was said, whatever happens to the connection."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.agents import inference

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import (
    CloseOn,
    DelayTranscription,
    DropOn,
    FailTranscription,
    RejectHandshake,
)

SERVER, STREAMING, OLD = "gpt-transcribe", "gpt-live-transcribe", "gpt-4o-mini-transcribe"
ONE, TWO = "hello there my friend", "what is the weather in rome"
SCRIPT = (Turn(heard=ONE), Turn(heard=TWO))
QUICK_SERVER = Knobs(transcription_latency=0.05)
EXPIRED = ("session_expired", "Your session hit the maximum duration of 60 minutes.")
SILERO: Any = "silero"

SETUPS = {
    "the server ends turns": {"model": SERVER, "turn_detection": "stt"},
    "the server ends turns of an older model": {"model": OLD, "turn_detection": "stt"},
    "our detector ends turns of a streaming model": {"model": STREAMING, "turn_detection": "stt"},
    "the framework ends turns": {"model": SERVER, "turn_detection": "vad", "vad": SILERO},
    "the framework ends turns of a streaming model": {"model": STREAMING, "turn_detection": "vad", "vad": SILERO},
}


@pytest.fixture
def start(start_pipeline) -> Any:
    async def begin(server: Emulator, setup: str = "the server ends turns", **options: Any) -> Any:
        options = {**SETUPS[setup], **options}
        if options.get("vad") == SILERO:
            options["vad"] = inference.VAD(model="silero")
        return await start_pipeline(server, **options)

    return begin


def finals(call: Any) -> list[str]:
    return [event.transcript for event in call.named("user_input_transcribed") if event.is_final]


async def answered(call: Any, *questions: str) -> None:
    """Wait until each question was answered, in order."""
    expected = [f"You said {question}." for question in questions]
    await call.until(lambda: len(call.texts("assistant")) >= len(expected))
    assert call.texts("assistant") == expected
    assert call.texts("user") == list(questions)


@pytest.mark.parametrize("setup", SETUPS)
async def test_two_sentences_are_answered_with_what_was_heard(start, setup):
    async with Emulator(Script(SCRIPT), knobs=QUICK_SERVER) as server:
        call = await start(server, setup)
        call.microphone.say(ONE)
        await answered(call, ONE)
        call.microphone.say(TWO)
        await answered(call, ONE, TWO)
        assert finals(call) == [ONE, TWO]
        assert call.speaker.loudness > 1000
        assert call.named("error") == []
        assert len(server.handshakes) == 1


@pytest.mark.parametrize("setup", SETUPS)
async def test_a_drop_between_two_sentences_loses_neither(start, setup):
    async with Emulator(Script(SCRIPT), knobs=QUICK_SERVER) as server:
        call = await start(server, setup)
        call.microphone.say(ONE)
        await answered(call, ONE)
        await server.drop()
        call.microphone.say(TWO)
        await answered(call, ONE, TWO)
        assert len(server.handshakes) == 2
        assert call.named("close") == []


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize(
    "fault",
    [
        DropOn("input_audio_buffer.append", nth=20),
        DropOn("input_audio_buffer.committed"),
        CloseOn("input_audio_buffer.append", 1001, EXPIRED[1], error=EXPIRED, nth=20),
    ],
    ids=["in the sentence", "after the commit", "expiry"],
)
async def test_a_sentence_that_the_connection_does_not_survive_is_answered_once(start, setup, fault):
    async with Emulator(Script(SCRIPT), knobs=QUICK_SERVER, faults=[fault]) as server:
        call = await start(server, setup)
        call.microphone.say(ONE)
        await answered(call, ONE)
        call.microphone.say(TWO)
        await answered(call, ONE, TWO)
        assert call.model.asked[-1] == TWO
        assert finals(call) == [ONE, TWO]


async def test_five_expired_sessions_in_one_call_do_not_make_the_agent_deaf(start):
    """AgentSession closes after a few unrecoverable errors of its STT."""
    texts = [f"sentence number {word}" for word in ("one", "two", "three", "four", "five")]
    async with Emulator(Script([Turn(heard=text) for text in texts]), knobs=QUICK_SERVER) as server:
        call = await start(server)
        for number, text in enumerate(texts, 1):
            call.microphone.say(text)
            await call.until(lambda n=number: len(finals(call)) == n)
            await server.close_sessions(1001, EXPIRED[1])
            await server.wait_sent("session.updated", count=number + 1)
        assert finals(call) == texts
        assert call.named("close") == []


async def test_a_sentence_that_cannot_be_transcribed_costs_only_itself(start):
    async with Emulator(Script(SCRIPT), knobs=QUICK_SERVER, faults=[FailTranscription()]) as server:
        call = await start(server)
        call.microphone.say("mumble mumble mumble")
        await call.until(lambda: call.named("error") != [])
        call.microphone.say(TWO)
        await call.until(lambda: call.texts("assistant") != [])
        assert call.texts("user") == [TWO]
        assert [event.error.recoverable for event in call.named("error")] == [True]
        assert call.named("close") == []


async def test_sentences_whose_texts_come_out_of_order_stay_in_order(start):
    async with Emulator(Script(SCRIPT), knobs=QUICK_SERVER, faults=[DelayTranscription(0.4)]) as server:
        call = await start(server)
        call.microphone.say(ONE)
        call.microphone.say(TWO)
        await call.until(lambda: len(finals(call)) == 2)
        assert finals(call) == [ONE, TWO]


async def test_a_wrong_key_closes_the_call_with_the_reason(start):
    fault = RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000, times=9)
    async with Emulator(faults=[fault]) as server:
        call = await start(server)
        await call.until(lambda: call.named("error") != [])
        (event, *_) = call.named("error")
        assert not event.error.recoverable
        assert "invalid_api_key" in str(event.error.error)
        assert isinstance(event.source, STT)


async def test_the_users_state_follows_the_speech(start):
    async with Emulator(Script(SCRIPT), knobs=QUICK_SERVER) as server:
        call = await start(server)
        call.microphone.say(ONE)
        await answered(call, ONE)
        states = [event.new_state for event in call.named("user_state_changed")]
        assert states[:2] == ["speaking", "listening"]


async def test_a_user_interrupts_the_agent(start):
    long = "a very long sentence that the agent will repeat word by word until somebody stops it at last"
    async with Emulator(Script([Turn(heard=long), Turn(heard=TWO)]), knobs=QUICK_SERVER) as server:
        call = await start(server, brief=False)
        call.microphone.say(long)
        await call.until(lambda: "speaking" in [event.new_state for event in call.named("agent_state_changed")])
        call.microphone.say(TWO)
        await call.until(lambda: call.texts("user") == [long, TWO])
        await call.until(lambda: any(interrupted for _, interrupted in call.speaker.heard))


async def test_preemptive_answers_begin_at_the_end_of_speech(start):
    """A streaming model knows most of the sentence when it ends, and says so with a preflight text."""
    async with Emulator(Script(SCRIPT), knobs=Knobs(transcription_latency=0.6, seconds_per_word=0.15)) as server:
        call = await start(server, "our detector ends turns of a streaming model")
        call.microphone.say(ONE)
        await server.wait_sent("input_audio_buffer.committed")
        await call.until(lambda: call.model.asked != [])
        assert finals(call) == []
        await answered(call, ONE)


async def test_the_words_to_expect_of_the_session_reach_the_server(start):
    async with Emulator(Script(SCRIPT), knobs=QUICK_SERVER) as server:
        await start(server, keywords=["Gleis"], keyterms=["ICE"])

        def words() -> list[str]:
            update = server.received("session.update")[-1]["session"]
            return update["audio"]["input"]["transcription"].get("keywords", [])

        await server.wait_sent("session.updated")
        await server.wait_until(lambda: words() == ["Gleis", "ICE"])


async def test_a_manual_turn_is_answered_with_all_of_it(start):
    async with Emulator(Script(SCRIPT), knobs=QUICK_SERVER) as server:
        call = await start(server, turn_detection="manual")
        call.microphone.say(ONE)
        await call.until(lambda: finals(call) == [ONE])
        call.microphone.say(TWO)
        await call.until(lambda: finals(call) == [ONE, TWO])
        assert call.texts("assistant") == []
        call.session.commit_user_turn()
        await call.until(lambda: call.texts("user") == [f"{ONE} {TWO}"])


async def test_closing_the_call_closes_the_socket(start):
    async with Emulator(Script(SCRIPT), knobs=QUICK_SERVER) as server:
        call = await start(server)
        call.microphone.say(ONE)
        await answered(call, ONE)
        await call.session.aclose()
        await server.wait_until(lambda: all(session.closed for session in server.sessions))
