"""One row of the matrix: an agent over the emulator, with whatever is installed. Needs nothing but the wheel.

`python smoke.py` prints each step with "ok" or what went wrong, then one line of JSON. Exit code 1: something failed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import platform
import sys
import traceback
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from ends import RATE, SERVER_VAD, Captions, Echo, Microphone, Speaker, Voice, agent_session, frames, until
from livekit import rtc
from livekit.agents import Agent, APIConnectOptions, APIError, function_tool, llm
from livekit.agents.metrics import RealtimeModelMetrics, STTMetrics
from livekit.agents.stt import SpeechEventType
from livekit.agents.voice.transcription import TranscriptSynchronizer

from livekit_plugins_openai_ga import STT, MCPTool, RealtimeModel, Translator
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, MCPCall, Script, ToolCall, Turn
from livekit_plugins_openai_ga.emulator.faults import RejectHandshake

GREETING = "Weather desk, hello."
QUESTION, PREAMBLE, ANSWER = "What is the weather in Rome?", "I will look.", "It is sunny in Rome."
WELL = "Well."
LONG = "Tomorrow will be a long and sunny day with a little wind from the west and no rain at all in the evening."
STOP, STOPPED = "Stop right there, please.", "All right."
THERE, BACK = "Are you there?", "Still here."
MORE = "And tomorrow?"
PLEASE, BILLING = "Billing, please.", "Billing, hello."
ONE, TWO = "hello there my friend", "what is the weather in rome"
QUICK = APIConnectOptions(max_retry=3, retry_interval=0.05, timeout=5.0)


class Steps:
    """Carries out what a row has to show, one after the other; what fails does not keep the others from trying."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.failed: list[str] = []

    async def __call__(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await asyncio.wait_for(step(), 25)
            outcome = "ok"
        except Exception as exc:
            self.failed.append(name)
            place = traceback.extract_tb(exc.__traceback__)[-1]
            outcome = f"FAILED: {type(exc).__name__}: {exc} ({place.name}, line {place.lineno})"
        print(f"  {self.title}: {name}: {outcome}", flush=True)


class Billing(Agent):
    """Takes over."""

    async def on_enter(self) -> None:
        self.session.generate_reply()


class Desk(Agent):
    """An agent with a tool, and one to go to."""

    def __init__(self) -> None:
        super().__init__(instructions="You are a weather desk.")

    @function_tool
    async def get_weather(self, city: str) -> str:
        """The weather in a city.

        Args:
            city: The city's name.
        """
        return f"sunny in {city}"

    @function_tool
    async def pass_on(self) -> Agent:
        """Pass the caller on to the billing department."""
        return Billing(instructions="You are the billing department.", chat_ctx=self.chat_ctx.copy())


class Call:
    """A realtime agent in a call."""

    def __init__(self, server: Emulator) -> None:
        self.server = server
        model = RealtimeModel(api_key="sk-test", base_url=server.base_url, turn_detection=SERVER_VAD)
        self.session = agent_session(llm=model, aec_warmup_duration=None)
        self.microphone, self.speaker = Microphone(), Speaker()
        self.session.input.audio = self.microphone
        self.paced = TranscriptSynchronizer(next_in_chain_audio=self.speaker, next_in_chain_text=Captions())
        self.session.output.audio = self.paced.audio_output
        self.session.output.transcription = self.paced.text_output
        self.agent = Desk()
        self.events: list[tuple[str, Any]] = []
        for name in ("conversation_item_added", "function_tools_executed", "metrics_collected", "error", "close"):
            self.session.on(name, lambda event, name=name: self.events.append((name, event)))

    def named(self, name: str) -> list[Any]:
        return [event for kind, event in self.events if kind == name]

    def texts(self, role: str) -> list[str]:
        items = [event.item for event in self.named("conversation_item_added")]
        return [i.text_content or "" for i in items if i.type == "message" and i.role == role]

    @property
    def rt(self) -> Any:
        return self.agent.realtime_llm_session

    async def greet(self) -> None:
        await self.session.start(self.agent)
        self.rt.on("session_reconnected", lambda event: self.events.append(("session_reconnected", event)))
        await self.session.generate_reply(instructions="Greet the caller.")
        assert self.texts("assistant") == [GREETING], self.texts("assistant")
        assert self.speaker.heard[-1][0] > 0.5
        assert "You are a weather desk." in str(self.server.received("session.update"))
        assert "get_weather" in str(self.server.received("session.update")[-1])

    async def use_a_tool(self) -> None:
        self.microphone.say(QUESTION)
        await until(lambda: ANSWER in " ".join(self.texts("assistant")))
        assert QUESTION in self.texts("user"), self.texts("user")
        (executed,) = self.named("function_tools_executed")
        assert [output.output for output in executed.function_call_outputs] == ["sunny in Rome"]

    async def hear_every_message(self) -> None:
        """A preamble and what comes after it, in one reply, are both played."""
        said = " ".join(self.texts("assistant"))
        assert PREAMBLE in said, said
        assert ANSWER in said, said
        played = sum(seconds for seconds, _ in self.speaker.heard)
        made = sum(self._spoken().values())
        assert abs(played - made) < 0.2, f"{played:.2f} s of {made:.2f} s were played"

    async def interrupt(self) -> None:
        """The second message of a reply is cut where the caller broke in; the first one was heard."""
        before = len(self.speaker.heard), self.speaker.played
        reply = self.session.generate_reply(user_input=MORE)
        await until(lambda: self.speaker.played > before[1] + 1.8)  # the caller listens for a while
        self.microphone.say(STOP)
        await until(lambda: self.texts("assistant")[-1:] == [STOPPED])
        assert reply.interrupted
        played = sum(seconds for seconds, _ in self.speaker.heard[before[0] : -1])
        (cut,) = self.server.received("conversation.item.truncate")
        spoken = self._spoken()
        ids = list(spoken)
        first = spoken[ids[ids.index(cut["item_id"]) - 1]]
        assert abs(cut["audio_end_ms"] / 1000 + first - played) < 0.15, (cut, first, played)

    def _spoken(self) -> dict[str, float]:
        """Seconds of speech the server made for each of its messages, in order."""
        spoken: dict[str, float] = {}
        for event in self.server.sent("response.output_audio.delta"):
            seconds = len(b64decode(event["delta"])) / 2 / RATE
            spoken[event["item_id"]] = spoken.get(event["item_id"], 0.0) + seconds
        return spoken

    async def survive_a_drop(self) -> None:
        await self.server.drop()
        await until(lambda: self.named("session_reconnected"))
        self.microphone.say(THERE)
        await until(lambda: self.texts("assistant")[-1:] == [BACK])
        assert [event.error.recoverable for event in self.named("error")] == [True]

    async def tell_the_truth(self) -> None:
        """The model's history is what was said and heard: the framework's, the session's."""
        told = [text for event in self.rt.chat_ctx.items if event.type == "message" if (text := event.text_content)]
        half = next(text for text in told if LONG.startswith(text.rstrip()))
        assert 0 < len(half) < len(LONG), told
        assert told == [GREETING, QUESTION, PREAMBLE, ANSWER, MORE, WELL, half, STOP, STOPPED, THERE, BACK], told
        words = " ".join(self.texts("assistant")).split()
        assert words == " ".join([GREETING, PREAMBLE, ANSWER, WELL, half, STOPPED, BACK]).split(), words

    async def hand_over(self) -> None:
        """Another agent goes on with what was said before, in the same session or in one of its own."""
        self.microphone.say(PLEASE)
        await until(lambda: self.texts("assistant")[-1:] == [BILLING])
        update = self.server.received("session.update")[-1]["session"]
        assert update.get("tools", []) == []
        assert "billing" in str([e["session"].get("instructions") for e in self.server.received("session.update")][-2:])
        rt = self.session.current_agent.realtime_llm_session
        told = [item.text_content for item in rt.chat_ctx.items if item.type == "message"]
        assert (told[0], told[-1]) == (GREETING, BILLING), told
        # Its transcript came after the handoff; releases that know no remote items had no place for it yet.
        assert (PLEASE in told) == hasattr(llm, "RemoteItemAddedEvent"), told

    async def count(self) -> None:
        metrics = [event.metrics for event in self.named("metrics_collected")]
        replies = [m for m in metrics if isinstance(m, RealtimeModelMetrics) and m.request_id]
        assert len(replies) == len(self.server.sent("response.created")), metrics
        assert all(m.label.endswith("RealtimeModel") and m.total_tokens > 0 for m in replies if not m.cancelled)
        assert any(isinstance(m, STTMetrics) for m in metrics)

    async def close(self) -> None:
        await self.session.aclose()
        await self.paced.aclose()
        await self.server.wait_until(lambda: all(session.closed for session in self.server.sessions))
        await until(lambda: not [t for t in asyncio.all_tasks() if t.get_name().startswith("openai_ga")])


async def realtime(step: Steps) -> None:
    turns = [
        Turn(say=GREETING),
        Turn(heard=QUESTION, tool=ToolCall("get_weather", {"city": "Rome"})),
        Turn(messages=(PREAMBLE, ANSWER)),
        Turn(heard=MORE, messages=(WELL, LONG)),
        Turn(heard=STOP, say=STOPPED),
        Turn(heard=THERE, say=BACK),
        Turn(heard=PLEASE, tool=ToolCall("pass_on")),
        Turn(say=BILLING),
    ]
    async with Emulator(Script(turns)) as server:
        call = Call(server)
        await step("greet", call.greet)
        await step("a spoken turn with a tool", call.use_a_tool)
        await step("several messages in a reply", call.hear_every_message)
        await step("an interruption, cut to what was heard", call.interrupt)
        await step("a lost connection", call.survive_a_drop)
        await step("a truthful history", call.tell_the_truth)
        await step("a handoff to another agent", call.hand_over)
        await step("metrics", call.count)
        await step("close", call.close)
    await step("a tool that OpenAI runs", server_tool)


async def server_tool() -> None:
    """An agent with an MCP server among its tools says what a call of it brought."""
    turns = [Turn(mcp=(MCPCall("shop", "find", output="3 pairs", seconds=0.05),)), Turn(say=ANSWER)]
    async with Emulator(Script(turns)) as server:
        shop = MCPTool(server_label="shop", server_url="https://shop.test/mcp", require_approval="never")
        session = agent_session(llm=RealtimeModel(api_key="sk-test", base_url=server.base_url))
        session.output.audio = Speaker()
        await session.start(Agent(instructions="You sell socks.", tools=[shop]))
        await session.generate_reply()
        said = [item.text_content for item in session.history.items if item.type == "message"]
        assert said == [ANSWER], said
        await session.aclose()


@asynccontextmanager
async def listening(turns: int = 2, **options: Any) -> AsyncIterator[tuple[Emulator, STT]]:
    script = Script([Turn(heard=text) for text in (ONE, TWO)[:turns]])
    async with Emulator(script, knobs=Knobs(transcription_latency=0.05)) as server:
        stt = STT(api_key="sk-test", base_url=server.base_url, **options)
        yield server, stt
        await stt.aclose()


async def transcribe(**options: Any) -> None:
    """Two sentences, the connection lost between them; their texts in order, and what they cost."""
    async with listening(**options) as (server, stt):
        metrics: list[Any] = []
        stt.on("metrics_collected", metrics.append)
        finals: list[Any] = []

        async def read() -> None:
            async for event in stream:
                if event.type == SpeechEventType.FINAL_TRANSCRIPT and event.alternatives[0].text:  # silence gives ""
                    finals.append(event.alternatives[0])

        async with stt.stream(conn_options=QUICK) as stream:
            reading = asyncio.ensure_future(read())
            for frame in frames(ONE):
                stream.push_frame(frame)
            await until(lambda: len(finals) == 1)
            await server.drop()
            for frame in frames(TWO):
                stream.push_frame(frame)
            stream.end_input()
            await reading
        assert [data.text for data in finals] == [ONE, TWO], finals
        assert 0 < finals[0].end_time < finals[1].end_time
        assert finals[0].language == "en"
        assert any(isinstance(m, STTMetrics) and m.audio_duration > 0 for m in metrics), metrics


async def wrong_key() -> None:
    """An error that cannot get better ends the stream at once, and says what to do."""
    refusal = RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000, times=9)
    async with Emulator(faults=[refusal]) as server:
        stt = STT(api_key="sk-wrong", base_url=server.base_url)
        errors: list[Any] = []
        stt.on("error", errors.append)
        async with stt.stream(conn_options=QUICK) as stream:
            await until(lambda: errors)
            with suppress(APIError):
                await stream.__anext__()
        assert [error.recoverable for error in errors] == [False], errors
        assert "invalid_api_key" in str(errors[0].error), errors
        await stt.aclose()


