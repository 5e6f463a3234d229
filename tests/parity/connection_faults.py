"""Faults of a connection: refused, lost, replaced, dead."""

from __future__ import annotations

import asyncio

from livekit.agents import APIConnectOptions, llm

from livekit_plugins_openai_ga.connection import DEFAULT_HEARTBEAT
from livekit_plugins_openai_ga.emulator import Turn
from livekit_plugins_openai_ga.emulator.faults import (
    CloseOn,
    DelayTranscription,
    DropOn,
    ExpireAfter,
    RefuseHandshake,
    RejectHandshake,
)

from .fault_stage import FOREVER, WATCH_S, FaultStage, Rows, arrived, code
from .stage import SERVER_VAD, TIMEOUT_S

ROWS = Rows()
HELLO = "Hello, how can I help?"
LONG = "one two three four five six seven eight nine ten"
STUBBORN = APIConnectOptions(max_retry=30, retry_interval=0.05, timeout=2.0)
BODY = '{"error": {"message": "No.", "code": "%s"}}'
BETA = "The Realtime Beta API is no longer supported."


async def refused(do: FaultStage) -> list[str]:
    reply = do.session.generate_reply()
    return [await do.ending(), "a waiting reply " + await do.becomes(reply)]


CONNECTING = "Connecting"
ROWS(
    CONNECTING,
    "every connection is accepted, then closed with 4000 and `invalid_model`",
    faults=(RejectHandshake(times=FOREVER),),
    quoted=True,
)(refused)
ROWS(
    CONNECTING,
    "every connection is accepted, then closed with 4000 and `beta_api_shape_disabled`",
    faults=(RejectHandshake("beta_api_shape_disabled", BETA, times=FOREVER),),
)(refused)
ROWS(
    CONNECTING,
    "every connection is accepted, then closed with 3000 and `invalid_api_key`",
    faults=(RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000, times=FOREVER),),
)(refused)
for status, name in ((401, "invalid_api_key"), (404, "not_found")):
    ROWS(
        CONNECTING,
        f"HTTP {status} instead of every connection",
        faults=(RefuseHandshake(status, BODY % name, times=FOREVER),),
    )(refused)


@ROWS(CONNECTING, "HTTP 429 with `Retry-After: 1`, once", faults=(RefuseHandshake(429, retry_after=1.0),))
async def told_to_wait(do: FaultStage) -> list[str]:
    await do.within(TIMEOUT_S, lambda: do.connections)
    early = await do.within(0.8, lambda: do.connections > 1)
    return [await do.connects(), "too early" if early else "after that second"]


@ROWS(CONNECTING, "HTTP 503, twice", faults=(RefuseHandshake(503, times=2),))
async def overloaded(do: FaultStage) -> list[str]:
    return [await do.connects()]


@ROWS(
    CONNECTING,
    "the application closes a session that was refused",
    faults=(RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000, times=FOREVER),),
)
async def closed_after_the_end(do: FaultStage) -> list[str]:
    await do.within(TIMEOUT_S, lambda: do.final)
    try:
        await asyncio.wait_for(do.session.aclose(), 1.0)
    except Exception as exc:
        return [f"`aclose()` raises {type(exc).__name__}"]
    return ["`aclose()` returns"]


@ROWS(
    CONNECTING,
    "the server closes with 1011 and a reason",
    faults=(CloseOn("session.updated", 1011, "upstream connect error"),),
)
async def closed_with_a_reason(do: FaultStage) -> list[str]:
    error = (await do.told("error")).error
    reason = "the reason" if "upstream connect error" in str(error) else "no reason"
    known = do.server.sessions[0].config["id"] in f"{error} {vars(error)}"
    return [f"an error {code(error)}", reason, "the session's id" if known else "no session id"]


LOST = "A connection that is lost or replaced"
MANUAL = {"turn_detection": None}


@ROWS(LOST, "the connection drops while the user speaks", options=MANUAL, quoted=True)
async def dropped_in_mid_utterance(do: FaultStage) -> list[str]:
    await do.configured()
    do.push(1.0)
    await do.within(TIMEOUT_S, lambda: len(arrived(do.server.sessions[0])) == 50)
    do.cut()
    await do.told("session_reconnected")
    do.push(1.0)
    do.session.commit_audio()
    await do.server.wait_received("input_audio_buffer.commit", timeout=TIMEOUT_S)
    return [do.audio(do.server.sessions[-1])]


@ROWS(LOST, "the user speaks in the very moment in which the connection drops", options=MANUAL)
async def dropped_in_this_moment(do: FaultStage) -> list[str]:
    await do.configured()
    await do.told("metrics_collected")
    do.cut()
    do.push(1.0)
    await do.told("session_reconnected")
    do.session.commit_audio()
    await do.within(TIMEOUT_S, lambda: do.server.received("input_audio_buffer.commit"))
    return [do.audio(do.server.sessions[-1])]


@ROWS(
    LOST,
    "the connection is away for a while and the user speaks on for 60 s",
    options={**MANUAL, "conn_options": STUBBORN},
)
async def away_for_long(do: FaultStage) -> list[str]:
    await do.configured()
    do.proxy.refuse()
    do.cut()
    await do.told("error")
    do.push(60.0)
    await do.proxy.accept()
    await do.told("session_reconnected")
    do.session.commit_audio()
    await do.server.wait_received("input_audio_buffer.commit", timeout=TIMEOUT_S)
    there = arrived(do.server.sessions[-1])
    if there == do.pushed:
        return ["all 60 s are sent at once"]
    newest = "the newest" if there == do.pushed[-len(there) :] else "some"
    dropped = round((len(do.pushed) - len(there)) / 50, 1)
    counted = " and counted" if do.session.info.audio_dropped == dropped else ""
    return [f"{newest} {len(there) / 50:.0f} s are sent at once, the rest is dropped{counted}"]


