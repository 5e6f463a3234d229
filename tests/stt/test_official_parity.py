"""Side by side with LiveKit's official plugin on the same server: what is the same; each difference and its reason."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from livekit.agents import APIConnectOptions, utils
from livekit.agents import stt as lk
from livekit.plugins import openai

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import CloseOn, DelayTranscription, FailTranscription, Fault

Kind = lk.SpeechEventType
OLD, SERVER, STREAMING = "gpt-4o-mini-transcribe", "gpt-transcribe", "gpt-live-transcribe"
ONE, TWO = "hello there my friend", "what is the weather in rome"
EXPIRED = ("session_expired", "Your session hit the maximum duration of 60 minutes.")
QUICK = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=2.0)
PLUGINS: dict[str, Callable[..., lk.STT]] = {"official": openai.STT, "ours": STT}


@dataclass
class Heard:
    """What one plugin made of a scene."""

    events: list[lk.SpeechEvent] = field(default_factory=list)
    errors: list[lk.STTError] = field(default_factory=list)
    error: BaseException | None = None
    ended: bool = False

    def of(self, kind: lk.SpeechEventType) -> list[lk.SpeechEvent]:
        return [event for event in self.events if event.type is kind]

    @property
    def finals(self) -> list[lk.SpeechData]:
        return [event.alternatives[0] for event in self.of(Kind.FINAL_TRANSCRIPT)]

    @property
    def texts(self) -> list[str]:
        return [data.text for data in self.finals]

    @property
    def kinds(self) -> list[str]:
        """Without interims, whose pace is each plugin's own, and without the text of silence."""
        told = [e for e in self.events if e.type is not Kind.INTERIM_TRANSCRIPT]
        return [e.type.value for e in told if not e.alternatives or e.alternatives[0].text]


@asynccontextmanager
async def both(server: Emulator, **options: Any):
    async with utils.http_context.open():
        made = {
            name: plugin(**{"base_url": server.base_url, "api_key": "sk-test", "use_realtime": True, **options})
            for name, plugin in PLUGINS.items()
        }
        yield made
        for stt in made.values():
            await stt.aclose()


async def hear(stt: lk.STT, recording: Any, *, finals: int, end_input: bool = False, wait: float = 1.0) -> Heard:
    """Play a recording to a stream; stop at so many finals, at the end of the stream, or after `wait` seconds."""
    heard = Heard()
    stt.on("error", heard.errors.append)
    stream = stt.stream(conn_options=QUICK)

    async def read() -> None:
        async for event in stream:
            heard.events.append(event)
        heard.ended = True

    reading = asyncio.ensure_future(read())
    with suppress(RuntimeError):  # a stream that has ended takes no more
        for frame in recording.frames():
            stream.push_frame(frame)
            await asyncio.sleep(0)
        if end_input:
            stream.end_input()
    deadline = asyncio.get_running_loop().time() + wait
    while not reading.done() and asyncio.get_running_loop().time() < deadline:
        billed = len(heard.of(Kind.RECOGNITION_USAGE))
        if not end_input and len(heard.texts) >= finals and billed >= finals:
            break
        await asyncio.wait({reading}, timeout=0.01)
    if reading.done():
        heard.error = reading.exception()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await stream.aclose()
    return heard


async def scene(
    recording: Any,
    *,
    model: str = OLD,
    faults: Sequence[Fault] = (),
    turns: Sequence[Turn] = (Turn(heard=ONE), Turn(heard=TWO)),
    finals: int = 2,
    end_input: bool = False,
    **options: Any,
) -> tuple[Heard, Heard]:
    """The same scene for the official plugin and for ours, each on a server of its own."""
    heard = []
    for name in PLUGINS:
        knobs = Knobs(transcription_latency=0.05)
        async with (
            Emulator(Script(turns), knobs=knobs, faults=faults) as server,
            both(server, model=model, **options) as made,
        ):
            heard.append(await hear(made[name], recording, finals=finals, end_input=end_input))
    return heard[0], heard[1]


# -- the same ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["__init__", "with_azure", "stream", "update_options", "recognize", "prewarm", "aclose"]
)
def test_every_keyword_of_the_official_plugin_is_taken(method):
    official, ours = (inspect.signature(getattr(plugin, method)).parameters for plugin in (openai.STT, STT))
    assert set(official) - set(ours) == set()
    assert {name for name in official if official[name].kind is not ours[name].kind} == set()