async def recognize(**options: Any) -> None:
    async with listening(1, **options) as (_, stt):
        event = await stt.recognize(rtc.combine_audio_frames(frames(ONE)), conn_options=QUICK)
        assert event.alternatives[0].text == ONE, event


async def pipeline() -> None:
    """An agent made of our STT, a language model and a voice answers what was said."""
    async with listening() as (_, stt):
        session = agent_session(stt=stt, llm=Echo(), tts=Voice(), turn_detection="stt", aec_warmup_duration=None)
        microphone = Microphone()
        session.input.audio, session.output.audio = microphone, Speaker()
        said: list[str] = []
        session.on(
            "conversation_item_added", lambda e: said.extend(filter(None, [getattr(e.item, "text_content", None)]))
        )
        await session.start(Agent(instructions="Be brief."))
        for text in (ONE, TWO):
            microphone.say(text)
            await until(lambda text=text: f"You said {text}." in said)
        assert [text for text in said if text] == [ONE, f"You said {ONE}.", TWO, f"You said {TWO}."], said
        await session.aclose()


async def speech_to_text(step: Steps) -> None:
    await step("a stream, over a lost connection", transcribe)
    await step("a streaming model, with LiveKit's detector", streaming_model)
    await step("an agent of three parts", pipeline)
    await step("one utterance", recognize)
    await step("one upload", lambda: recognize(use_realtime=False))
    await step("a wrong key", wrong_key)


