"""`make demo`: a whole call from a recording, with a tool and an interruption, as a stereo WAV file and a timeline.

A real `AgentSession` talks to the emulator, or with `--live` to OpenAI. The agent answers the phone first; then the
caller's recording is played in at real-time pace, and goes on when the agent is speaking: that is the interruption.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice.transcription import TranscriptSynchronizer

from .. import models
from ..emulator import Emulator, Knobs, Script, ToolCall, Turn, speak
from ..realtime import RealtimeModel, RealtimeSession
from .call import CallerAudio, Loudspeaker, caller_pcm
from .minutes import Minutes
from .wav import SAMPLE_RATE, CallRecording

CALLER = Path(__file__).with_name("caller.wav")
"""The caller who comes with the package; caller.txt beside it says what is said when."""

VOICE = "marin"
TURN_DETECTION = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}

_GREETING = "Weather desk, good morning."
_LOOKING_UP = "One moment, I will look that up."
_NOW = (
    "Right now it is eighteen degrees and clear in Lisbon, with a light wind from the north west. This afternoon a few "
    "clouds move in from the sea, it stays dry, and tonight it cools down to twelve degrees."
)
_WEATHER = ToolCall("get_weather", {"city": "Lisbon"})
_UNKNOWN = "(the emulator does not understand speech)"

BUNDLED_SCRIPT = (
    Turn(say=_GREETING),
    Turn(heard="Hello, who am I talking to?", say="I am Iris, the assistant of the weather desk. How can I help?"),
    Turn(heard="What is the weather in Lisbon right now?", say=_LOOKING_UP, tool=_WEATHER),
    Turn(say=_NOW),
    Turn(heard="Wait, stop. Tell me about tomorrow instead.", say="Tomorrow will be sunny, with twenty one degrees."),
    Turn(heard="Thank you, goodbye.", say="You are welcome. Goodbye!"),
)
"""What the emulator hears and answers to the bundled caller."""

_ANY_TURNS = (
    Turn(heard=_UNKNOWN, say=_LOOKING_UP, tool=_WEATHER),
    Turn(say=_NOW),
    Turn(heard=_UNKNOWN, say="I hear you. I am only an emulator, so I cannot tell what you say."),
)
ANY_SCRIPT = (Turn(say=_GREETING), *_ANY_TURNS * 30)
"""What the emulator answers to a recording it knows nothing about."""

REPLY_LATENCY = 0.35
"""Seconds until the emulator begins a reply."""
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


async def hold_call(model: RealtimeModel, caller: bytes, *, hang_up: asyncio.Event) -> tuple[CallRecording, Minutes]:
    """Hold one call with the caller's recording (24 kHz int16 mono PCM), until it is over or `hang_up` is set.

    Returns the recording of both sides, and the minutes with the timeline and the failure that ended the call, if any.
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
    minutes = Minutes(microphone, loudspeaker, clock=lambda: loop.time() - zero, follow=_follow)
    minutes.attend_session(session, synchronizer.audio_output)
    over = asyncio.Event()
    session.on("close", lambda _: over.set())
    try:
        await _first_of(_converse(session, microphone, loudspeaker, minutes), over.wait(), hang_up.wait())
    finally:
        await session.aclose()
        await synchronizer.aclose()
        minutes.close()
    return recording, minutes


async def _converse(
    session: AgentSession[None], microphone: CallerAudio, loudspeaker: Loudspeaker, minutes: Minutes
) -> None:
    agent = WeatherDesk()
    await session.start(agent, record=False)
    model_side = agent.realtime_llm_session
    assert isinstance(model_side, RealtimeSession)
    if minutes.failure:
        return
    minutes.attend_model(model_side)
    minutes.note(f"connected to {model_side.realtime_model.model}")
    await session.generate_reply(instructions=f"Answer the phone. Say only: {_GREETING}").wait_for_playout()
    microphone.speak()
    await microphone.finished.wait()
    loop = asyncio.get_running_loop()
    quiet_since, deadline = loop.time(), loop.time() + _PATIENCE_SECONDS
    while loop.time() < min(quiet_since + _QUIET_SECONDS, deadline):
        if model_side.has_active_generation or loudspeaker.playing or session.user_state == "speaking":
            quiet_since = loop.time()
        await asyncio.sleep(_POLL_SECONDS)


