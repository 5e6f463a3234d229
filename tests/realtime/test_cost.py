"""What a conversation costs: what is billed and at what price, and how it ends when that is too much."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, llm

from livekit_plugins_openai_ga import Price, RealtimeModel, RealtimeSession, models
from livekit_plugins_openai_ga.core.usage import ReplyUsage, reply_usage, total
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import AlterOn, DropOn, FailResponse, RefuseHandshake, RepeatOn
from livekit_plugins_openai_ga.emulator.knobs import Knobs
from livekit_plugins_openai_ga.emulator.voice import synthetic
from livekit_plugins_openai_ga.realtime import CostLimitReached, CostWarning
from tests.simulation.network import Network
from tests.simulation.run import simulate

QUICK = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=2.0)
TURNS = [Turn(say="Here I am, what can I do for you?") for _ in range(12)]
DEAR = Price(0.0, 0.0, 1_000_000.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""A USD for each token of text that is written."""


class Call:
    """A session, the server it is with, and what it told. `said` is when each reply was asked for and how it ended."""

    def __init__(self, server: Emulator, session: RealtimeSession) -> None:
        self.server = server
        self.session = session
        self.told: list[tuple[float, Any]] = []
        self.errors: list[llm.RealtimeModelError] = []
        session.on("error", self.errors.append)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def listen(self, *names: str) -> None:
        for name in names or ("cost_warning", "cost_limit_reached"):
            self.session.on(name, lambda event: self.told.append((self.now, event)))  # type: ignore[call-overload]

    async def reply(self) -> float:
        """Have a reply made; returns how long it is heard, in s."""
        reply = await self.session.generate_reply()
        seconds = 0.0
        async for message in reply.message_stream:
            async for frame in message.audio_stream:
                seconds += frame.duration
        return seconds

    async def speak(self, text: str = "Hello there") -> None:
        pcm = synthetic(text)
        self.session.push_audio(rtc.AudioFrame(pcm, 24000, 1, len(pcm) // 2))
        self.session.commit_audio()
        await self.server.wait_sent("conversation.item.input_audio_transcription.completed")
        await asyncio.sleep(0.1)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for it, a minute and a half at most."""
        for _ in range(9000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("did not happen")

    @property
    def billed(self) -> list[ReplyUsage]:
        """What the server put on the bill for replies."""
        used = [reply_usage(event["response"]["usage"]) for event in self.server.sent("response.done")]
        return [usage for usage in used if usage is not None]

    @property
    def written(self) -> int:
        return sum(usage.output_text for usage in self.billed)

    @property
    def over(self) -> bool:
        return self.session.info.state == "over"


@pytest.fixture
def play() -> Callable[..., None]:
    """Play a call in virtual time."""

    def run(
        scene: Callable[[Call], Awaitable[None]],
        *,
        turns: Sequence[Turn] = tuple(TURNS),
        faults: Sequence[Any] = (),
        log: bool = False,
        pace: float = 5.0,
        **options: Any,
    ) -> None:
        async def call(_: object) -> None:
            async with Emulator(Script(turns), knobs=Knobs(speak=synthetic, pace=pace), faults=faults) as server:
                given = {"api_key": "sk-test", "base_url": server.base_url, "conn_options": QUICK, **options}
                session = RealtimeModel(**given).session()
                try:
                    await scene(Call(server, session))
                finally:
                    await session.aclose()

        assert simulate(1, Network(), call, log=log).violations == []

    return run


# -- what is billed ------------------------------------------------------------------------------------------------


def test_usage_is_the_sum_of_what_the_server_billed_and_what_that_costs(play: Any) -> None:
    async def scene(call: Call) -> None:
        assert call.session.usage.model_usage == ()
        assert call.session.usage.cost_usd == 0.0
        for _ in range(3):
            await call.reply()
        first, *rest = call.billed
        billed = first
        for usage in rest:
            billed = total(billed, usage) or billed
        usage = call.session.usage
        (spoken,) = usage.model_usage
        assert (spoken.model, spoken.bills) == ("gpt-realtime-2.1", 3)
        assert (spoken.input_tokens, spoken.output_tokens) == (billed.input, billed.output)
        assert (spoken.input_cached_tokens, spoken.output_audio_tokens) == (billed.cached, billed.output_audio)
        assert spoken.input_cached_text_tokens == billed.cached_text > 0
        assert usage.cost_usd == pytest.approx(models.cost(billed, "gpt-realtime-2.1").total)
        assert usage.cost_usd == pytest.approx(spoken.cost.total)
        assert usage.cost_complete
        assert usage.prices_date == models.PRICES_DATE

    play(scene)


def test_a_transcript_is_billed_to_the_model_that_wrote_it(play: Any) -> None:
    async def scene(call: Call) -> None:
        await call.speak()
        (usage,) = [
            event["usage"] for event in call.server.sent("conversation.item.input_audio_transcription.completed")
        ]
        (written,) = call.session.usage.model_usage
        assert (written.model, written.audio_duration) == ("gpt-transcribe", usage["seconds"])
        assert call.session.usage.cost_usd == pytest.approx(usage["seconds"] / 60 * 0.0045)

    play(scene, turn_detection=None)


def test_a_price_of_ones_own_goes_before_the_tables(play: Any) -> None:
    async def scene(call: Call) -> None:
        await call.reply()
        assert call.session.usage.cost_usd == call.written > 0

    play(scene, prices={"gpt-realtime-2.1": DEAR})


def test_what_has_no_price_is_left_out_said_so_and_warned_of_once(play: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)

    async def scene(call: Call) -> None:
        await call.reply()
        await call.reply()
        usage = call.session.usage
        (spoken,) = usage.model_usage
        assert (usage.cost_usd, usage.cost_complete) == (0.0, False)
        assert (spoken.bills, spoken.unpriced) == (2, 2)
        assert spoken.cost.total is None

    play(scene, model="gpt-audio-1.5", log=True)
    assert sum("no price is known" in record.getMessage() for record in caplog.records) == 1


def test_the_log_says_what_each_reply_and_the_session_cost(play: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, logger="livekit.plugins.openai_ga")

    async def scene(call: Call) -> None:
        await call.reply()
        await call.reply()

    play(scene, log=True)
    replies = [record for record in caplog.records if record.getMessage().startswith("billed:")]
    assert len(replies) == 2
    assert vars(replies[0])["cost_audio_out"] > 0
    (whole,) = [record for record in caplog.records if record.getMessage().startswith("the session cost")]
    assert vars(whole)["cost_complete"]
    assert models.PRICES_DATE in whole.getMessage()


def test_a_reply_that_fails_and_is_asked_for_again_is_billed_each_time(play: Any) -> None:
    async def scene(call: Call) -> None:
        await call.reply()
        (spoken,) = call.session.usage.model_usage
        assert spoken.bills == 2
        assert spoken.input_tokens == sum(each.input for each in call.billed)

    play(scene, faults=[FailResponse()])


def test_a_reply_that_was_given_up_is_billed_all_the_same(play: Any) -> None:
    async def scene(call: Call) -> None:
        reply = call.session.generate_reply()
        await call.server.wait_sent("session.updated")
        await call.until(lambda: call.server.received("response.create"))
        reply.cancel()
        await call.server.wait_sent("response.done")
        await asyncio.sleep(0.1)
        (spoken,) = call.session.usage.model_usage
        assert spoken.input_tokens == call.billed[0].input

    play(scene)


def test_an_end_that_is_told_twice_is_billed_once(play: Any) -> None:
    async def scene(call: Call) -> None:
        await call.reply()
        await asyncio.sleep(0.1)
        assert call.session.usage.model_usage[0].bills == 1

    play(scene, faults=[RepeatOn("response.done")])


def test_the_bill_goes_on_over_a_reconnect(play: Any) -> None:
    async def scene(call: Call) -> None:
        await call.reply()
        before = call.session.usage.cost_usd
        await call.server.drop()
        await call.reply()
        (spoken,) = call.session.usage.model_usage
        assert spoken.bills == 2
        assert call.session.usage.cost_usd > before
        assert len(call.server.sessions) == 2

    play(scene)


def test_tokens_of_which_the_server_does_not_say_the_kind_have_no_price(play: Any) -> None:
    done = {"response": {"id": "r", "status": "completed", "usage": {"input_tokens": 9, "output_tokens": 9}}}

    async def scene(call: Call) -> None:
        call.session.generate_reply()
        await call.server.wait_sent("response.done")
        await asyncio.sleep(0.1)
        (spoken,) = call.session.usage.model_usage
        assert (spoken.cost.unknown, call.session.usage.cost_complete) == (("other",), False)

    play(scene, faults=[AlterOn("response.done", done)])


def test_a_transcript_of_which_nobody_says_what_was_used_makes_the_bill_incomplete(play: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)

    async def scene(call: Call) -> None:
        for _ in range(2):
            await call.speak()
            await asyncio.sleep(1)
        (written,) = call.session.usage.model_usage
        assert (written.model, written.bills, written.unpriced) == ("gpt-transcribe", 2, 2)
        assert not call.session.usage.cost_complete

    untold = AlterOn("conversation.item.input_audio_transcription.completed", without=("usage",), times=2)
    play(scene, faults=[untold], turn_detection=None, log=True)
    assert sum("does not say what was used" in record.getMessage() for record in caplog.records) == 1


# -- max_cost ------------------------------------------------------------------------------------------------------


def limited(usd: float, **more: Any) -> dict[str, Any]:
    return {"prices": {"gpt-realtime-2.1": DEAR}, "max_cost": usd, **more}


def per_reply(play: Any) -> int:
    """Tokens of text in each reply of the script."""
    tokens: list[int] = []

    async def scene(call: Call) -> None:
        await call.reply()
        tokens.append(call.written)

    play(scene)
    return tokens[0]


def test_it_warns_at_80_percent_and_tells_at_100_each_once(play: Any) -> None:
    each = per_reply(play)

    async def scene(call: Call) -> None:
        call.listen()
        for spent in range(1, 6):
            await call.reply()
            assert call.session.usage.cost_usd == each * spent
        await call.reply()
        assert [event for _, event in call.told] == [
            CostWarning(4 * each, 5 * each),
            CostLimitReached(5 * each, 5 * each, 10.0),
        ]
        assert call.errors == []

    play(scene, **limited(5 * each))


def test_when_nobody_listens_the_session_ends_when_the_reply_was_heard(play: Any) -> None:
    async def scene(call: Call) -> None:
        seconds = await call.reply()
        made, began = call.now, call.now - seconds / 5
        with pytest.raises(llm.RealtimeError) as refused:
            await call.session.generate_reply()
        assert refused.value.code == "max_cost_reached"
        await call.until(lambda: call.over)
        assert made + 1 < began + seconds <= call.now + 0.2 < began + seconds + 2
        (error,) = call.errors
        assert not error.recoverable
        assert error.error.body.code == "max_cost_reached"  # type: ignore[attr-defined]
        await asyncio.sleep(1)
        assert len(call.server.received("response.create")) == 1
        assert len(call.server.sessions) == 1

    play(scene, **limited(1.0))


def test_a_goodbye_that_is_asked_for_is_made_and_heard_out(play: Any) -> None:
    goodbye = Turn(say=" ".join(["Goodbye and thank you for your call, it was a pleasure to talk to you."] * 6))
    ends: list[float] = []

    async def scene(call: Call) -> None:
        def say_goodbye(_: CostLimitReached) -> None:
            asked = call.session.generate_reply(instructions="Say goodbye.")
            asked.add_done_callback(lambda reply: ends.append(call.now))

        call.session.on("cost_limit_reached", say_goodbye)
        await call.reply()
        reached = call.now
        await call.until(lambda: call.over)
        (began,) = ends
        assert began < reached + 1
        (usage,) = call.billed[1:]
        assert call.now > began + usage.output_audio / 20 > reached + 10
        assert [error.recoverable for error in call.errors] == [False]

    play(scene, turns=[TURNS[0], goodbye], **limited(1.0))


def test_after_the_grace_time_no_reply_is_made_and_the_session_ends_whoever_listens(play: Any) -> None:
    async def scene(call: Call) -> None:
        call.listen("cost_limit_reached")
        await call.reply()
        ((reached, _),) = call.told
        await asyncio.sleep(9.5)
        assert not call.over
        await asyncio.sleep(1.5)
        assert call.over
        assert call.now == pytest.approx(reached + 11, abs=0.5)

    play(scene, **limited(1.0))


def test_an_application_that_hangs_up_hears_of_no_error(play: Any) -> None:
    async def scene(call: Call) -> None:
        closing: list[asyncio.Future[None]] = []
        call.session.on("cost_limit_reached", lambda _: closing.append(asyncio.ensure_future(call.session.aclose())))
        await call.reply()
        await asyncio.sleep(30)
        assert (call.over, call.errors, len(closing)) == (True, [], 1)

    play(scene, **limited(1.0))


def test_at_the_limit_the_server_answers_no_turn_by_itself_whatever_else_is_changed(play: Any) -> None:
    async def scene(call: Call) -> None:
        call.listen("cost_limit_reached")
        await call.reply()
        await asyncio.sleep(0.5)
        call.session.update_options(turn_detection={"type": "server_vad", "threshold": 0.7})
        await asyncio.sleep(0.5)
        first, *later = [
            event["session"]["audio"]["input"]["turn_detection"] for event in call.server.received("session.update")
        ]
        assert first.get("create_response") is not False
        assert len(later) == 2
        assert [each["create_response"] for each in later] == [False, False]
        assert call.session.capabilities.turn_detection

    play(scene, **limited(1.0))


def test_the_limit_is_that_of_all_connections_together(play: Any) -> None:
    each = per_reply(play)

    async def scene(call: Call) -> None:
        call.listen("cost_limit_reached")
        await call.reply()
        await call.server.drop()
        await call.reply()
        assert len(call.told) == 1

    play(scene, **limited(2 * each))


def test_a_transcript_can_reach_the_limit_while_a_reply_is_made_which_is_made_to_its_end(play: Any) -> None:
    async def scene(call: Call) -> None:
        reply = asyncio.ensure_future(call.reply())
        await call.server.wait_sent("response.created")
        await call.speak()
        assert call.session.usage.cost_usd > 0.001
        assert await reply > 1
        assert call.server.sent("response.done")[0]["response"]["status"] == "completed"

    long = Turn(say=" ".join(["One thing after the other."] * 8))
    prices = {"gpt-realtime-2.1": DEAR, "gpt-transcribe": Price(per_minute=60.0)}
    play(scene, turns=[long, *TURNS], turn_detection=None, prices=prices, max_cost=0.001)


def test_a_session_without_a_connection_ends_all_the_same(play: Any) -> None:
    async def scene(call: Call) -> None:
        call.listen("cost_limit_reached")
        await call.reply()
        for _ in range(99):
            call.server.add_fault(RefuseHandshake(503))
        await call.server.drop()
        await asyncio.sleep(5)
        assert not call.over
        await asyncio.sleep(6)
        assert call.over
        (final,) = [error.error for error in call.errors if not error.recoverable]
        assert "max_cost_reached" in str(final)

    patient = APIConnectOptions(max_retry=500, retry_interval=0.5, timeout=2.0)
    play(scene, conn_options=patient, **limited(1.0))


@pytest.mark.parametrize("before", [0.0001, 0.001, 0.02])
def test_a_session_that_changes_its_connection_when_the_grace_time_ends_is_over_all_the_same(
    play: Any, before: float
) -> None:
    async def scene(call: Call) -> None:
        call.listen("cost_limit_reached")
        await call.reply()
        ((reached, _),) = call.told
        asyncio.get_running_loop().call_at(reached + 10 - before, call.session.restart)
        await asyncio.sleep(15)
        assert call.over
        assert [error.recoverable for error in call.errors] == [False]

    play(scene, **limited(1.0))


LONG = Turn(say=" ".join(["One thing after the other, and so on."] * 14))
"""More than the grace time."""


def made(call: Call) -> int:
    return len(call.server.received("response.create"))


def test_replies_that_wait_for_another_one_are_refused_when_the_grace_time_ends(play: Any) -> None:
    asked: list[asyncio.Future[Any]] = []

    async def scene(call: Call) -> None:
        def say_goodbye(_: CostLimitReached) -> None:
            asked.extend(call.session.generate_reply() for _ in range(4))

        call.session.on("cost_limit_reached", say_goodbye)
        await call.reply()
        await call.until(lambda: call.session.info.state == "over")
        first, *others = asked
        assert first.exception() is None
        assert [other.exception().code for other in others] == ["max_cost_reached"] * 3  # type: ignore[union-attr]
        assert made(call) == 2
        assert [error.recoverable for error in call.errors] == [False]

    # A server that makes speech as fast as it is heard.
    play(scene, turns=[TURNS[0], LONG], pace=1.0, **limited(1.0))


def test_replies_that_wait_when_nobody_listens_are_not_made(play: Any) -> None:
    async def scene(call: Call) -> None:
        first, *others = [call.session.generate_reply() for _ in range(3)]
        await first
        for other in others:
            with pytest.raises(llm.RealtimeError, match="max_cost_reached"):
                await other
        await call.until(lambda: call.over)
        assert made(call) == 1

    play(scene, **limited(1.0))


def test_a_reply_that_failed_is_not_asked_for_again_when_the_limit_is_reached(play: Any) -> None:
    async def scene(call: Call) -> None:
        reply = await call.session.generate_reply()
        end = await reply.end()
        assert end.status == "failed"
        await call.until(lambda: call.over)
        assert made(call) == 1

    prices = {"gpt-realtime-2.1": Price(1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6)}
    play(scene, faults=[FailResponse()], prices=prices, max_cost=1.0)


def test_a_text_that_is_read_to_its_end_after_the_grace_time_is_not_said(play: Any) -> None:
    async def scene(call: Call) -> None:
        async def words() -> AsyncIterator[str]:
            yield "Good"
            await asyncio.sleep(12)
            yield "bye."

        said: list[asyncio.Future[Any]] = []
        call.session.on("cost_limit_reached", lambda _: said.append(call.session.say(words())))
        await call.reply()
        reached = call.now
        await call.until(lambda: call.over)
        assert call.now == pytest.approx(reached + 10, abs=1)
        assert said[0].exception().code == "max_cost_reached"  # type: ignore[union-attr]
        assert made(call) == 1

    play(scene, read_aloud=True, **limited(1.0))


@pytest.mark.parametrize("silence", ["interrupt", "truncate"])
def test_what_was_interrupted_is_not_waited_for(play: Any, silence: str) -> None:
    async def scene(call: Call) -> None:
        reply = await call.session.generate_reply()
        async for message in reply.message_stream:
            async for _ in message.audio_stream:
                pass
        assert not call.over
        heard = call.now
        if silence == "interrupt":
            call.session.interrupt()
        else:
            call.session.truncate(message_id=message.message_id, modalities=["audio"], audio_end_ms=500)
        await call.until(lambda: call.over)
        assert call.now < heard + 1

    play(scene, turns=[LONG], **limited(1.0))


def test_a_dropped_reply_that_comes_again_reaches_the_limit_once(play: Any) -> None:
    async def scene(call: Call) -> None:
        call.listen()
        await call.reply()
        assert [type(event) for _, event in call.told] == [CostLimitReached]

    play(scene, faults=[DropOn("response.created")], **limited(1.0))


# -- what is refused at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_cost": 0}, "max_cost=0 allows nothing"),
        ({"max_cost": -1}, "max_cost=-1 is not supported"),
        ({"max_cost": "1"}, "max_cost='1' is not supported"),
        ({"max_cost": 1, "model": "my-alias"}, r"of 'my-alias' has no price here; pass prices=\{'my-alias': Price\("),
        ({"max_cost": 1, "fallback_models": ["gpt-audio-1.5"]}, "of 'gpt-audio-1.5' has no price here"),
        (
            {"max_cost": 1, "input_audio_transcription": {"model": "gpt-4o-transcribe"}},
            "audio_in, text_in, text_out of 'gpt-4o-tr",
        ),
        ({"max_cost": 1, "input_audio_transcription": {"model": "alias"}}, "per_minute of 'alias' has no price"),
        ({"max_cost": 1, "prices": {"gpt-realtime-2.1": Price(text_in=1.0)}}, "text_cached, text_out, audio_in"),
        ({"prices": {"my-alias": 4.0}}, "prices: 'my-alias' has 4.0: pass a Price"),
        ({"prices": [Price()]}, "prices=.* is not supported: pass a dict"),
        ({"prices": {"my-alias": Price(text_in=-1.0)}}, "text_in=-1.0 of 'my-alias' is no price"),
        ({"prices": {"my-alias": Price(audio_out=float("nan"))}}, "audio_out=nan of 'my-alias' is no price"),
        ({"prices": {"my-alias": Price(per_minute=True)}}, "per_minute=True of 'my-alias' is no price"),
    ],
)
def test_a_limit_that_cannot_be_held_is_refused(options: dict[str, Any], sentence: str) -> None:
    given = {"base_url": "https://gateway.example/v1", **options}
    with pytest.raises(ValueError, match=sentence):
        RealtimeModel(api_key="sk-test", **given)


@pytest.mark.parametrize(
    "options",
    [
        {"max_cost": 1},
        {"max_cost": 0.5, "modalities": ["text"], "prices": {"gpt-realtime-2.1": Price(1, 1, 1, 1, 1)}},
        {"max_cost": 1, "input_audio_transcription": None},
        {"max_cost": 1, "input_audio_transcription": {"model": "alias"}, "prices": {"alias": Price(per_minute=0.01)}},
        {
            "max_cost": 1,
            "input_audio_transcription": {"model": "gpt-4o-transcribe"},
            "prices": {"gpt-4o-transcribe": Price(audio_in=6.0, text_in=2.5, text_out=10.0)},
        },
    ],
)
def test_a_limit_that_can_be_held_is_taken(options: dict[str, Any]) -> None:
    taken = RealtimeModel(api_key="sk-test", **options).options
    assert taken.max_cost == options["max_cost"]
    assert "Price(" not in repr(taken)


def test_a_model_for_transcripts_without_a_price_is_refused_later_on_too() -> None:
    model = RealtimeModel(api_key="sk-test", max_cost=1.0)
    with pytest.raises(ValueError, match="of 'gpt-4o-transcribe' has no price here"):
        model.update_options(input_audio_transcription={"model": "gpt-4o-transcribe"})
    assert model.options.values["input_audio_transcription"]["model"] == "gpt-transcribe"
    model.update_options(input_audio_transcription={"model": "whisper-1"})
    RealtimeModel(api_key="sk-test").update_options(input_audio_transcription={"model": "gpt-4o-transcribe"})


def test_azures_deployments_have_the_prices_that_are_passed() -> None:
    price = Price(1, 1, 1, 1, 1, 1)
    where = {"azure_deployment": "talker", "azure_endpoint": "https://me.openai.azure.com", "api_key": "k"}
    model = RealtimeModel.with_azure(**where, prices={"talker": price}, max_cost=2.0)  # type: ignore[arg-type]
    assert (model.options.max_cost, model.options.prices["talker"]) == (2.0, price)
    with pytest.raises(ValueError, match="of 'talker' has no price here"):
        RealtimeModel.with_azure(**where, max_cost=2.0)  # type: ignore[arg-type]
