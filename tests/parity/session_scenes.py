"""Scenes of a bare realtime session."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from livekit import rtc
from livekit.agents import llm
from openai.types.realtime import AudioTranscription

from livekit_plugins_openai_ga.emulator import ToolCall, Turn
from livekit_plugins_openai_ga.emulator.faults import (
    CloseOn,
    DelayOn,
    FailTranscription,
    InjectOn,
    RefuseHandshake,
    RejectHandshake,
    RejectOn,
)
from livekit_plugins_openai_ga.emulator.script import SCRIPT_IS_OVER

from .normal import error
from .stage import SEMANTIC_VAD, Scene, SessionStage

SCENES: dict[str, Scene] = {}
HELLO, ANSWER, QUESTION = "Hello there.", "It is noon.", "What time is it?"
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"


def scene(**how: Any) -> Callable[[Callable[[SessionStage], Any]], None]:
    """Makes a scene of a function, under its name."""

    def keep(play: Callable[[SessionStage], Any]) -> None:
        name = play.__name__.replace("_", " ")
        SCENES[name] = Scene(name, play, **how)

    return keep


def message(role: Any, *content: Any, **more: Any) -> llm.ChatMessage:
    return llm.ChatMessage(role=role, content=list(content), **more)


@llm.function_tool
async def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


@llm.function_tool
async def clock(city: str) -> str:
    """The time in a city."""
    return f"noon in {city}"


WEATHER = ToolCall("weather", {"city": "Rome"})
CLOCK = ToolCall("clock", {"city": "Oslo"})


# -- replies -------------------------------------------------------------------------------------------------------


@scene(turns=(Turn(say=HELLO),))
async def a_greeting(do: SessionStage) -> None:
    await do.session.update_instructions("Be brief.")
    await do.reply(instructions="Greet the caller.")
    await do.replies(1)


@scene(turns=(Turn(say=ANSWER),))
async def a_text_turn(do: SessionStage) -> None:
    context = llm.ChatContext([message("user", QUESTION)])
    await do.session.update_chat_ctx(context)
    await do.reply()
    await do.replies(1)


@scene(turns=(Turn(heard=QUESTION, say=ANSWER),))
async def a_spoken_turn(do: SessionStage) -> None:
    do.say(QUESTION)
    await do.replies(1)


@scene(turns=(Turn(heard=QUESTION, say=ANSWER),), options={"turn_detection": SEMANTIC_VAD})
async def a_spoken_turn_with_semantic_vad(do: SessionStage) -> None:
    do.say(QUESTION, silence_ms=2500)
    await do.replies(1)


@scene(turns=(Turn(heard=QUESTION, say=ANSWER),), options={"azure": True})
async def a_spoken_turn_on_azure(do: SessionStage) -> None:
    do.say(QUESTION)
    await do.replies(1)


@scene(turns=(Turn(heard=QUESTION, say=ANSWER),), options={"turn_detection": None})
async def a_turn_committed_by_hand(do: SessionStage) -> None:
    do.say(QUESTION, silence_ms=0)
    do.session.commit_audio()
    await do.told("metrics_collected", 2)  # of the connection, and of the transcript
    await do.reply()
    await do.replies(1)


@scene(turns=(Turn(heard=QUESTION, say=ANSWER),), options={"turn_detection_disabled": True})
async def turn_detection_switched_off_for_one_session(do: SessionStage) -> None:
    do.session.push_audio(rtc.AudioFrame(bytes(960), 24000, 1, 480))
    do.session.clear_audio()
    do.say(QUESTION, silence_ms=0)
    do.session.commit_audio()
    await do.told("metrics_collected", 2)
    await do.reply()
    await do.replies(1)


@scene(turns=(Turn(say=HELLO),), options={"turn_detection": None})
async def a_commit_of_too_little_audio(do: SessionStage) -> None:
    do.session.push_audio(rtc.AudioFrame(bytes(48 * 60), 24000, 1, 24 * 60))
    do.session.commit_audio()
    await do.reply()
    await do.replies(1)


@scene(turns=(Turn(messages=("Let me see.", ANSWER)),))
async def several_messages_in_a_reply(do: SessionStage) -> None:
    await do.reply()
    await do.replies(1)


@scene(turns=(Turn(say=HELLO),), options={"modalities": ["text"]})
async def a_written_reply(do: SessionStage) -> None:
    await do.reply()
    await do.replies(1)


@scene(turns=(Turn(say=HELLO), Turn(say=ANSWER)))
async def a_reply_billed_with_cached_tokens(do: SessionStage) -> None:
    await do.session.update_instructions("Be brief, and be kind, too.")
    for number in (1, 2):
        await do.reply()
        await do.replies(number)


@scene(turns=(Turn(say=HELLO),))
async def a_reply_the_application_asked_the_server_for(do: SessionStage) -> None:
    do.session.send_event({"type": "response.create"})
    await do.replies(1)


@scene(turns=(Turn(say=LONG, latency=0.3), Turn(say=ANSWER)))
async def a_reply_asked_for_while_another_is_made(do: SessionStage) -> None:
    first = do.session.generate_reply()
    await do.settles(first)
    second = do.session.generate_reply()
    await do.settles(second)
    await do.replies(len(do.reading))


@scene(turns=(Turn(failure=("invalid_request_error", "invalid_value", "Not with this history.")),))
async def a_reply_that_fails(do: SessionStage) -> None:
    await do.reply()
    await do.replies(1)


@scene(turns=(Turn(say=LONG, incomplete="max_output_tokens"),))
async def a_reply_cut_off_at_its_token_limit(do: SessionStage) -> None:
    await do.reply()
    await do.replies(1)


@scene(turns=(Turn(say=HELLO),), faults=(RejectOn("response.create", "invalid_value", "Not like that."),))
async def a_reply_that_is_refused(do: SessionStage) -> None:
    await do.reply()
    await do.calm()


# -- interruption --------------------------------------------------------------------------------------------------


async def behind_all(do: SessionStage) -> None:
    """Wait until the server has got all that was on its way to it."""
    do.session.clear_audio()
    await do.server.wait_received("input_audio_buffer.clear")


@scene(turns=(Turn(say=LONG), Turn(say=ANSWER)))
async def a_reply_cut_to_what_was_heard(do: SessionStage) -> None:
    reply = await do.reply()
    assert reply is not None
    await do.replies(1)
    (item,) = do.session.chat_ctx.items
    do.session.truncate(message_id=item.id, modalities=["audio"], audio_end_ms=600, audio_transcript="one two three")
    await do.server.wait_received("conversation.item.truncate")
    await do.calm()
    await do.reply()
    await do.replies(2)


@scene(turns=(Turn(say=HELLO),))
async def a_reply_nobody_heard_is_taken_back(do: SessionStage) -> None:
    await do.reply()
    await do.replies(1)
    (item,) = do.session.chat_ctx.items
    do.session.truncate(message_id=item.id, modalities=["audio"], audio_end_ms=0)
    await do.server.wait_received("conversation.item.delete")
    await do.calm()


@scene(turns=(Turn(say=LONG),), options={"modalities": ["text"]})
async def a_written_reply_cut_to_what_was_shown(do: SessionStage) -> None:
    await do.reply()
    await do.replies(1)
    (item,) = do.session.chat_ctx.items
    do.session.truncate(message_id=item.id, modalities=["text"], audio_end_ms=0, audio_transcript="one two three")
    await do.server.wait_received("conversation.item.create")
    await do.calm()


@scene(turns=(Turn(say=LONG, latency=30.0), Turn(say=ANSWER)))
async def an_interruption_before_the_first_audio(do: SessionStage) -> None:
    await do.reply()
    do.session.interrupt()
    await do.replies(1)
    await do.reply()
    await do.replies(2)


@scene(turns=(Turn(say=HELLO),))
async def an_interruption_of_nothing(do: SessionStage) -> None:
    do.session.interrupt()
    await do.reply()
    await do.replies(1)
    do.session.interrupt()
    await behind_all(do)
    do.note("the server is asked to cancel", None, times=len(do.server.received("response.cancel")))


@scene(turns=(Turn(say=LONG, latency=30.0), Turn(heard=QUESTION, say=ANSWER)))
async def a_caller_who_speaks_into_a_reply(do: SessionStage) -> None:
    await do.reply()
    do.say(QUESTION)
    await do.replies(2)


@scene(turns=(Turn(say=ANSWER),))
async def a_reply_given_up_before_it_is_asked_for(do: SessionStage) -> None:
    do.session.generate_reply().cancel()
    await behind_all(do)
    await do.calm()
    do.note("the server is asked for replies", None, times=len(do.server.received("response.create")))


@scene(turns=(Turn(say=LONG, latency=30.0), Turn(say=ANSWER)), faults=(DelayOn("response.create", 0.2),))
async def a_reply_given_up_before_it_begins(do: SessionStage) -> None:
    future = do.session.generate_reply()
    await do.until(lambda: "response.create" in do.left)
    future.cancel()
    await do.server.wait_sent("response.done")
    await do.calm()
    await do.reply()
    await do.replies(len(do.reading))


# -- tools ---------------------------------------------------------------------------------------------------------


async def answer_calls(do: SessionStage) -> None:
    """Give the results of all calls in the history, and ask for the reply about them."""
    context = do.session.chat_ctx.copy()
    for call in [item for item in context.items if item.type == "function_call"]:
        output = llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="sunny", is_error=False)
        context.items.append(output)
    await do.session.update_chat_ctx(context)
    await do.reply()


@scene(turns=(Turn(heard=QUESTION, tool=WEATHER), Turn(say=ANSWER)))
async def a_tool_call(do: SessionStage) -> None:
    await do.session.update_tools([weather])
    do.say(QUESTION)
    await do.replies(1)
    await answer_calls(do)
    await do.replies(2)


@scene(turns=(Turn(tools=(WEATHER, CLOCK)), Turn(say=ANSWER)))
async def two_tool_calls_at_once(do: SessionStage) -> None:
    await do.session.update_tools([weather, clock])
    await do.reply()
    await do.replies(1)
    await answer_calls(do)
    await do.replies(2)


@scene(turns=(Turn(say="One moment.", tool=WEATHER),))
async def a_tool_call_behind_a_message(do: SessionStage) -> None:
    await do.session.update_tools([weather])
    await do.reply()
    await do.replies(1)


def asked(do: SessionStage) -> None:
    """Write down how the replies were asked for."""
    for event in do.server.received("response.create"):
        given = event.get("response") or {}
        wanted = {key: value for key, value in given.items() if key != "metadata" and value is not None}
        wanted["tools"] = [tool["name"] for tool in wanted.get("tools") or ()]
        do.note("the server is asked for a reply", None, **wanted)


@scene(turns=(Turn(tool=WEATHER), Turn(say=ANSWER), Turn(tool=CLOCK)))
async def replies_with_their_own_instructions_and_tools(do: SessionStage) -> None:
    await do.session.update_instructions("Be brief.")
    await do.session.update_tools([weather])
    await do.reply(tool_choice="required")
    await do.replies(1)
    await do.reply(tool_choice="none", instructions="Say goodbye.")
    await do.replies(2)
    await do.reply(tools=[clock], tool_choice={"type": "function", "function": {"name": "clock"}})
    await do.replies(3)
    asked(do)


# -- configuration and history -------------------------------------------------------------------------------------


@scene(turns=(Turn(say=HELLO), Turn(say=ANSWER)))
async def instructions_and_tools_changed_in_a_call(do: SessionStage) -> None:
    await do.session.update_instructions("Be brief.")
    await do.session.update_tools([weather])
    await do.reply()
    await do.replies(1)
    await do.session.update_instructions("Be long.")
    await do.session.update_tools([clock])
    await do.reply()
    await do.replies(2)
    do.note("tools of the session", None, names=sorted(do.session.tools.function_tools))


@scene(turns=(Turn(say=HELLO),))
async def options_changed_in_a_call(do: SessionStage) -> None:
    do.session.update_options(voice="cedar", tool_choice="none")
    do.model.update_options(speed=1.2, turn_detection=SEMANTIC_VAD, max_response_output_tokens=300)
    do.model.update_options(input_audio_transcription=AudioTranscription(model="gpt-4o-mini-transcribe"))
    await do.reply()
    await do.replies(1)
    do.session.update_options(speed=1.2, voice="cedar", tool_choice="auto")
    do.model.update_options(input_audio_noise_reduction="near_field", truncation="disabled", speed=0.9)
    await do.server.wait_until(lambda: do.server.sessions[-1].config["audio"]["output"]["speed"] == 0.9)
    await do.calm()


@scene(turns=(Turn(say=HELLO),))
async def turn_detection_switched_off_in_a_call(do: SessionStage) -> None:
    do.session.update_options(turn_detection=None)
    await do.reply()
    await do.replies(1)
    await do.calm()


@scene(turns=(Turn(say=HELLO),))
async def a_voice_changed_after_it_was_heard(do: SessionStage) -> None:
    await do.reply()
    await do.replies(1)
    do.session.update_options(voice="cedar")
    await do.session.update_instructions("Be brief.")  # leaves behind it
    await do.server.wait_until(lambda: do.server.sessions[-1].config["instructions"] == "Be brief.")
    await do.calm()


@scene(faults=(RejectOn("session.update", "invalid_value", "Not like that.", nth=2),))
async def instructions_that_are_refused(do: SessionStage) -> None:
    await do.server.wait_sent("session.updated")
    try:
        await do.session.update_instructions("Be brief.")
    except llm.RealtimeError as exc:
        do.note("update_instructions raises", None, error=error(exc))
    await do.server.wait_sent("error")
    await do.calm()


@scene(faults=(RejectOn("conversation.item.create", "invalid_value", "Not like that."),))
async def an_item_that_is_refused(do: SessionStage) -> None:
    await do.session.update_chat_ctx(llm.ChatContext([message("user", "One."), message("user", "Two.")]))
    await do.calm()


@scene()
async def a_history_that_changes(do: SessionStage) -> None:
    one, two, three = (message("user", text) for text in ("One.", "Two.", "Three."))
    await do.session.update_chat_ctx(llm.ChatContext([one, two, three]))
    inserted = message("assistant", "One and a half.")
    await do.session.update_chat_ctx(llm.ChatContext([one, inserted, two, three]))
    await do.session.update_chat_ctx(llm.ChatContext([one, inserted, three]))
    await do.session.update_chat_ctx(llm.ChatContext([three, one, inserted]))
    changed = copy.copy(one)
    changed.content = ["One, said otherwise."]
    await do.session.update_chat_ctx(llm.ChatContext([three, changed, inserted]))
    await do.calm()


@scene()
async def a_history_of_all_kinds_of_items(do: SessionStage) -> None:
    call = llm.FunctionCall(call_id="call_" + "x" * 40, name="weather", arguments='{"city": "Rome"}')
    output = llm.FunctionCallOutput(call_id=call.call_id, name="weather", output="sunny", is_error=False)
    items: list[Any] = [
        message("system", "Be kind."),
        message("developer", "Be brief."),
        message("user"),
        message("user", "How is it", "in Rome?"),
        call,
        output,
        llm.AgentHandoff(new_agent_id="another"),
        message("assistant", "Sunny."),
    ]
    await do.session.update_chat_ctx(llm.ChatContext(items))
    await do.calm()


def picture() -> rtc.VideoFrame:
    return rtc.VideoFrame(16, 16, rtc.VideoBufferType.RGBA, bytes(16 * 16 * 4))


@scene(turns=(Turn(say=ANSWER),))
async def a_picture_in_the_history(do: SessionStage) -> None:
    content = ["What is this?", llm.ImageContent(image=picture())]
    await do.session.update_chat_ctx(llm.ChatContext([message("user", *content)]))
    await do.reply()
    await do.replies(1)


@scene(turns=(Turn(say=ANSWER),))
async def a_video_frame(do: SessionStage) -> None:
    await do.session.update_instructions("Look.")
    await do.server.wait_received("session.update")
    do.session.push_video(picture())
    await do.told("remote_item_added")
    await do.reply()
    await do.replies(1)


# -- transcripts ---------------------------------------------------------------------------------------------------


@scene(turns=(Turn(heard="First.", say=HELLO), Turn(heard="Second.", say=ANSWER)))
async def two_spoken_turns(do: SessionStage) -> None:
    for number in (1, 2):
        do.say("Something is said.")
        await do.replies(number)


@scene(turns=(Turn(heard=QUESTION, say=ANSWER),), faults=(FailTranscription(),))
async def a_turn_that_is_not_transcribed(do: SessionStage) -> None:
    do.say(QUESTION)
    await do.replies(1)


@scene(turns=(Turn(heard="", say=SCRIPT_IS_OVER),))
async def a_turn_with_an_empty_transcript(do: SessionStage) -> None:
    do.say(QUESTION)
    await do.replies(1)


@scene(turns=(Turn(heard=QUESTION, say=ANSWER),), options={"input_audio_transcription": None})
async def transcription_switched_off(do: SessionStage) -> None:
    do.say(QUESTION)
    await do.replies(1)


@scene(
    turns=(Turn(heard=QUESTION, say=ANSWER),),
    options={"input_audio_transcription": AudioTranscription(model="whisper-1")},
)
async def a_transcript_billed_in_seconds(do: SessionStage) -> None:
    do.say(QUESTION)
    await do.replies(1)


# -- what goes wrong -----------------------------------------------------------------------------------------------

_WARNING = {
    "type": "error",
    "event_id": "event_injected",
    "error": {"type": "server_error", "code": "server_error", "message": "A hiccup.", "param": None, "event_id": None},
}
_NO_QUOTA = ("insufficient_quota", "You exceeded your current quota.")


@scene(turns=(Turn(say=HELLO),), faults=(InjectOn("response.created", _WARNING),))
async def an_error_of_the_server_that_ends_nothing(do: SessionStage) -> None:
    await do.reply()
    await do.replies(1)


async def the_end(do: SessionStage) -> None:
    """Wait for the error that ends the session."""
    await do.until(lambda: any(not event.recoverable for event in do.events("error")))
    do.note("connections", None, count=len(do.server.handshakes))


@scene(faults=(CloseOn("response.create", 4000, "insufficient_quota", error=_NO_QUOTA),))
async def no_quota_left(do: SessionStage) -> None:
    await do.reply()
    await the_end(do)


@scene(turns=(Turn(failure=("insufficient_quota", *_NO_QUOTA)),))
async def no_quota_left_for_a_reply(do: SessionStage) -> None:
    await do.reply()
    await the_end(do)


@scene(faults=(RejectHandshake("invalid_api_key", "Incorrect API key provided.", times=9),))
async def a_wrong_key(do: SessionStage) -> None:
    await do.reply()
    await the_end(do)


@scene(faults=(RefuseHandshake(401, '{"error": {"message": "No.", "code": "invalid_api_key"}}', times=9),))
async def a_key_refused_by_the_http_status(do: SessionStage) -> None:
    await do.reply()
    await the_end(do)


@scene(turns=(Turn(say=HELLO), Turn(say=ANSWER)))
async def a_connection_that_drops(do: SessionStage) -> None:
    await do.session.update_instructions("Be brief.")
    await do.session.update_tools([weather])
    await do.session.update_chat_ctx(llm.ChatContext([message("user", QUESTION)]))
    await do.reply()
    await do.replies(1)
    await do.calm()
    await do.server.drop()
    await do.told("session_reconnected")
    await do.reply()
    await do.replies(2)


@scene(turns=(Turn(say=LONG, latency=30.0), Turn(say=ANSWER)))
async def a_connection_that_drops_in_a_reply(do: SessionStage) -> None:
    await do.reply()
    await do.server.drop()
    await do.told("session_reconnected")
    await do.until(lambda: all(task.done() for task in do.reading))
    await do.calm()


@scene(turns=(Turn(say=ANSWER),))
async def a_reply_asked_for_while_there_is_no_connection(do: SessionStage) -> None:
    await do.server.wait_sent("session.updated")
    await do.calm()
    await do.server.drop()
    await do.told("error")
    await do.reply()
    await do.told("session_reconnected")
    await do.until(lambda: all(task.done() for task in do.reading))
    await do.calm()


@scene()
async def a_session_that_is_closed(do: SessionStage) -> None:
    await asyncio.wait_for(do.server.wait_sent("session.updated"), 10)
    future = do.session.generate_reply()
    await do.session.aclose()
    await do.settles(future)