def test_a_call_with_every_keyword_of_the_official_plugin_works_unchanged():
    keywords: dict[str, Any] = {
        "language": ["en", "de"],
        "detect_language": False,
        "model": SERVER,
        "prompt": "trains",
        "keywords": ["ICE"],
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.4,
            "prefix_padding_ms": 100,
            "silence_duration_ms": 500,
        },
        "noise_reduction_type": "far_field",
        "temperature": 0.0,
        "base_url": "https://gw.example/v1",
        "api_key": "sk-test",
        "client": None,
        "use_realtime": True,
        "vad": None,
    }
    assert set(keywords) == set(inspect.signature(openai.STT.__init__).parameters) - {"self"}
    for plugin in PLUGINS.values():
        made = plugin(**keywords)
        assert (made.model, made.provider) == (SERVER, "gw.example")
        assert made.capabilities.streaming
        assert made.capabilities.keyterms


async def test_two_sentences_are_told_alike(recording):
    official, ours = await scene(recording(ONE, TWO))
    # On a busy machine a text may come before or after the next start of speech.
    assert sorted(ours.kinds) == sorted(official.kinds)
    speech = {Kind.START_OF_SPEECH, Kind.END_OF_SPEECH}
    assert [k for k in ours.kinds if k in speech] == [k for k in official.kinds if k in speech]
    assert ours.texts == official.texts == [ONE, TWO]
    assert [d.language for d in ours.finals] == [d.language for d in official.finals] == ["en", "en"]
    ids = [[event.request_id for event in heard.of(Kind.FINAL_TRANSCRIPT)] for heard in (official, ours)]
    assert ids[0] == ids[1]  # item ids, of two servers alike
    tokens = [
        [(e.recognition_usage.input_tokens, e.recognition_usage.output_tokens) for e in h.of(Kind.RECOGNITION_USAGE)]
        for h in (official, ours)
    ]
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize("options", [{"language": "de"}, {"detect_language": True}, {"prompt": "trains"}])
async def test_the_server_is_asked_for_the_same(recording, options):
    asked = {}
    for name in PLUGINS:
        async with Emulator() as server, both(server, model=OLD, **options) as made:
            stream = made[name].stream()
            await server.wait_sent("session.updated")
            await stream.aclose()
            asked[name] = (server.handshakes[0].path, server.handshakes[0].query, server.sessions[0].config["audio"])
    assert asked["ours"] == asked["official"]


async def test_a_recording_is_transcribed_alike(recording):
    events = {}
    for name in PLUGINS:
        turn = Turn(heard=ONE, languages=("pt",))
        async with Emulator(Script([turn])) as server, both(server, model=SERVER, use_realtime=False) as made:
            assert not made[name].capabilities.streaming
            events[name] = await made[name].recognize(list(recording(ONE).frames()), conn_options=QUICK)
            events[name, "fields"] = dict(server.uploads[0].fields)
    ours, official = events["ours"], events["official"]
    assert ours.type is official.type
    assert ours.alternatives[0].text == official.alternatives[0].text == ONE
    assert ours.alternatives[0].language == official.alternatives[0].language == "pt"
    assert events["ours", "fields"] == events["official", "fields"]


# -- what is different, and why ------------------------------------------------------------------------------------


async def test_differs_the_end_of_input(recording):
    """There the last sentence is lost and the stream never ends; here it is committed and told (openclaw#118782)."""
    official, ours = await scene(recording(ONE, after=0.0), finals=1, end_input=True)
    assert (official.texts, official.ended) == ([], False)
    assert (ours.texts, ours.ended) == ([ONE], True)


async def test_differs_an_expired_session(recording):
    """There one `error` event ends the stream for good (livekit/agents#2774); here a new connection goes on."""
    fault = CloseOn("input_audio_buffer.append", 1001, EXPIRED[1], error=EXPIRED, nth=30)
    official, ours = await scene(recording(ONE, TWO), faults=[fault])
    assert official.error is not None
    assert official.texts != [ONE, TWO]
    assert ours.error is None
    assert ours.texts == [ONE, TWO]


async def test_differs_completions_out_of_order(recording):
    """OpenAI does not promise an order. There finals come as they arrive; here as they were spoken."""
    official, ours = await scene(recording(ONE, TWO), faults=[DelayTranscription(0.3)])
    assert official.texts == [TWO, ONE]
    assert ours.texts == [ONE, TWO]


async def test_differs_a_sentence_that_fails(recording):
    """There nothing is told of it; here it is an error that does not end the stream."""
    official, ours = await scene(recording(ONE, TWO), faults=[FailTranscription()], finals=1)
    assert official.texts == ours.texts == [TWO]
    assert official.errors == []
    assert [error.recoverable for error in ours.errors] == [True]