@ROWS(
    LOST,
    "a planned change of connection is due while the user speaks",
    turns=(Turn(heard="I speak.", say=HELLO),),
    options={"turn_detection": SERVER_VAD, "max_session_duration": 1},
)
async def replaced_in_mid_utterance(do: FaultStage) -> list[str]:
    await do.configured()
    do.push(1.0)
    await do.told("input_speech_started")
    await do.within(1.3, lambda: do.events("session_reconnected"))
    do.push(1.0)
    do.pause(0.5)
    await do.server.wait_sent("input_audio_buffer.committed", timeout=TIMEOUT_S)
    sessions = [s for s in do.server.sessions if any(e["type"] == "input_audio_buffer.committed" for e in s.sent)]
    return [do.audio(sessions[0])]


@ROWS(
    LOST,
    "a planned change of connection is due while a reply is made that fails",
    turns=(Turn(latency=1.4, failure=("server_error", "server_error", "Sorry about that!")), Turn(say=HELLO)),
    options={**MANUAL, "max_session_duration": 1},
)
async def replaced_in_a_reply_that_fails(do: FaultStage) -> list[str]:
    do.session.generate_reply()
    return [await do.goes_on()]


@ROWS(
    LOST,
    "a planned change of connection is due while a reply is made that never ends",
    turns=(Turn(say=LONG, stall=True), Turn(say=HELLO)),
    options={**MANUAL, "max_session_duration": 1},
)
async def replaced_in_a_reply_that_never_ends(do: FaultStage) -> list[str]:
    do.session.generate_reply()
    return [await do.goes_on()]


MESSAGES = [llm.ChatMessage(id=f"item_{number}", role="user", content=[f"Note {number}."]) for number in range(10)]


@ROWS(
    LOST,
    "the connection drops, and again when a part of the history was sent",
    faults=(DropOn("conversation.item.create", nth=len(MESSAGES) + 4),),
    options=MANUAL,
)
async def dropped_again(do: FaultStage) -> list[str]:
    await do.session.update_chat_ctx(llm.ChatContext(list(MESSAGES)))
    do.cut()
    await do.told("session_reconnected", 2)
    await do.within(1.0, lambda: len(do.server.sessions[-1].items) == len(MESSAGES))
    left = len(do.server.sessions[-1].items)
    return ["the history is whole" if left == len(MESSAGES) else f"{left} of {len(MESSAGES)} messages are left"]


@ROWS(LOST, "the connection drops three times within 10 s (with two retries)", options=MANUAL)
async def dropped_three_times(do: FaultStage) -> list[str]:
    for number in range(1, 4):
        await do.connects(number)
        do.cut()
    return [await do.goes_on(4)]


@ROWS(LOST, "the session expires", faults=(ExpireAfter(0.3),))
async def expired(do: FaultStage) -> list[str]:
    return [await do.goes_on()]


@ROWS(LOST, "the server dies and the connection stays open (half-open)", ours={"heartbeat": 0.5}, quoted=True)
async def dead(do: FaultStage) -> list[str]:
    await do.configured()
    await do.server.freeze()
    sent = do.proxy.connections[0].up.passed
    if await do.within(2 * 0.5 + 1.0, lambda: do.events("error")):
        return [f"noticed within twice `heartbeat` (default: {DEFAULT_HEARTBEAT:g} s)"]
    await do.within(WATCH_S, lambda: do.events("error"))
    if do.events("error"):
        return ["noticed late"]
    return ["not noticed", "no ping is sent" if do.proxy.connections[0].up.passed == sent else "pings are sent"]


@ROWS(
    LOST,
    "the connection drops when the user's turn has no transcript yet",
    turns=(Turn(heard="I spoke.", say=HELLO),),
    faults=(DelayTranscription(60.0),),
    options=MANUAL,
)
async def dropped_before_the_transcript(do: FaultStage) -> list[str]:
    await do.configured()
    do.push(1.0)
    do.session.commit_audio()
    await do.server.wait_sent("conversation.item.added", timeout=TIMEOUT_S)
    await do.within(TIMEOUT_S, lambda: do.events("remote_item_added"))
    do.cut()
    await do.told("session_reconnected")
    kept = await do.within(0.5, lambda: any(item["role"] == "user" for item in do.server.sessions[-1].items))
    return ["the new connection has the turn" if kept else "the turn is lost"]


@ROWS(
    LOST,
    "the connection drops in the middle of a reply",
    turns=(Turn(say=LONG),),
    knobs={"pace": 2.0},
    options=MANUAL,
)
async def dropped_in_a_reply(do: FaultStage) -> list[str]:
    await do.session.generate_reply()
    await do.within(TIMEOUT_S, lambda: do.heard and do.heard[0].audio_s > 0.4)
    do.cut()
    await do.told("session_reconnected")
    ended = await do.within(TIMEOUT_S, lambda: do.reading[0].done())
    said = do.heard[0].text.strip()
    assert said
    kept = await do.within(0.5, lambda: said in str(do.server.sessions[-1].items))
    history = "the history keeps what was said" if kept else "what was said is not in the history"
    return ["the reply ends" if ended else "the reply never ends", history]