async def interpret() -> None:
    """One sentence, the connection lost in it; speech and both texts come once, and what they cost."""
    async with Emulator(Script([Turn(heard=ONE, say=BACK)])) as server:
        translator = Translator(
            target_language="de",
            transcribe_source=True,
            api_key="sk-test",
            base_url=server.base_url,
            conn_options=QUICK,
        )
        metrics: list[Any] = []
        spoken, texts, sources = 0.0, "", ""
        async with translator.stream() as stream:
            stream.on("metrics_collected", metrics.append)
            for number, frame in enumerate(frames(ONE)):
                stream.push_frame(frame)
                await asyncio.sleep(0.02)
                if number == 30:
                    await server.drop()
            stream.end_input()
            async for frame in stream.audio:
                spoken += frame.duration
            async for told in stream.transcript:
                texts += told.text
            async for told in stream.source_transcript:
                sources += told.text
        assert (texts, sources, len(server.sessions)) == (BACK, ONE, 2)
        assert spoken > 0.5
        assert any(isinstance(m, STTMetrics) and m.audio_duration > 0 for m in metrics), metrics
        await translator.aclose()


async def translation(step: Steps) -> None:
    await step("a stream, over a lost connection", interpret)


async def streaming_model() -> None:
    """Where LiveKit has no voice activity detector, the refusal says where to get one."""
    try:
        await transcribe(model="gpt-live-transcribe")
    except ValueError as exc:
        if "livekit-plugins-silero" not in str(exc):
            raise
        print(f"    (no detector is installed; the refusal says: {exc})")


async def main() -> int:
    logging.basicConfig(level=logging.CRITICAL)
    names = ("livekit-agents", "livekit", "websockets")
    found = {"Python": platform.python_version(), **{name: version(name) for name in names}}
    print(", ".join(f"{name} {number}" for name, number in found.items()), flush=True)
    parts = {"RealtimeModel": realtime, "STT": speech_to_text, "Translator": translation}
    failed: dict[str, list[str]] = {}
    for title, part in parts.items():
        steps = Steps(title)
        await part(steps)
        failed[title] = steps.failed
    print(json.dumps({"found": found, "failed": failed}))
    return int(any(failed.values()))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
