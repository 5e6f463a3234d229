"""Sessions of every kind go as recorded, and a client that goes another way is found out."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, llm

from livekit_plugins_openai_ga import RealtimeModel, Recorder
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.realtime import RealtimeSession
from livekit_plugins_openai_ga.recording.reader import read
from livekit_plugins_openai_ga.replay import clock, rerun
from tests.replay.sessions import SESSIONS, record, record_an_agent


def recorded(name: str, folder: Path) -> Path:
    return record(folder, **SESSIONS[name])[0]


def differences(run) -> list[str]:
    return [difference.what for difference in run.differences]


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_goes_as_recorded(name, tmp_path):
    path, told = record(tmp_path, **SESSIONS[name])
    run = rerun(path)
    assert differences(run) == []
    if name == "no server":
        assert [line.replace("connection_refused", "connection_lost") for line in told] == list(run.told)
    elif not SESSIONS[name].get("redact"):
        assert list(run.told) == told
    assert run.told != ()


def test_a_call_of_an_agent_goes_as_recorded(tmp_path):
    run = rerun(record_an_agent(tmp_path))
    assert differences(run) == []
    assert 'tool: weather({"city": "Rome"})' in run.told
    assert "error close_1006" in run.told
    assert any(line.startswith("agent: Goodbye.") for line in run.told)


def test_it_goes_the_same_way_each_time(tmp_path):
    path = recorded("drop mid-reply", tmp_path)
    assert rerun(path) == rerun(path)


def test_real_time_is_kept_on_request(tmp_path):
    path = recorded("refused update", tmp_path)
    cut = read(path)
    cut = dataclasses.replace(cut, entries=tuple(entry for entry in cut.entries if entry.t_ms < 500))
    assert rerun(cut, real_time=True).told == rerun(cut).told


def test_the_calls_of_the_application_are_told(tmp_path):
    run = rerun(recorded("tool call", tmp_path))
    assert run.asked == ("conversation.item.create", "response.create")
    assert rerun(recorded("interruption", tmp_path / "b")).asked == (
        "response.create",
        "response.cancel",
        "conversation.item.truncate",
    )


def test_what_was_left_out_is_told(tmp_path):
    assert [note.partition(" ")[0] for note in rerun(recorded("plain turn, without its texts", tmp_path)).notes] == [
        "Texts",
        "Audio",
    ]
    assert rerun(recorded("plain turn, with its audio", tmp_path / "b")).notes == ()


def test_a_recording_that_ends_in_the_middle_is_played_to_there(tmp_path):
    path = recorded("plain turn", tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]) + b'{"t": 1, "li')
    run = rerun(path)
    assert differences(run) == []
    assert any(line.startswith("agent: Hello there.") for line in run.told)


# -- a client with a bug -------------------------------------------------------------------------------------------


class _Wrong(RealtimeModel):
    kind: type[RealtimeSession]

    def session(self, *, turn_detection_disabled: bool = False) -> RealtimeSession:
        return self.kind(self, turn_detection_disabled=turn_detection_disabled)


def wrong(**methods: Any) -> type[RealtimeModel]:
    """A model whose sessions do something else."""
    return type("Wrong", (_Wrong,), {"kind": type("WrongSession", (RealtimeSession,), methods)})


def test_an_event_that_is_not_sent_is_found(tmp_path):
    async def forget(self, chat_ctx: llm.ChatContext) -> None:
        pass

    run = rerun(recorded("tool call", tmp_path), realtime_model=wrong(update_chat_ctx=forget))
    first = run.differences[0]
    assert first.what == "the client did not send conversation.item.create (function_call_output)."
    assert first.link == 1
    assert str(first).startswith(f"{first.t_ms / 1000:.3f} s, connection 1: ")


def test_an_event_that_says_something_else_is_found(tmp_path):
    def truncate(self, *, audio_end_ms: int, **given: Any) -> None:
        RealtimeSession.truncate(self, audio_end_ms=audio_end_ms - 100, **given)

    run = rerun(recorded("interruption", tmp_path), realtime_model=wrong(truncate=truncate))
    assert differences(run) == [
        "conversation.item.truncate differs in audio_end_ms: 700 was recorded, 600 is sent now."
    ]


def test_an_event_too_many_is_found(tmp_path):
    def interrupt(self) -> None:
        RealtimeSession.interrupt(self)
        self.send_event({"type": "output_audio_buffer.clear"})

    run = rerun(recorded("interruption", tmp_path), realtime_model=wrong(interrupt=interrupt))
    assert "the client sent output_audio_buffer.clear, which is not in the recording." in differences(run)


def test_audio_that_is_lost_is_found(tmp_path):
    def push_audio(self, frame) -> None:
        pass

    run = rerun(recorded("plain turn", tmp_path), realtime_model=wrong(push_audio=push_audio))
    assert differences(run) == ["0.00 s of user audio were sent on this connection, 1.20 s were recorded."]


def test_an_application_that_is_told_less_is_found(tmp_path):
    def emit(self, event: str, *arguments: Any) -> None:
        if event != "input_audio_transcription_completed":
            RealtimeSession.emit(self, event, *arguments)

    path = recorded("plain turn", tmp_path)
    run = rerun(path, realtime_model=wrong(emit=emit))
    assert run.as_recorded  # on the wire
    assert "user: How are you?" in rerun(path).told
    assert "user: How are you?" not in run.told


def test_a_session_that_ends_another_way_is_found(tmp_path):
    class Settled(RealtimeModel):
        def __init__(self, **given: Any) -> None:
            super().__init__(**{**given, "fallback_models": ["gpt-realtime"]})

    run = rerun(recorded("invalid model", tmp_path), realtime_model=Settled)
    assert "the client made one more connection than was recorded." in differences(run)
    assert any(what.startswith("the session ended with invalid_model, and now") for what in differences(run))


# -- what a session begins with --


async def reply(session: Any) -> None:
    await (await session.generate_reply(instructions="Greet the caller.")).end()


def earlier() -> llm.ChatContext:
    context = llm.ChatContext.empty()
    context.add_message(role="user", content="The old question.")
    context.add_message(role="assistant", content="The old answer.")
    context.items.append(llm.FunctionCall(call_id="call_1", name="weather", arguments="{}"))
    context.items.append(llm.FunctionCallOutput(call_id="call_1", output="sunny", is_error=False))
    return context


async def with_history(session: Any, server: Emulator) -> None:
    await session.update_chat_ctx(earlier())
    await reply(session)
    context = session.chat_ctx.copy()
    context.add_message(role="user", content="A new question.")
    del context.items[1]
    await session.update_chat_ctx(context)
    await reply(session)


async def with_video(session: Any, server: Emulator) -> None:
    await asyncio.sleep(0.5)
    for _ in range(2):
        session.push_video(rtc.VideoFrame(16, 16, rtc.VideoBufferType.RGBA, bytes(16 * 16 * 4)))
        await asyncio.sleep(2)
        await reply(session)


@pytest.mark.parametrize("redact", [False, True])
@pytest.mark.parametrize("go", [with_history, with_video])
def test_a_history_and_pictures_are_there_again(go, redact, tmp_path):
    path, told = record(tmp_path, go, [Turn(say="Hello."), Turn(say="And again.")], redact=redact, audio=not redact)
    run = rerun(path)
    assert differences(run) == []
    assert redact or list(run.told) == told
    assert len(run.told) == len(told)


def test_a_history_that_is_forgotten_is_found(tmp_path):
    async def forget(self, chat_ctx: llm.ChatContext) -> None:
        pass

    path, _ = record(tmp_path, with_history, [Turn(say="Hello."), Turn(say="And again.")])
    run = rerun(path, realtime_model=wrong(update_chat_ctx=forget))
    assert differences(run)[0] == "the client did not send conversation.item.create (message)."


def test_an_agent_with_a_history_goes_as_recorded(tmp_path):
    async def main() -> None:
        async with Emulator(Script([Turn(say="Good morning.")])) as server:
            model = RealtimeModel(base_url=server.base_url, api_key="sk-test", recorder=Recorder(tmp_path))
            async with AgentSession(llm=model) as session:
                await session.start(Agent(instructions="Be kind.", chat_ctx=earlier()))
                session.generate_reply(instructions="Greet the caller.")
                await asyncio.sleep(4)

    clock.run(main())
    (path,) = tmp_path.glob("*.jsonl")
    assert differences(rerun(path)) == []


def test_a_session_on_a_connection_made_ahead_goes_as_recorded(tmp_path):
    async def main() -> None:
        async with Emulator(Script([Turn(say="Good morning.")])) as server:
            model = RealtimeModel(base_url=server.base_url, api_key="sk-test", recorder=Recorder(tmp_path))
            model.prewarm()
            await asyncio.sleep(2)
            session = model.session()
            await session.update_chat_ctx(earlier())
            await reply(session)
            await session.aclose()
            await model.aclose()

    clock.run(main())
    (path,) = tmp_path.glob("*.jsonl")
    run = rerun(path)
    assert differences(run) == []
    assert any(line.startswith("agent: Good morning.") for line in run.told)


def test_what_a_redacted_session_tells_is_as_long(tmp_path):
    whole, _ = record(tmp_path / "a", **SESSIONS["plain turn"])
    redacted, _ = record(tmp_path / "b", **SESSIONS["plain turn, without its texts"])
    told, lines = rerun(whole).told, rerun(redacted).told
    assert [len(line) for line in lines] == [len(line) for line in told]
    assert f"user: {'x' * len('How are you?')}" in lines
    assert not any("Hello" in line or "fine" in line for line in lines)


# -- files of others -----------------------------------------------------------------------------------------------


def test_raw_events_of_an_application_are_played_too(tmp_path):
    path = recorded("tool call", tmp_path)
    foreign = tmp_path / "taps.jsonl"
    events = [entry for entry in read(path).entries if entry.direction != "note"]
    foreign.write_text("".join(json.dumps({"ts": e.t_ms / 1000, "event": e.event}) + "\n" for e in events))
    run = rerun(foreign)
    assert differences(run) == []
    assert run.told == rerun(path).told


def test_a_file_without_a_session_is_refused(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_text('{"recording": 1, "at": 0.0, "kind": "realtime"}\n')
    with pytest.raises(ValueError, match="has no connection in it"):
        rerun(path)
