"""Sessions that are recorded against the emulator, in virtual time, with what the application was told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, llm

from livekit_plugins_openai_ga import STT, RealtimeModel, Recorder, Translator
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, ToolCall, Turn, faults
from livekit_plugins_openai_ga.replay import clock
from livekit_plugins_openai_ga.replay.told import Told

MS_20 = 480
VAD = {"type": "server_vad", "silence_duration_ms": 300}


def frame(*, loud: bool) -> rtc.AudioFrame:
    pcm = b"\x10\x27\xf0\xd8" * (MS_20 // 2) if loud else bytes(MS_20 * 2)
    return rtc.AudioFrame(pcm, 24_000, 1, MS_20)


async def speak(push: Callable[[rtc.AudioFrame], None], *, ms: int = 600, silence_ms: int = 600) -> None:
    for loud, count in ((True, ms // 20), (False, silence_ms // 20)):
        for _ in range(count):
            push(frame(loud=loud))
            await asyncio.sleep(0.02)


def record(
    folder: Path,
    go: Callable[[Any, Emulator], Awaitable[None]],
    script: Sequence[Turn] = (),
    *,
    struck: Sequence[faults.Fault] = (),
    audio: bool = False,
    redact: bool = False,
    make: Callable[..., Any] = RealtimeModel,
    **options: Any,
) -> tuple[Path, list[str]]:
    """Have a session recorded. Returns its file, and what the application was told."""
    recorder = Recorder(folder / "recordings", audio=audio, redact=redact)
    told = Told()

    async def main() -> None:
        async with Emulator(Script(script), faults=struck, knobs=Knobs(pace=1.0)) as server:
            model = make(base_url=server.base_url, api_key="sk-test", recorder=recorder, **options)
            if isinstance(model, RealtimeModel):
                session = model.session()
                told.to_session(session)
            else:
                session = model.stream()
                (told.to_stream if isinstance(model, STT) else told.to_translation)(session)
            await go(session, server)
            await session.aclose()
            await model.aclose()
            await asyncio.sleep(0.1)
            await told.finish()

    clock.run(main())
    (path,) = (folder / "recordings").glob("*.jsonl")
    return path, told.lines


async def plain_turn(session: Any, server: Emulator) -> None:
    await session.update_instructions("Be kind.")
    await session.generate_reply(instructions="Greet the caller.")
    await asyncio.sleep(2)
    await speak(session.push_audio)
    await asyncio.sleep(4)


PLAIN = [Turn(say="Hello there."), Turn(heard="How are you?", say="I am fine, thanks.")]


@llm.function_tool
async def weather(city: str) -> str:
    """The weather in a city."""
    return "sunny"


async def tool_call(session: Any, server: Emulator) -> None:
    await session.update_tools([weather])
    await speak(session.push_audio)
    await asyncio.sleep(3)
    context = session.chat_ctx.copy()
    (call_id,) = [item.call_id for item in context.items if item.type == "function_call"]
    context.items.append(llm.FunctionCallOutput(call_id=call_id, output="sunny", is_error=False))
    await session.update_chat_ctx(context)
    await session.generate_reply()
    await asyncio.sleep(3)


TOOL = [
    Turn(heard="How is the weather in Rome?", tool=ToolCall("weather", {"city": "Rome"})),
    Turn(say="It is sunny in Rome."),
]


async def interruption(session: Any, server: Emulator) -> None:
    said: list[str] = []
    session.on("remote_item_added", lambda event: said.append(event.item.id))
    session.generate_reply(instructions="Tell a story.")
    await asyncio.sleep(1.5)
    session.interrupt()
    session.truncate(message_id=said[0], modalities=["audio"], audio_end_ms=700, audio_transcript="Once")
    await asyncio.sleep(0.5)
    await speak(session.push_audio)
    await asyncio.sleep(4)


STORY = [
    Turn(say="Once upon a time there was a very long story about the sea and all of the ships on it."),
    Turn(heard="Stop.", say="All right."),
]


async def refused_update(session: Any, server: Emulator) -> None:
    await session.update_instructions("Be kind.")
    session.update_options(speed=1.2)
    await asyncio.sleep(1)
    await session.generate_reply()
    await asyncio.sleep(3)


REFUSED = [faults.RejectOn("session.update", "invalid_value", "Invalid value: 'speed'.", "session.audio.output", nth=2)]


async def drop(session: Any, server: Emulator) -> None:
    await session.update_instructions("Be kind.")
    await speak(session.push_audio, silence_ms=3000)
    await asyncio.sleep(4)
    await session.generate_reply(instructions="Go on.")
    await asyncio.sleep(3)


async def nothing(session: Any, server: Emulator) -> None:
    await asyncio.sleep(3)


def unreachable(base_url: str, **options: Any) -> RealtimeModel:
    return RealtimeModel(base_url="http://127.0.0.1:9/v1", **options)


async def patient(session: Any, server: Emulator) -> None:
    await asyncio.sleep(120)


async def two_segments(stream: Any, server: Emulator) -> None:
    await speak(stream.push_frame, silence_ms=1500)
    await speak(stream.push_frame, silence_ms=1500)
    stream.end_input()
    await asyncio.sleep(3)


async def flushed_segments(stream: Any, server: Emulator) -> None:
    for _ in range(2):
        await speak(stream.push_frame, silence_ms=200)
        stream.flush()
        await asyncio.sleep(1)
    stream.end_input()
    await asyncio.sleep(3)


async def translated(stream: Any, server: Emulator) -> None:
    await speak(stream.push_frame, ms=1000, silence_ms=3000)
    stream.end_input()
    await asyncio.sleep(10)


HEARD = [Turn(heard="The first sentence."), Turn(heard="And the second one.")]

SESSIONS: dict[str, dict[str, Any]] = {
    "plain turn": {"go": plain_turn, "script": PLAIN, "turn_detection": VAD},
    "plain turn, with its audio": {"go": plain_turn, "script": PLAIN, "turn_detection": VAD, "audio": True},
    "plain turn, without its texts": {"go": plain_turn, "script": PLAIN, "turn_detection": VAD, "redact": True},
    "telephone": {"go": plain_turn, "script": PLAIN, "input_audio_format": "pcmu", "output_audio_format": "pcma"},
    "tool call": {"go": tool_call, "script": TOOL, "turn_detection": VAD},
    "interruption": {"go": interruption, "script": STORY, "turn_detection": VAD},
    "refused update": {"go": refused_update, "script": PLAIN[:1], "struck": REFUSED},
    "drop mid-reply": {
        "go": drop,
        "script": [*PLAIN[1:], Turn(say="More of it.")],
        "struck": [faults.DropOn("response.output_audio.delta", nth=4)],
        "turn_detection": VAD,
    },
    "close with a code": {
        "go": drop,
        "script": [*PLAIN[1:], Turn(say="More of it.")],
        "struck": [faults.CloseOn("response.output_audio.delta", 1011, "keepalive ping timeout", nth=4)],
        "turn_detection": VAD,
    },
    "silent peer": {
        "go": drop,
        "script": [*PLAIN[1:], Turn(say="More of it.")],
        "struck": [faults.FreezeOn("response.output_audio.delta", nth=4)],
        "turn_detection": VAD,
        "heartbeat": 1.0,
    },
    "invalid model": {"go": nothing, "struck": [faults.RejectHandshake()]},
    "beta shape": {"go": nothing, "struck": [faults.RejectHandshake("beta_api_shape_disabled", "It is gone.")]},
    "wrong key": {"go": nothing, "struck": [faults.RefuseHandshake(401)]},
    "no server": {"go": patient, "make": unreachable},
    "server that stays busy": {"go": patient, "struck": [faults.RefuseHandshake(503, times=20)]},
    "busy server, then a session": {
        "go": plain_turn,
        "script": PLAIN,
        "struck": [faults.RefuseHandshake(503, times=2)],
        "turn_detection": VAD,
    },
    "speech to text": {"go": two_segments, "script": HEARD, "make": STT},
    "speech to text, flushed": {
        "go": flushed_segments,
        "script": HEARD,
        "make": STT,
        "turn_detection": None,
        "vad": None,
    },
    "speech to text, dropped": {
        "go": two_segments,
        "script": HEARD,
        "make": STT,
        "struck": [faults.DropOn("conversation.item.input_audio_transcription.delta", nth=1)],
    },
    "translation": {
        "go": translated,
        "script": [Turn(heard="Hello.", say="Hallo.")],
        "make": Translator,
        "target_language": "de",
    },
}


class WeatherAgent(Agent):
    """An agent whose calls are LiveKit's own."""

    def __init__(self) -> None:
        super().__init__(instructions="You are the assistant of a weather station.", tools=[weather])

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Greet the caller.")


def record_an_agent(folder: Path) -> Path:
    """Have a call of an `AgentSession` recorded, with a tool and a lost connection. Returns its file."""

    async def main() -> None:
        turns = [Turn(say="Good morning."), TOOL[0], TOOL[1], Turn(say="Goodbye.")]
        struck = [faults.DropOn("response.done", nth=3)]
        async with Emulator(Script(turns), faults=struck) as server:
            recorder = Recorder(folder)
            model = RealtimeModel(base_url=server.base_url, api_key="sk-test", recorder=recorder)
            async with AgentSession(llm=model) as session:
                await session.start(WeatherAgent())
                await asyncio.sleep(2)
                session.generate_reply(user_input="How is the weather in Rome?")
                await asyncio.sleep(5)
                session.generate_reply(user_input="Thank you.")
                await asyncio.sleep(5)

    clock.run(main())
    (path,) = folder.glob("*.jsonl")
    return path
