"""Another model for the one that is refused: at the start, in the middle of a call, for sessions made later."""

from __future__ import annotations

import logging

import pytest
from livekit.agents import llm
from livekit.agents.metrics import RealtimeModelMetrics

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import RejectHandshake
from livekit_plugins_openai_ga.options import Options
from livekit_plugins_openai_ga.realtime import ModelChanged

FIRST, SECOND, THIRD = "gpt-realtime-2.1", "gpt-realtime-2.1-mini", "gpt-realtime-1.5"


def gone(*, nth: int = 1, times: int = 1, code: str = "model_not_found") -> RejectHandshake:
    return RejectHandshake(code, "The model has been shut down.", 4000, nth=nth, times=times)


def asked(server: Emulator) -> list[str]:
    return [handshake.query["model"] for handshake in server.handshakes]


@pytest.mark.parametrize("code", ["model_not_found", "invalid_model"])
async def test_the_next_model_answers_and_it_is_told_once(open_session, reading, caplog, code):
    async with Emulator(Script([Turn(say="Here.")]), faults=[gone(code=code)]) as server:
        call = open_session(server, fallback_models=[SECOND])
        changes: list[ModelChanged] = []
        call.session.on("model_changed", changes.append)
        with caplog.at_level(logging.WARNING):
            assert [text for text, _ in await reading(await call.session.generate_reply())] == ["Here."]
        assert asked(server) == [FIRST, SECOND]
        assert [(change.refused, change.model) for change in changes] == [(FIRST, SECOND)]
        assert code in changes[0].reason
        assert [record.getMessage() for record in caplog.records if SECOND in record.getMessage()] == [
            f"{FIRST} was refused, going on with {SECOND}: {changes[0].reason}"
        ]
        assert call.errors == []


async def test_a_model_that_dies_in_a_call_leaves_the_conversation_to_the_next(open_session, reading):
    turns = [Turn(say="One."), Turn(say="Two.")]
    async with Emulator(Script(turns), faults=[gone(nth=2)]) as server:
        call = open_session(server, fallback_models=[SECOND])
        await call.session.update_instructions("Count.")
        await reading(await call.session.generate_reply())
        await server.drop()
        await call.first("session_reconnected")
        assert [text for text, _ in await reading(await call.session.generate_reply())] == ["Two."]
        assert asked(server) == [FIRST, FIRST, SECOND]
        last = server.sessions[-1]
        (configured,) = [event["session"] for event in last.received if event["type"] == "session.update"]
        assert configured["instructions"] == "Count."
        replayed = [event["item"] for event in last.received if event["type"] == "conversation.item.create"]
        assert [item["content"][0]["text"] for item in replayed] == ["One."]


async def test_each_model_is_asked_for_once_and_then_it_is_over(open_session):
    async with Emulator(faults=[gone(times=9)]) as server:
        call = open_session(server, fallback_models=[SECOND, THIRD])
        with pytest.raises(llm.RealtimeError, match="model_not_found"):
            await call.session.generate_reply()
        assert asked(server) == [FIRST, SECOND, THIRD]
        assert [error.recoverable for error in call.errors] == [False]


async def test_another_refusal_does_not_change_the_model(open_session):
    fault = RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000)
    async with Emulator(faults=[fault]) as server:
        call = open_session(server, fallback_models=[SECOND])
        with pytest.raises(llm.RealtimeError, match="invalid_api_key"):
            await call.session.generate_reply()
        assert asked(server) == [FIRST]


async def test_sessions_made_later_begin_with_the_model_that_answers(reading):
    async with Emulator(Script([Turn(say="Here.")]), faults=[gone()]) as server:
        model = RealtimeModel(api_key="sk-test", base_url=server.base_url, fallback_models=[SECOND])
        for _ in range(2):
            session = model.session()
            await reading(await session.generate_reply())
            await session.aclose()
        assert asked(server) == [FIRST, SECOND, SECOND]
        assert model.model == SECOND


@pytest.mark.skipif(
    "metadata" not in RealtimeModelMetrics.model_fields, reason="metrics of this release of LiveKit name no model"
)
async def test_metrics_name_the_model_that_answered(open_session, reading):
    async with Emulator(Script([Turn(say="Here.")]), faults=[gone()]) as server:
        call = open_session(server, fallback_models=[SECOND])
        await reading(await call.session.generate_reply())
        await call.until(lambda: any(metrics.request_id for metrics in call.events["metrics_collected"]))
        (metrics,) = [metrics for metrics in call.events["metrics_collected"] if metrics.request_id]
        assert metrics.metadata.model_name == SECOND


def native(**given: object) -> Options:
    return RealtimeModel(api_key="sk-test", base_url="https://api.openai.com/v1", **given).options


def test_what_the_next_model_does_not_take_is_left_out(caplog):
    options = native(reasoning={"effort": "low"}, fallback_models=[THIRD])
    assert options.values["reasoning"] == {"effort": "low"}
    following = options.without_model()
    assert following is not None
    assert following.model == THIRD
    assert "reasoning" not in following.values
    assert following.without_model() is None
    assert "reasoning is left out: gpt-realtime-1.5 is not a reasoning model" in caplog.text


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (SECOND, "is one name: pass a list"),
        ([""], "fallback_models is missing"),
        (["gpt-4o-realtime-preview"], "fallback_models: "),
        (["gpt-transcribe"], "fallback_models='gpt-transcribe' cannot hold a conversation"),
    ],
)
def test_a_list_that_cannot_work_is_refused_at_once(models, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        native(fallback_models=models)
