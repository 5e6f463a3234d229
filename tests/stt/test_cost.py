"""What speech-to-text costs, and how a stream ends that has cost what it may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError
from livekit.agents import stt as lk

from livekit_plugins_openai_ga import STT, Price
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import AlterOn
from livekit_plugins_openai_ga.emulator.knobs import Knobs
from livekit_plugins_openai_ga.emulator.voice import synthetic
from livekit_plugins_openai_ga.stt import CostLimitReached, CostWarning
from tests.simulation.network import Network
from tests.simulation.run import simulate

QUICK = APIConnectOptions(max_retry=3, retry_interval=0.05, timeout=2.0)
A_CENT = {"gpt-transcribe": Price(per_minute=0.6)}
"""A cent for each second."""


class Listener:
    """A stream without a detector: `say` is one segment, whose text is waited for."""

    def __init__(self, server: Emulator, stt: STT) -> None:
        self.server = server
        self.stt = stt
        self.told: list[Any] = []
        self.errors: list[lk.STTError] = []
        self.texts: list[str] = []
        self.raised: APIError | None = None
        stt.on("error", self.errors.append)
        self.stream = stt.stream(conn_options=QUICK)
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for event in self.stream:
                if event.type is lk.SpeechEventType.FINAL_TRANSCRIPT:
                    self.texts.append(event.alternatives[0].text)
        except APIError as exc:
            self.raised = exc

    def listen(self) -> None:
        for name in ("cost_warning", "cost_limit_reached"):
            self.stt.on(name, self.told.append)

    def push(self, seconds: float = 1.0) -> None:
        pcm = (synthetic("Good morning everybody") * 9)[: round(seconds * 48000)]
        self.stream.push_frame(rtc.AudioFrame(pcm, 24000, 1, len(pcm) // 2))

    async def say(self, seconds: float = 1.0) -> None:
        self.push(seconds)
        self.stream.flush()
        await asyncio.sleep(2)


@pytest.fixture
def play() -> Callable[..., None]:
    """Play a stream in virtual time."""

    def run(scene: Callable[[Listener], Awaitable[None]], *, faults: Sequence[Any] = (), **options: Any) -> None:
        async def call(_: object) -> None:
            script = Script([Turn(heard=f"Text {number}.") for number in range(9)])
            async with Emulator(script, knobs=Knobs(speak=synthetic), faults=faults) as server:
                given = {"turn_detection": None, "vad": None, "api_key": "sk-test", "base_url": server.base_url}
                stt = STT(**{**given, **options})
                listener = Listener(server, stt)
                try:
                    await scene(listener)
                finally:
                    await stt.aclose()
                    await listener.reading

        assert simulate(1, Network(), call).violations == []

    return run


def test_a_stream_knows_what_it_has_used_and_cost_also_over_a_reconnect(play: Any) -> None:
    async def scene(made: Listener) -> None:
        assert made.stream.usage.model_usage == ()
        await made.say(1.0)
        await made.server.drop()
        await made.say(2.0)
        (used,) = made.stream.usage.model_usage
        assert (used.model, used.bills, used.audio_duration) == ("gpt-transcribe", 2, 3.0)
        assert made.stream.usage.cost_usd == pytest.approx(3 / 60 * 0.0045)
        assert made.stream.usage.cost_complete
        assert len(made.server.sessions) == 2

    play(scene)


def test_tokens_are_priced_by_their_kind(play: Any) -> None:
    async def scene(made: Listener) -> None:
        await made.say(1.0)
        (event,) = made.server.sent("conversation.item.input_audio_transcription.completed")
        usage = event["usage"]
        assert made.stream.usage.cost_usd == usage["input_token_details"]["audio_tokens"] + 2 * usage["output_tokens"]

    play(scene, model="gpt-4o-transcribe", prices={"gpt-4o-transcribe": Price(audio_in=1e6, text_out=2e6)})


def test_another_model_is_billed_as_itself(play: Any) -> None:
    async def scene(made: Listener) -> None:
        await made.say(1.0)
        made.stt.update_options(model="whisper-1")
        await made.say(1.0)
        assert [used.model for used in made.stream.usage.model_usage] == ["gpt-transcribe", "whisper-1"]

    play(scene)


def test_it_warns_then_tells_and_hears_ten_seconds_more(play: Any) -> None:
    async def scene(made: Listener) -> None:
        made.listen()
        for _ in range(4):
            await made.say(1.0)
        assert made.told == [CostWarning(pytest.approx(0.04), 0.05)]
        await made.say(1.0)
        assert made.told[1:] == [CostLimitReached(pytest.approx(0.05), 0.05, 10.0)]
        await made.say(1.0)
        assert len(made.texts) == 6
        assert not made.reading.done()
        await asyncio.sleep(12)
        assert made.reading.done()
        assert made.raised is not None
        (error,) = made.errors
        assert (error.recoverable, error.error.body.code) == (False, "max_cost_reached")  # type: ignore[attr-defined]

    play(scene, prices=A_CENT, max_cost=0.05)


def test_when_nobody_listens_what_was_said_gets_its_text_and_then_the_stream_ends(play: Any) -> None:
    async def scene(made: Listener) -> None:
        made.push(1.0)
        made.stream.flush()
        made.push(1.0)
        await made.server.wait_sent("conversation.item.input_audio_transcription.completed")
        await asyncio.wait_for(made.reading, 30)
        assert made.texts == ["Text 0.", "Text 1."]
        assert made.raised is not None
        assert "max_cost_reached" in str(made.raised)
        assert len(made.server.sessions) == 1

    play(scene, prices=A_CENT, max_cost=0.01)


def test_what_comes_behind_the_limit_is_not_heard(play: Any) -> None:
    async def scene(made: Listener) -> None:
        made.push(1.0)
        made.stream.flush()
        made.push(1.0)
        heard = "input_audio_buffer.append"
        await made.server.wait_sent("conversation.item.input_audio_transcription.completed")
        await asyncio.sleep(0.05)
        before = len(made.server.received(heard))
        made.push(3.0)
        await asyncio.wait_for(made.reading, 30)
        assert len(made.server.received(heard)) == before

    play(scene, prices=A_CENT, max_cost=0.01)


def test_an_input_that_ended_before_gets_all_its_texts_and_no_error(play: Any) -> None:
    async def scene(made: Listener) -> None:
        made.push(1.0)
        made.stream.flush()
        made.push(1.0)
        made.stream.end_input()
        await asyncio.wait_for(made.reading, 30)
        assert (made.texts, made.raised) == (["Text 0.", "Text 1."], None)

    play(scene, prices=A_CENT, max_cost=0.01)


def test_a_listener_that_raises_ends_nothing(play: Any) -> None:
    def broken(event: CostLimitReached) -> None:
        raise TypeError(event)

    async def scene(made: Listener) -> None:
        made.stt.on("cost_limit_reached", broken)
        await made.say(1.0)
        await made.say(1.0)
        assert len(made.texts) == 2

    play(scene, prices=A_CENT, max_cost=0.01)


def test_a_whole_utterance_has_no_limit(play: Any) -> None:
    async def scene(made: Listener) -> None:
        pcm = synthetic("Good morning everybody")
        event = await made.stt.recognize(rtc.AudioFrame(pcm, 24000, 1, len(pcm) // 2), conn_options=QUICK)
        assert event.alternatives[0].text == "Text 0."
        assert event.recognition_usage is not None

    play(scene, prices=A_CENT, max_cost=0.0001)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_cost": 0}, "max_cost=0 allows nothing"),
        ({"max_cost": 1, "model": "gpt-4o-transcribe"}, "audio_in, text_in, text_out of 'gpt-4o-transcribe' has"),
        ({"max_cost": 1, "model": "my-alias"}, r"per_minute of 'my-alias' .* pass prices=\{'my-alias': Price\(per_min"),
        ({"prices": {"gpt-transcribe": 0.1}}, "prices: 'gpt-transcribe' has 0.1: pass a Price"),
    ],
)
def test_a_limit_that_cannot_be_held_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        STT(api_key="sk-test", **options)


def test_a_model_without_a_price_is_refused_later_on_too() -> None:
    stt = STT(api_key="sk-test", max_cost=1.0)
    with pytest.raises(ValueError, match="of 'gpt-4o-transcribe' has no price here"):
        stt.update_options(model="gpt-4o-transcribe")
    assert stt.model == "gpt-transcribe"
    stt.update_options(model="whisper-1")
    STT(api_key="sk-test").update_options(model="gpt-4o-transcribe")


def test_a_text_of_which_nobody_says_what_was_used_makes_the_bill_incomplete(play: Any) -> None:
    async def scene(made: Listener) -> None:
        await made.say(1.0)
        await made.say(1.0)
        (used,) = made.stream.usage.model_usage
        assert (used.bills, used.unpriced, used.audio_duration) == (2, 1, 1.0)
        assert not made.stream.usage.cost_complete
        assert made.texts == ["Text 0.", "Text 1."]

    play(scene, faults=[AlterOn("conversation.item.input_audio_transcription.completed", without=("usage",))])