async def test_differs_times_of_a_text(recording):
    """There a text has no place in the audio, so `aligned_transcript` is off; here it has."""
    official, ours = await scene(recording(ONE, before=0.5), finals=1)
    assert [(data.start_time, data.end_time) for data in official.finals] == [(0.0, 0.0)]
    (data,) = ours.finals
    assert 0 <= data.start_time < data.end_time <= recording(ONE, before=0.5).seconds
    assert openai.STT(api_key="sk-test", use_realtime=True).capabilities.aligned_transcript is False
    assert STT(api_key="sk-test").capabilities.aligned_transcript == "chunk"


async def test_differs_usage_in_seconds(recording):
    """There the seconds are those between two VAD events, whatever was billed (livekit/agents#1817)."""
    official, ours = await scene(recording(ONE), model=SERVER, finals=1)
    (billed,) = (event.recognition_usage.audio_duration for event in ours.of(Kind.RECOGNITION_USAGE))
    (guessed,) = (event.recognition_usage.audio_duration for event in official.of(Kind.RECOGNITION_USAGE))
    assert billed == int(billed)  # the server bills whole seconds
    assert guessed != billed


async def test_differs_a_streaming_model_is_told_that_turn_detection_is_off(recording):
    """There it is left out, which leaves the server's default in force and is refused (livekit/agents#5779)."""
    official, ours = await scene(recording(ONE), model=STREAMING, finals=1)
    assert official.error is not None
    assert "Turn detection is not supported" in str(official.error)
    assert ours.texts == [ONE]


async def test_differs_usage_outside_a_job():
    """There an HTTP session of a job is needed; here a plain program is enough."""
    async with Emulator() as server:
        ours = STT(api_key="sk-test", base_url=server.base_url)
        stream = ours.stream()
        await server.wait_sent("session.updated")
        await stream.aclose()
        await ours.aclose()
        official = openai.STT(api_key="sk-test", base_url=server.base_url, use_realtime=True)
        lost = official.stream(conn_options=QUICK)
        with pytest.raises(RuntimeError, match="job context"):
            await asyncio.wait_for(lost.__anext__(), 2.0)
        await lost.aclose()


async def test_differs_a_language_for_one_recognition(recording):
    """There it stays for all later ones; here it is for that call alone."""
    after = {}
    for name in PLUGINS:
        turns = [Turn(heard=ONE), Turn(heard=ONE)]
        async with Emulator(Script(turns)) as server, both(server, model=OLD, use_realtime=False) as made:
            for language in ({"language": "fr"}, {}):
                await made[name].recognize(list(recording(ONE).frames()), conn_options=QUICK, **language)
            after[name] = [upload.value("language") for upload in server.uploads]
    assert after == {"official": ["fr", "fr"], "ours": ["fr", "en"]}


DEFAULTS: dict[str, tuple[Any, Any, str]] = {
    "model": ("gpt-4o-mini-transcribe", "gpt-transcribe", "the official default is being shut down on 2027-02-26"),
}
"""Parameter -> the official default, ours, why."""


def test_differs_defaults():
    official, ours = (inspect.signature(plugin.__init__).parameters for plugin in (openai.STT, STT))
    found = {
        name: (official[name].default, ours[name].default)
        for name in official
        if official[name].default != ours[name].default
    }
    assert found == {name: (theirs, mine) for name, (theirs, mine, _why) in DEFAULTS.items()}


def test_differs_streaming_is_the_default():
    """There only the streaming models stream; an agent with any other waits for whole utterances of a VAD."""
    assert openai.STT(api_key="sk-test").capabilities.streaming is False
    assert STT(api_key="sk-test").capabilities.streaming is True


def test_differs_turn_detection_for_a_streaming_model():
    """There it is ignored with a warning; here it is refused by its name, before the network."""
    turn_detection: Any = {"type": "server_vad"}
    openai.STT(api_key="sk-test", model=STREAMING, turn_detection=turn_detection)
    with pytest.raises(ValueError, match="turn_detection"):
        STT(api_key="sk-test", model=STREAMING, turn_detection=turn_detection)


def test_differs_makers():
    """`with_ovhcloud` is a base URL and a model, which the constructor takes."""
    makers = {name for name in dir(openai.STT) if name.startswith("with_")}
    assert makers - set(dir(STT)) == {"with_ovhcloud"}