async def _first_of(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run them until one ends; the others are cancelled. Raises what that one raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


@contextlib.asynccontextmanager
async def _other_end(live: bool, bundled: bool) -> AsyncIterator[RealtimeModel]:
    """Whom the caller talks to: OpenAI, or an emulator that runs as long as the call."""
    if live:
        yield RealtimeModel(voice=VOICE, turn_detection=TURN_DETECTION)
        return
    script = Script(BUNDLED_SCRIPT if bundled else ANY_SCRIPT)
    for text in {text for turn in script.turns for text in turn.texts}:
        speak(text, VOICE, 1.0)  # kept by the voice, so that the call does not wait for it
    async with Emulator(script, knobs=Knobs(reply_latency=REPLY_LATENCY)) as server:
        yield RealtimeModel(base_url=server.base_url, api_key="emulator", voice=VOICE, turn_detection=TURN_DETECTION)


async def _run(caller: bytes, *, live: bool, bundled: bool) -> tuple[CallRecording, Minutes, bool]:
    hang_up = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        hang_up.set()
        loop.remove_signal_handler(signal.SIGINT)  # the second Ctrl-C ends the program

    # Neither on Windows nor outside the main thread.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGINT, interrupted)
    async with _other_end(live, bundled) as model:
        recording, minutes = await hold_call(model, caller, hang_up=hang_up)
    return recording, minutes, hang_up.is_set()


def _follow(line: str) -> None:
    """Show that the call goes on. A pipe or a file gets the timeline only, which says the same and more."""
    if sys.stdout.isatty():
        print(f"  {line}", flush=True)


class _OnceEach(logging.Filter):
    """The plugin and LiveKit each log the error that ends a session; once is enough."""

    def __init__(self) -> None:
        super().__init__()
        self._reasons: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to print it."""
        _, _, reason = record.getMessage().partition(": ")
        if record.levelno < logging.ERROR or not reason:
            return True
        known, self._reasons = reason in self._reasons, self._reasons | {reason}
        return not known


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold the call and print it. Returns 0, 1 when the call failed, 2 for bad arguments, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m livekit_plugins_openai_ga.devtools.demo",
        description="Play a caller's recording to an agent; get the call as a stereo WAV file and a timeline.",
    )
    parser.add_argument("--wav", metavar="FILE", help="the caller, 16-bit PCM (default: the one in the package)")
    parser.add_argument("--live", action="store_true", help="talk to OpenAI instead of the emulator; costs some cents")
    parser.add_argument("--out", metavar="FILE", default="demo-call.wav", help="default: demo-call.wav")
    options = parser.parse_args(arguments)
    try:
        caller = caller_pcm(options.wav or CALLER)
        _check(options.out, live=options.live)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    handler = logging.StreamHandler()
    handler.addFilter(_OnceEach())
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", handlers=[handler])
    _announce(options.wav or CALLER, len(caller) / 2 / SAMPLE_RATE, live=options.live, bundled=options.wav is None)
    try:
        recording, minutes, interrupted = asyncio.run(_run(caller, live=options.live, bundled=options.wav is None))
        if recording.seconds:
            recording.write(options.out)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if sys.stdout.isatty():
        print()
    print(minutes.timeline.render(_width()))
    print(f"Prices: OpenAI's of {models.PRICES_DATE}.")
    if recording.seconds:
        print(f"\nThe call is in {options.out}: caller left, agent right, {recording.seconds:.1f} s.")
    if minutes.failure:
        print(f"The call failed: {minutes.failure}", file=sys.stderr)
        return 1
    return 130 if interrupted else 0


def _check(out: str, *, live: bool) -> None:
    if live and not os.environ.get("OPENAI_API_KEY"):
        raise ValueError("OPENAI_API_KEY is not set: set it to your key to talk to OpenAI, or leave --live out.")
    path = Path(out)
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ValueError(f"--out {out} cannot be written: name a file in a folder that you can write to.")


def _announce(wav: str | Path, seconds: float, *, live: bool, bundled: bool) -> None:
    other = "OpenAI" if live else "the emulator"
    lines = [f"Playing {Path(wav).name} ({seconds:.0f} s) to {other}, in real time. Ctrl-C hangs up."]
    if not live:
        lines.append("The emulator answers from a script and estimates its tokens: a real call costs something else.")
        if not bundled:
            lines.append("It does not understand speech: it notices when you speak, and answers the same to everybody.")
        if importlib.util.find_spec("espeakng_loader") is None:
            lines.append("Its voice is synthetic: pip install espeakng-loader to understand what it says.")
    print(*(textwrap.fill(line, _width()) for line in lines), "", sep="\n", flush=True)


def _width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 160)


if __name__ == "__main__":
    sys.exit(main())
