"""`make demo`: a whole call from a recording, with a tool and an interruption, as a stereo WAV file and a timeline.

A real `AgentSession` talks to the emulator, or with `--live` to OpenAI. The agent answers the phone first; then the
caller's recording is played in at real-time pace, and goes on when the agent is speaking: that is the interruption.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence

from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.types import NOT_GIVEN
from livekit.agents.voice.transcription import TranscriptSynchronizer

from ..realtime import RealtimeSession
from .call import CallerAudio, Loudspeaker
from .ending import end
from .long_line import long_line
from .minutes import Minutes, SessionReader
from .played_call import (
    GREETING,
    VOICE,
    add_arguments,
    announce,
    answering,
    checked,
    first_of,
    follow,
    hanging_up,
    log_to_stderr,
    report,
)
from .readiness import TimedModel, dialled
from .wav import CallRecording

TURN_DETECTION = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}

ROUND_TRIP = 0.05
"""Seconds there and back on the line to the emulator, which is on this machine."""

LOOKUP_SECONDS = 0.4
"""Seconds the tool takes."""
_QUIET_SECONDS = 2.0
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.1


class WeatherDesk(Agent):
    """The agent of the demo: one tool."""

    def __init__(self) -> None:
        super().__init__(
            instructions=(
                "You are Iris, the assistant of a weather desk, on the phone. Speak English, in short sentences. Look "
                "the weather up with get_weather before you talk about it; say so before you do. What it gives holds "
                "for today and tomorrow."
            )
        )

    @function_tool
    async def get_weather(self, city: str) -> str:
        """Look up the weather in a city, for today and tomorrow.

        Args:
            city: The city's name.
        """
        await asyncio.sleep(LOOKUP_SECONDS)
        return f"{city} now: 18 C, clear, light NW wind; tonight 12 C; tomorrow: 21 C, sunny."


async def hold_call(
    model: TimedModel, caller: bytes, *, hang_up: asyncio.Event, dialled: float | None = None
) -> tuple[CallRecording, Minutes]:
    """Hold one call with the caller's recording (24 kHz int16 mono PCM), until it is over or `hang_up` is set.

    `dialled`: seconds in which a session that was not prewarmed was ready, for the timeline. Returns the recording of
    both sides, and the minutes with the timeline and the failure that ended the call, if any.
    """
    loop = asyncio.get_running_loop()
    zero = loop.time()
    recording = CallRecording()
    microphone = CallerAudio(caller, recording, zero=zero)
    loudspeaker = Loudspeaker(recording, zero=zero)
    synchronizer = TranscriptSynchronizer(next_in_chain_audio=loudspeaker, next_in_chain_text=None)
    session: AgentSession[None] = AgentSession(
        llm=model,
        # The server takes the turns, so LiveKit's own detectors would only be loaded for nothing.
        vad=None,
        turn_handling={"turn_detection": "realtime_llm", "interruption": {"resume_false_interruption": False}},
        # A recording hears no echo, so the agent may be interrupted from its first word on.
        aec_warmup_duration=None,
        user_away_timeout=None,
    )
    session.input.audio = microphone
    session.output.audio = synchronizer.audio_output
    session.output.transcription = synchronizer.text_output
    minutes = Minutes(microphone, clock=lambda: loop.time() - zero, follow=follow)
    reader = SessionReader(minutes, loudspeaker)
    reader.attend_session(session, synchronizer.audio_output)
    over = asyncio.Event()
    session.on("close", lambda _: over.set())
    try:
        await first_of(_converse(model, session, microphone, loudspeaker, reader, minutes), over.wait(), hang_up.wait())
    finally:
        await session.aclose()
        await synchronizer.aclose()
        if model.ready_after is not None:
            minutes.timeline.ready(model.ready_after, dialled)
        minutes.close()
    return recording, minutes


async def _converse(
    model: TimedModel,
    session: AgentSession[None],
    microphone: CallerAudio,
    loudspeaker: Loudspeaker,
    reader: SessionReader,
    minutes: Minutes,
) -> None:
    agent = WeatherDesk()
    await session.start(agent, record=False)
    model_side = agent.realtime_llm_session
    assert isinstance(model_side, RealtimeSession)
    if minutes.failure:
        return
    reader.attend_model(model_side)
    ready = "" if model.ready_after is None else f", ready after {model.ready_after * 1000:.0f} ms"
    minutes.note(f"connected to {model.model}{ready}")
    await session.generate_reply(instructions=f"Answer the phone. Say only: {GREETING}").wait_for_playout()
    microphone.speak()
    await microphone.finished.wait()
    loop = asyncio.get_running_loop()
    quiet_since, deadline = loop.time(), loop.time() + _PATIENCE_SECONDS
    while loop.time() < min(quiet_since + _QUIET_SECONDS, deadline):
        if model_side.has_active_generation or loudspeaker.playing or session.user_state == "speaking":
            quiet_since = loop.time()
        await asyncio.sleep(_POLL_SECONDS)


async def _run(pcm: bytes, *, live: bool, bundled: bool) -> tuple[CallRecording, Minutes, bool]:
    with hanging_up() as hang_up:
        async with answering(live=live, bundled=bundled) as environment, contextlib.AsyncExitStack() as stack:
            base_url = environment.get("OPENAI_BASE_URL", NOT_GIVEN)
            if not live:
                base_url = await stack.enter_async_context(long_line(str(base_url), round_trip=ROUND_TRIP))
            model, other = (
                TimedModel(
                    base_url=base_url,
                    api_key=environment.get("OPENAI_API_KEY"),
                    voice=VOICE,
                    turn_detection=TURN_DETECTION,
                )
                for _ in range(2)
            )
            stack.push_async_callback(model.aclose)
            agent = WeatherDesk()
            model.prewarm(instructions=agent.instructions, tools=agent.tools)
            # Meanwhile a worker would join the room. This one begins later, so that one is there when this one is.
            took = await dialled(other, agent)
            recording, minutes = await hold_call(model, pcm, hang_up=hang_up, dialled=took)
    return recording, minutes, hang_up.is_set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold the call and print it. Returns 0, 1 when the call failed, 2 for bad arguments, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m livekit_plugins_openai_ga.devtools.demo",
        description="Play a caller's recording to an agent; get the call as a stereo WAV file and a timeline.",
    )
    add_arguments(parser, out="demo-call.wav")
    options = parser.parse_args(arguments)
    try:
        pcm = checked(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    log_to_stderr()
    announce(options, pcm, round_trip=ROUND_TRIP)
    try:
        recording, minutes, interrupted = asyncio.run(_run(pcm, live=options.live, bundled=options.wav is None))
        return report(recording, minutes, options.out, interrupted=interrupted)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    end(main())
