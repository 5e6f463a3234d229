"""Recordings as scripts: the emulator takes them, and a session with it says the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Script, ToolCall, Turn, faults
from livekit_plugins_openai_ga.recording.reader import read
from livekit_plugins_openai_ga.replay import clock
from livekit_plugins_openai_ga.replay.script import NOT_TRANSCRIBED, to_script
from livekit_plugins_openai_ga.replay.told import Told
from tests.replay.sessions import PLAIN, SESSIONS, VAD, nothing, plain_turn, record, speak


def loaded(path: Path, folder: Path) -> tuple[Script, list[str]]:
    script, left_out = to_script(read(path))
    (folder / "script.json").write_text(json.dumps(script))
    return Script.load(folder / "script.json"), left_out


@pytest.mark.parametrize("name", SESSIONS)
def test_every_recording_makes_a_script_that_loads(name, tmp_path):
    loaded(record(tmp_path, **SESSIONS[name])[0], tmp_path)


def test_turns_are_what_was_heard_and_said(tmp_path):
    script, left_out = loaded(record(tmp_path, **SESSIONS["plain turn"])[0], tmp_path)
    assert [(turn.heard, turn.say) for turn in script.turns] == [(turn.heard, turn.say) for turn in PLAIN]
    assert left_out == []


def test_tools_are_called_again(tmp_path):
    script, _ = loaded(record(tmp_path, **SESSIONS["tool call"])[0], tmp_path)
    assert script.turns[0].tool == ToolCall("weather", {"city": "Rome"})
    assert (script.turns[0].heard, script.turns[1].say) == ("How is the weather in Rome?", "It is sunny in Rome.")


def test_a_session_with_the_script_says_the_same(tmp_path):
    path, told = record(tmp_path, **SESSIONS["plain turn"])
    script, _ = loaded(path, tmp_path)
    again = Told()

    async def main() -> None:
        async with Emulator(script) as server:
            session = RealtimeModel(base_url=server.base_url, api_key="sk-test", turn_detection=VAD).session()
            again.to_session(session)
            await plain_turn(session, server)
            await session.aclose()
            await again.finish()

    clock.run(main())
    assert again.lines == told


def test_failures_and_cut_replies_keep_how_they_ended(tmp_path):
    async def ask(session, server):
        for _ in range(2):
            reply = await session.generate_reply()
            await reply.end()

    turns = [
        Turn(say="This is much too long for it.", incomplete="max_output_tokens"),
        Turn(failure=("invalid_request_error", "content_filter", "No.")),
    ]
    path, _ = record(tmp_path, ask, turns)
    script, _ = loaded(path, tmp_path)
    assert script.turns[0].incomplete == "max_output_tokens"
    assert script.turns[1].failure == ("invalid_request_error", "content_filter", "No.")


def test_replies_beside_the_conversation_have_a_list_of_their_own(tmp_path):
    async def ask(session, server):
        await (await session.generate_reply(conversation="none", output_modalities=["text"])).end()
        await (await session.generate_reply()).end()

    path, _ = record(tmp_path, lambda session, server: ask(session, server), [Turn(say="Hello.")])
    script, _ = loaded(path, tmp_path)
    assert [turn.say for turn in script.turns] == ["Hello."]
    assert len(script.out_of_band) == 1


def test_a_late_first_word_is_a_latency(tmp_path):
    path, _ = record(tmp_path, plain_turn, [Turn(say="Hello.", latency=1.5), *PLAIN[1:]], turn_detection=VAD)
    script, _ = loaded(path, tmp_path)
    assert script.turns[0].latency == pytest.approx(1.5, abs=0.2)
    assert script.turns[1].latency < 0.2


def test_speech_to_text_is_a_list_of_what_was_heard(tmp_path):
    script, _ = loaded(record(tmp_path, **SESSIONS["speech to text, flushed"])[0], tmp_path)
    assert [turn.heard for turn in script.turns][:2] == ["The first sentence.", "And the second one."]


def test_a_translation_is_one_turn_of_its_language(tmp_path):
    script, left_out = loaded(record(tmp_path, **SESSIONS["translation"])[0], tmp_path)
    (turn,) = script.translations["de"].turns
    assert (turn.heard, turn.say) == (NOT_TRANSCRIBED, "Hallo.")
    assert left_out == ["All that was translated is one turn: a translation has none."]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("drop mid-reply", "A connection ended with close_1006 after 1.5 s: --fault drop@1.5s does that."),
        ("close with a code", "A connection ended with close_1011 after 1.5 s: --fault close@1.5s:1011 does that."),
        ("silent peer", "A connection ended with timeout after 3.5 s: --fault freeze@1.5s does that."),
        (
            "invalid model",
            "A connection was refused with invalid_model after 0.0 s: --fault reject@connection:1:invalid_model",
        ),
        (
            "busy server, then a session",
            "A connection was refused with http_503 after 0.1 s: --fault http@connection:2:503 does that.",
        ),
        (
            "no server",
            "A connection was refused with connection_refused after 0.0 s: no fault of the emulator",
        ),
        (
            "refused update",
            "The server refused something (invalid_value): --fault refuse@session.update:2:invalid_value does that.",
        ),
        ("interruption", "A reply was interrupted"),
        ("plain turn, without its texts", "The texts, which the recording does not have"),
    ],
)
def test_what_a_script_cannot_say_is_told(name, told, tmp_path):
    _, left_out = loaded(record(tmp_path, **SESSIONS[name])[0], tmp_path)
    assert any(line.startswith(told) for line in left_out)


def test_a_turn_without_a_transcript_is_one_all_the_same(tmp_path):
    struck = [faults.FailTranscription()]
    path, _ = record(tmp_path, plain_turn, PLAIN, struck=struck, turn_detection=VAD)
    script, left_out = loaded(path, tmp_path)
    assert [turn.heard for turn in script.turns] == ["", NOT_TRANSCRIBED]
    assert left_out[0].endswith(": --fault fail-transcript@turn:1:audio_unintelligible does that.")
    assert len(left_out) == 2


def test_a_second_lost_connection_is_named_by_its_place(tmp_path):
    path, _ = record(tmp_path, nothing)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lost = {"type": "lost", "code": "close_1006", "sentence": "close_1006: lost."}
    began = {"type": "response.created", "event_id": "e", "response": {"id": "r"}}
    more = [
        {"t": 4000.0, "link": 1, "note": lost},
        {"t": 4100.0, "link": 2, "note": {"type": "opened"}},
        {"t": 5000.0, "link": 2, "note": lost},
        {"t": 5100.0, "link": 3, "note": {"type": "opened"}},
        {"t": 6000.0, "link": 3, "in": began},
        {"t": 7000.0, "link": 3, "note": lost},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines[:-1], *more]))
    _, left_out = to_script(read(path))
    assert [line.partition(" --fault ")[2] for line in left_out] == [
        *("drop@4.0s does that.", "drop@connection:2 does that.", "drop@reply:1 does that.")
    ]


def test_a_recording_without_a_word_is_a_script_without_turns(tmp_path):
    script, _ = loaded(record(tmp_path, nothing)[0], tmp_path)
    assert script.turns == ()


def test_a_turn_that_nobody_answered_is_at_the_end(tmp_path):
    async def only_listen(session, server):
        await speak(session.push_audio)
        await asyncio.sleep(2)

    path, _ = record(tmp_path, only_listen, PLAIN[1:], turn_detection={**VAD, "create_response": False})
    script, _ = loaded(path, tmp_path)
    assert [(turn.heard, turn.say) for turn in script.turns] == [("How are you?", "")]
