"""Scenes of a whole agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from livekit.agents import Agent, function_tool
from livekit.agents.llm import ToolError

from livekit_plugins_openai_ga.emulator import ToolCall, Turn
from livekit_plugins_openai_ga.emulator.faults import CloseOn, FailTranscription

from .agent_stage import AgentStage
from .session_scenes import ANSWER, HELLO, LONG, QUESTION
from .stage import Scene

SCENES: dict[str, Scene] = {}


def scene(**how: Any) -> Callable[[Callable[[AgentStage], Any]], None]:
    """Makes a scene of a function, under its name."""

    def keep(play: Callable[[AgentStage], Any]) -> None:
        name = "agent: " + play.__name__.replace("_", " ")
        SCENES[name] = Scene(name, play, **how)

    return keep


async def said_to_think(agent: Agent) -> None:
    """The framework says so when a tool runs; one that has ended by then would be told of now before it, now behind."""
    thinks = asyncio.Event()
    agent.session.on("agent_state_changed", lambda event: event.new_state == "thinking" and thinks.set())
    if agent.session.agent_state != "thinking":
        await thinks.wait()


class Bill(Agent):
    """Who the caller is handed over to."""

    def __init__(self) -> None:
        super().__init__(instructions="You do the bills.", id="bill")

    def __repr__(self) -> str:  # LiveKit tells of it
        return "Bill()"

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Say who you are.")


class Clerk(Agent):
    """An agent with tools."""

    def __init__(self) -> None:
        super().__init__(instructions="Help the caller.", id="clerk")

    @function_tool
    async def weather(self, city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    @function_tool
    async def clock(self, city: str) -> str:
        """The time in a city."""
        return f"noon in {city}"

    @function_tool
    async def broken(self) -> str:
        """Does not work."""
        await said_to_think(self)
        raise RuntimeError("out of order")

    @function_tool
    async def locked(self) -> str:
        """Says why it does not work."""
        await said_to_think(self)
        raise ToolError("The office is closed.")

    @function_tool
    async def pass_on(self) -> Any:
        """Pass the caller on."""
        return Bill(), "Passed on."


CLERK = {"agent": Clerk}
WEATHER, CLOCK = ToolCall("weather", {"city": "Rome"}), ToolCall("clock", {"city": "Oslo"})


@scene(options={"records_start": True})
async def a_start(do: AgentStage) -> None:
    await do.listening()


@scene(turns=(Turn(say=HELLO),))
async def a_greeting(do: AgentStage) -> None:
    await do.speaks(instructions="Greet the caller.")


@scene(turns=(Turn(heard="typed", say=ANSWER),))
async def a_typed_question(do: AgentStage) -> None:
    await do.speaks(user_input=QUESTION)


@scene(turns=(Turn(heard=QUESTION, say=ANSWER), Turn(heard="Thanks.", say="My pleasure.")))
async def two_spoken_questions(do: AgentStage) -> None:
    do.microphone.say(QUESTION)
    await do.said(ANSWER)
    do.microphone.say("Thanks.")
    await do.said("My pleasure.")


@scene(turns=(Turn(messages=("Let me see.", ANSWER)),))
async def several_messages_in_a_reply(do: AgentStage) -> None:
    await do.speaks()


@scene(turns=(Turn(heard=QUESTION, tool=WEATHER), Turn(say=ANSWER)), options=CLERK)
async def a_tool_call(do: AgentStage) -> None:
    do.microphone.say(QUESTION)
    await do.said(ANSWER)


@scene(turns=(Turn(tools=(WEATHER, CLOCK)), Turn(say=ANSWER)), options=CLERK)
async def two_tool_calls_at_once(do: AgentStage) -> None:
    await do.speaks()
    await do.said(ANSWER)


@scene(turns=(Turn(tool=ToolCall("broken")), Turn(tool=ToolCall("locked")), Turn(say="Sorry.")), options=CLERK)
async def tools_that_fail(do: AgentStage) -> None:
    await do.speaks()
    await do.said("Sorry.")


@scene(turns=(Turn(tool=ToolCall("pass_on")), Turn(say="Bills, hello.")), options=CLERK)
async def a_handover_to_another_agent(do: AgentStage) -> None:
    do.session.generate_reply()
    await do.said("Bills, hello.")


@scene(turns=(Turn(say=LONG), Turn(heard="Stop.", say=ANSWER, latency=0.5)))
async def a_caller_who_interrupts(do: AgentStage) -> None:
    do.speaker.holds = True
    do.session.generate_reply()
    await do.speaker.playing.wait()
    await do.server.wait_sent("response.done")
    do.microphone.say("Stop.")
    await do.until(lambda: not do.speaker.playing.is_set())
    do.speaker.holds = False
    await do.server.wait_received("conversation.item.truncate")
    await do.said(ANSWER)


@scene(turns=(Turn(say=LONG), Turn(say=ANSWER)))
async def an_application_that_interrupts(do: AgentStage) -> None:
    do.speaker.holds = True
    handle = do.session.generate_reply()
    await do.speaker.playing.wait()
    await do.server.wait_sent("response.done")
    do.session.interrupt()
    await asyncio.wait_for(handle.wait_for_playout(), 20)
    do.speaker.holds = False
    await do.server.wait_received("conversation.item.truncate")
    await do.speaks()


@scene(turns=(Turn(say=LONG, latency=30.0), Turn(say=ANSWER)))
async def an_interruption_before_the_first_audio(do: AgentStage) -> None:
    handle = do.session.generate_reply()
    await do.server.wait_sent("response.created")
    handle.interrupt()
    await asyncio.wait_for(handle.wait_for_playout(), 20)
    await do.server.wait_sent("response.done")
    await do.speaks()


@scene(turns=(Turn(say=HELLO),))
async def nothing_can_be_said_without_a_voice(do: AgentStage) -> None:
    try:
        do.session.say(HELLO)
    except RuntimeError as exc:
        do.note("say raises", None, error=exc)
    await do.speaks()


@scene(turns=(Turn(heard=QUESTION, say=ANSWER),), options={"modalities": ["text"]})
async def a_written_answer(do: AgentStage) -> None:
    do.session.output.set_audio_enabled(False)
    do.microphone.say(QUESTION)
    await do.said(ANSWER)


@scene(
    turns=(Turn(heard=QUESTION, say=ANSWER),),
    options={"turn_detection": None, "session": {"turn_handling": {"turn_detection": "manual"}}},
)
async def a_turn_that_the_application_ends(do: AgentStage) -> None:
    do.microphone.say(QUESTION)
    await do.server.wait_received("input_audio_buffer.append", count=10)
    do.session.commit_user_turn()
    await do.said(ANSWER)


@scene(turns=(Turn(say=HELLO), Turn(say=ANSWER)))
async def an_agent_changed_in_a_call(do: AgentStage) -> None:
    await do.speaks()
    await do.agent.update_instructions("Be long.")
    await do.agent.update_tools([Clerk().tools[0]])
    context = do.agent.chat_ctx.copy()
    context.add_message(role="user", content="I am in Rome.")
    await do.agent.update_chat_ctx(context)
    await do.speaks(tool_choice="none")


@scene(turns=(Turn(heard=QUESTION, say=ANSWER),), faults=(FailTranscription(),))
async def a_question_that_is_not_transcribed(do: AgentStage) -> None:
    do.microphone.say(QUESTION)
    await do.said(ANSWER)


@scene(turns=(Turn(failure=("invalid_request_error", "invalid_value", "Not so.")), Turn(say=ANSWER)))
async def a_reply_that_fails(do: AgentStage) -> None:
    await do.speaks()
    await do.speaks()


@scene(turns=(Turn(say=HELLO), Turn(say=ANSWER)))
async def a_connection_that_drops(do: AgentStage) -> None:
    await do.speaks()
    reconnected = asyncio.Event()
    do.agent.realtime_llm_session.on("session_reconnected", lambda event: reconnected.set())
    await do.server.drop()
    await asyncio.wait_for(reconnected.wait(), 20)
    await do.speaks()


@scene(faults=(CloseOn("response.create", 4000, "insufficient_quota", error=("insufficient_quota", "No quota.")),))
async def no_quota_left(do: AgentStage) -> None:
    await do.speaks()
    await do.closed()
