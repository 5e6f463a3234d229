"""Faults of replies, of interruptions, of the configuration, and of what the server sends."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from livekit.agents import llm

from livekit_plugins_openai_ga.emulator import ToolCall, Turn
from livekit_plugins_openai_ga.emulator.faults import DropOn, FailResponse, InjectOn, RejectOn

from .connection_faults import HELLO, LONG, MANUAL, STUBBORN
from .fault_stage import BEGINS, WATCH_S, FaultStage, Rows, code
from .stage import TIMEOUT_S

ROWS = Rows()
ANSWER = "It is noon."


@llm.function_tool
async def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


REPLIES = "Replies"


async def comes(do: FaultStage, future: Any, text: str) -> list[str]:
    """What becomes of a reply, and whether it is heard all the same."""
    fate = await do.becomes(future)
    if fate != BEGINS:
        spoken = await do.within(WATCH_S, lambda: do.said(text))
        return [f"the reply {fate}", *(["and is spoken all the same"] if spoken else [])]
    if not await do.says(text):
        return ["nothing is heard", *(["an error event"] if do.events("error") else [])]
    return ["the reply comes" if do.said(text) == 1 else f"the reply comes {do.said(text)} times"]


@ROWS(
    REPLIES,
    "the connection drops when a reply was asked for",
    turns=(Turn(say=HELLO),),
    faults=(DropOn("response.create"),),
    options=MANUAL,
)
async def dropped_when_asked(do: FaultStage) -> list[str]:
    return await comes(do, do.session.generate_reply(), HELLO)


@ROWS(
    REPLIES,
    "a reply is asked for while there is no connection",
    turns=(Turn(say=HELLO),),
    options={**MANUAL, "conn_options": STUBBORN},
)
async def asked_without_a_connection(do: FaultStage) -> list[str]:
    await do.configured()
    do.proxy.refuse()
    do.cut()
    await do.told("error")
    future = do.session.generate_reply()
    await do.proxy.accept()
    return await comes(do, future, HELLO)


@ROWS(
    REPLIES,
    "the connection drops when a reply has begun and nothing of it was heard",
    turns=(Turn(say="(lost)"), Turn(say=HELLO)),
    faults=(DropOn("response.created"),),
    options=MANUAL,
)
async def dropped_when_it_began(do: FaultStage) -> list[str]:
    return await comes(do, do.session.generate_reply(), HELLO)


@ROWS(
    REPLIES,
    "the connection drops when OpenAI is about to answer the user",
    turns=(Turn(heard="I speak.", say="(lost)", latency=5.0), Turn(say=HELLO)),
)
async def dropped_before_the_answer(do: FaultStage) -> list[str]:
    await do.configured()
    do.push(1.0)
    do.pause(0.5)
    await do.told("generation_created")
    do.cut()
    return ["the user is answered" if await do.says(HELLO) else "the user is not answered"]


@ROWS(
    REPLIES,
    "a reply is asked for while another is made",
    turns=(Turn(say=LONG, latency=0.5), Turn(say=ANSWER)),
    options=MANUAL,
    quoted=True,
)
async def asked_while_another_is_made(do: FaultStage) -> list[str]:
    await do.session.generate_reply()
    return await comes(do, do.session.generate_reply(), ANSWER)


@ROWS(
    REPLIES,
    "OpenAI fails to make a reply (`server_error`), nothing was heard",
    turns=(Turn(say=HELLO),),
    faults=(FailResponse(),),
    options=MANUAL,
)
async def failed_before_it_was_heard(do: FaultStage) -> list[str]:
    return await comes(do, do.session.generate_reply(), HELLO)


@ROWS(
    REPLIES,
    "a reply is cut off (`incomplete`)",
    turns=(Turn(say=LONG, incomplete="max_output_tokens"),),
    options=MANUAL,
)
async def cut_off(do: FaultStage) -> list[str]:
    await do.session.generate_reply()
    await do.read()
    await do.calm()
    told = "max_output_tokens" in " ".join(str(event) for event in do.events("response_incomplete"))
    return ["the application is told the reason" if told else "the application is not told"]


@ROWS(
    REPLIES,
    "a function call is cut off (`incomplete`)",
    turns=(Turn(tool=ToolCall("weather", {"city": "Rome, the capital of Italy"}), incomplete="max_output_tokens"),),
    options=MANUAL,
    quoted=True,
)
async def function_call_cut_off(do: FaultStage) -> list[str]:
    await do.session.update_tools([weather])
    await do.session.generate_reply()
    await do.read()
    if not do.heard[0].calls:
        return ["not executed"]
    try:
        json.loads(do.heard[0].calls[0].arguments)
    except ValueError:
        return ["executed with half its arguments"]
    return ["executed"]


@ROWS(REPLIES, "a reply is asked for when the server is dead and the connection open", options=MANUAL)
async def asked_of_a_dead_server(do: FaultStage) -> list[str]:
    await do.configured()
    await do.server.freeze()
    return [f"the reply {await do.becomes(do.session.generate_reply())}"]


INTERRUPTED = "Interruptions"


@ROWS(INTERRUPTED, "a reply is cut further on than its audio goes", turns=(Turn(say=HELLO),), options=MANUAL)
async def cut_beyond_its_end(do: FaultStage) -> list[str]:
    await do.session.generate_reply()
    await do.read()
    (item,) = do.session.chat_ctx.items
    do.session.truncate(message_id=item.id, modalities=["audio"], audio_end_ms=60_000, audio_transcript="Hello,")
    await do.server.wait_received("conversation.item.truncate", timeout=TIMEOUT_S)
    await do.within(TIMEOUT_S, lambda: do.server.sent("conversation.item.truncated") or do.events("error"))
    return [f"refused {code(do.events('error')[0].error)}" if do.events("error") else "cut at its end"]


@ROWS(INTERRUPTED, "the user interrupts: the history", turns=(Turn(say=LONG),), options=MANUAL, quoted=True)
async def interrupted(do: FaultStage) -> list[str]:
    await do.session.generate_reply()
    await do.read()
    (item,) = do.session.chat_ctx.items
    do.session.truncate(message_id=item.id, modalities=["audio"], audio_end_ms=600, audio_transcript="one two three")
    await do.server.wait_sent("conversation.item.truncated", timeout=TIMEOUT_S)
    await do.calm()
    (item,) = do.session.chat_ctx.items
    words = ["holds what was heard" if item.text_content == "one two three" else "holds what nobody heard"]
    # As an agent does: its own history has what was heard.
    cut = llm.ChatMessage(id=item.id, role="assistant", content=["one two three"], interrupted=True)
    await do.session.update_chat_ctx(llm.ChatContext([cut]))
    again = do.server.received("conversation.item.delete") or do.server.received("conversation.item.create")
    return [*words, "the next sync replaces the spoken item with text" if again else "the next sync leaves it alone"]


CONFIGURED = "Configuration"
BAD = RejectOn("session.update", "unknown_parameter", "Unknown parameter: 'session.x'.", "session.x", nth=2)


@ROWS(CONFIGURED, "OpenAI refuses new instructions", options=MANUAL, faults=(BAD,))
async def instructions_refused(do: FaultStage) -> list[str]:
    await do.configured()
    try:
        await do.session.update_instructions("Be kind.")
    except llm.RealtimeError as exc:
        named = "names" if "session.x" in str(exc) else "does not name"
        return [f"`update_instructions` raises {code(exc)} and {named} the field"]
    await do.told("error")
    return ["`update_instructions` returns as if they held", "an error event"]


@ROWS(
    CONFIGURED,
    "the instructions change when the server is dead and the connection open",
    options=MANUAL,
    ours={"request_timeout": 0.5},
)
async def changed_on_a_dead_server(do: FaultStage) -> list[str]:
    await do.configured()
    await do.server.freeze()
    await asyncio.wait_for(do.session.update_instructions("Be kind."), TIMEOUT_S)
    if await do.within(WATCH_S, lambda: do.server.sessions[-1].config["instructions"] == "Be kind."):
        return ["changed on a new connection"]
    return ["`update_instructions` returns as if they held"]


@ROWS(
    CONFIGURED,
    "OpenAI refuses the first configuration",
    turns=(Turn(say=HELLO),),
    options=MANUAL,
    faults=(RejectOn("session.update", "unknown_parameter", "Unknown parameter: 'session.x'.", "session.x"),),
)
async def first_configuration_refused(do: FaultStage) -> list[str]:
    future = do.session.generate_reply()
    await do.within(TIMEOUT_S, lambda: do.final or do.said(HELLO))
    await asyncio.wait({future}, timeout=TIMEOUT_S)
    if do.final:
        return [f"the session is over, error {code(do.final)}"]
    return ["the agent speaks without its configuration" if do.said(HELLO) else "the agent is silent", "an error event"]


@ROWS(
    CONFIGURED,
    "OpenAI refuses one item of the history",
    options=MANUAL,
    faults=(RejectOn("conversation.item.create", "invalid_value", "No.", "item"),),
)
async def item_refused(do: FaultStage) -> list[str]:
    await do.configured()
    told = [llm.ChatMessage(id=f"item_{word}", role="user", content=[word]) for word in ("one", "two", "three")]
    with suppress(llm.RealtimeError):
        await do.session.update_chat_ctx(llm.ChatContext(told))
    arrived = len(do.server.sessions[-1].items)
    return [
        "the other items arrive" if arrived == 2 else "the items behind it are lost, too",
        "an error event" if do.events("error") else "no event",
    ]


@ROWS(CONFIGURED, "OpenAI refuses one of two tools", turns=(Turn(say=HELLO),), options=MANUAL)
async def tool_refused(do: FaultStage) -> list[str]:
    await do.configured()
    bad = {"name": "too_long", "description": "x" * 2000, "parameters": {"type": "object", "properties": {}}}

    @llm.function_tool(raw_schema=bad)
    async def too_long(raw_arguments: dict[str, object]) -> str:
        return ""

    told = []
    try:
        await do.session.update_tools([weather, too_long])
    except llm.RealtimeError:
        told = ["`update_tools` raises"]
    await do.within(1.0, lambda: "weather" in tools(do))
    return ["the other tool works" if "weather" in tools(do) else "the agent has no tools", *told]


def tools(do: FaultStage) -> list[str]:
    """The tools that the server has."""
    return [tool["name"] for tool in do.server.sessions[-1].config["tools"]]


@ROWS(
    CONFIGURED, "another voice and another speed, when the agent has spoken", turns=(Turn(say=HELLO),), options=MANUAL
)
async def voice_changed(do: FaultStage) -> list[str]:
    await do.session.generate_reply()
    await do.read()
    do.session.update_options(voice="cedar", speed=1.25)
    await do.within(1.0, lambda: output(do)["speed"] == 1.25)
    words = ["the speed changes" if output(do)["speed"] == 1.25 else "neither changes"]
    do.cut()
    await do.told("session_reconnected")
    await do.within(1.0, lambda: output(do)["voice"] == "cedar")
    changed = {"voice": "cedar", "speed": 1.25}.items() <= output(do).items()
    return [*words, "both with the next connection" if changed else "not with the next connection either"]


def output(do: FaultStage) -> dict[str, Any]:
    """The audio output that the server is configured for."""
    session: Any = do.server.sessions[-1]
    return dict(session.config["audio"]["output"])


ODD = "What no server should send"


async def survives(do: FaultStage) -> list[str]:
    """Whether a reply comes in spite of what came in front of it."""
    future = do.session.generate_reply()
    await do.within(TIMEOUT_S, lambda: do.said(HELLO) or do.final or do.connections > 1)
    await do.becomes(future)
    if do.final:
        return ["the session is over"]
    return [
        "the reply comes" if do.said(HELLO) else "the reply is lost",
        *(["a new connection"] if do.connections > 1 else []),
    ]


LARGE = {"type": "response.sparkle", "event_id": "event_large", "x": "x" * 15 * 2**20}
ROWS(
    ODD,
    "an event of 15 MB",
    turns=(Turn(say=HELLO),),
    faults=(InjectOn("response.output_item.added", LARGE),),
    options=MANUAL,
)(survives)
ROWS(
    ODD,
    "text that is not JSON",
    turns=(Turn(say=HELLO),),
    faults=(InjectOn("response.output_item.added", "{not json"),),
    options=MANUAL,
)(survives)
