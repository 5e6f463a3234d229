"""A server that refuses: how often it is asked, what is told, and that nothing is left waiting."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

import pytest
from livekit.agents import APIConnectOptions, APIStatusError, llm

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import CloseOn, RefuseHandshake, RejectHandshake

FOREVER = 1000
OVERLOADED = ("server_error", "The server had an error.")


def everything(session):
    """A request of each kind."""
    history = llm.ChatContext()
    history.add_message(role="user", content="My name is Ada.")
    return {
        "reply": session.generate_reply(),
        "another reply": session.generate_reply(conversation="none"),
        "instructions": asyncio.ensure_future(session.update_instructions("Be brief.")),
        "tools": asyncio.ensure_future(session.update_tools([])),
        "history": asyncio.ensure_future(session.update_chat_ctx(history)),
    }


async def all_fail_with(requests, code):
    for name, request in requests.items():
        with pytest.raises(llm.RealtimeError) as caught:
            await asyncio.wait_for(request, 5)
        assert caught.value.code == code, name


async def the_end(call):
    """The one error that says that it is over; nothing is said after it, and closing takes no time."""
    await call.until(lambda: any(not error.recoverable for error in call.errors))
    seen = len(call.errors)
    started = time.monotonic()
    await call.session.aclose()
    assert time.monotonic() - started < 1.0
    assert len(call.errors) == seen
    final = call.errors[-1]
    assert [error.recoverable for error in call.errors] == [True] * (seen - 1) + [False]
    assert [task for task in asyncio.all_tasks() if "openai_ga" in task.get_name()] == []
    return final


@pytest.mark.parametrize(
    ("fault", "code", "words", "attempts"),
    [
        (RejectHandshake(*OVERLOADED, 4000, "server_error"), "server_error", "status.openai.com", 3),
        (RejectHandshake("rate_limit_exceeded", "Slow down.", 3000), "rate_limit_exceeded", "Open fewer sessions", 3),
        (CloseOn("session.created", 4000, "", OVERLOADED), "server_error", "status.openai.com", 3),
        (RejectHandshake("invalid_model", "No such model.", 4000), "invalid_model", "Set `model`", 1),
        (RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000), "invalid_api_key", "api_key", 1),
        (RejectHandshake("beta_api_shape_disabled", "No longer.", 4000), "beta_api_shape_disabled", "OpenAI-Beta", 1),
        (CloseOn("session.created", 4000, "invalid_request_error.invalid_model"), "invalid_model", "Set `model`", 1),
    ],
    ids=["4000 passing", "3000 passing", "4000 after a session", "model", "key", "beta", "only a reason"],
)
async def test_a_close_on_every_connect_is_bounded_told_once_and_leaves_nothing_waiting(
    open_session, fault, code, words, attempts
):
    async with Emulator(faults=[replace(fault, times=FOREVER)]) as server:
        call = open_session(server)
        await all_fail_with(everything(call.session), code)
        error = await the_end(call)
        assert len(server.handshakes) == attempts
        assert error.error.body.code == code
        assert words in str(error.error)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_permanent_http_status_takes_one_attempt_and_carries_status_and_body(open_session, status):
    body = json.dumps({"error": {"message": "Not for you.", "code": "some_code"}})
    async with Emulator(faults=[RefuseHandshake(status, body, times=FOREVER)]) as server:
        call = open_session(server)
        requests = everything(call.session)
        error = await the_end(call)
        await all_fail_with(requests, "some_code")
        assert isinstance(error.error, APIStatusError)
        assert error.error.status_code == status
        assert "Not for you." in str(error.error)
        assert len(server.handshakes) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_passing_http_status_is_tried_again_until_the_attempts_are_used(open_session, status):
    async with Emulator(faults=[RefuseHandshake(status, times=FOREVER)]) as server:
        call = open_session(server)
        requests = everything(call.session)
        error = await the_end(call)
        await all_fail_with(requests, f"http_{status}")
        assert error.error.status_code == status
        assert len(server.handshakes) == 3


async def test_retry_after_is_the_least_that_is_waited(open_session, reading, caplog):
    async with Emulator(Script([Turn(say="Hi.")]), faults=[RefuseHandshake(429, retry_after=0.5)]) as server:
        call = open_session(server)
        await call.first("error")
        refused = time.monotonic()
        assert (await reading(await call.session.generate_reply()))[0][0] == "Hi."
        assert time.monotonic() - refused > 0.4
        assert "next attempt in 0.5 s" in caplog.text


async def test_a_server_that_asks_for_an_hour_is_not_waited_for(open_session):
    patient = APIConnectOptions(max_retry=5, retry_interval=0.05, timeout=2.0)
    async with Emulator(faults=[RefuseHandshake(429, retry_after=3600, times=FOREVER)]) as server:
        call = open_session(server, conn_options=patient)
        await all_fail_with(everything(call.session), "http_429")
        error = await the_end(call)
        assert "asks to wait 3600 s" in str(error.error)
        assert len(server.handshakes) == 1


async def test_a_call_that_outlives_its_attempts_gets_them_back_only_by_living(open_session):
    """Confirmed and closed at once, again and again: that is a failure in a row, too."""
    async with Emulator(faults=[CloseOn("session.updated", 1011, times=FOREVER)]) as server:
        call = open_session(server)
        await the_end(call)
        assert len(server.handshakes) == 3


async def test_a_key_provider_is_asked_for_every_connection(open_session, reading):
    async with Emulator(Script([Turn(say="Hi.")])) as server:
        asked = []

        async def key():
            server.secrets.expire()
            asked.append(server.secrets.mint({"type": "realtime", "model": "gpt-realtime-2.1"}).value)
            return asked[-1]

        call = open_session(server, api_key=key)
        await server.wait_sent("session.updated")
        await server.drop()
        await server.wait_sent("session.updated", count=2)
        assert (await reading(await call.session.generate_reply()))[0][0] == "Hi."
        assert [shake.headers["authorization"] for shake in server.handshakes] == [f"Bearer {key}" for key in asked]
        assert len(asked) == 2


async def test_a_key_that_the_provider_kept_too_long_costs_one_attempt(open_session, reading):
    async with Emulator(Script([Turn(say="Hi.")]), knobs=Knobs(api_keys=frozenset({"sk-new"}))) as server:
        keys = iter(["sk-old", "sk-new"])
        call = open_session(server, api_key=lambda: next(keys))
        assert (await reading(await call.session.generate_reply()))[0][0] == "Hi."
        assert [(error.recoverable, error.error.body.code) for error in call.errors] == [(True, "invalid_api_key")]


async def test_a_key_provider_that_is_cancelled_inside_is_told_and_asked_again(open_session):
    async def key():
        raise asyncio.CancelledError

    async with Emulator() as server:
        error = await the_end(open_session(server, api_key=key))
        assert error.error.body.code == "key_provider_failed"
        assert not server.handshakes


async def test_a_client_secret_serves_until_its_session_ends(open_session, reading):
    async with Emulator(Script([Turn(say="Hi.")])) as server:
        secret = server.secrets.mint({"type": "realtime", "model": "gpt-realtime-2.1"})
        call = open_session(server, api_key=secret.value)
        await server.wait_sent("session.updated")
        server.secrets.expire()
        assert (await reading(await call.session.generate_reply()))[0][0] == "Hi."
        await server.drop()
        error = await the_end(call)
        assert error.error.body.code == "client_secret_refused"
        assert "pass a function as `api_key`" in str(error.error)


async def test_a_prewarmed_connection_outlives_the_key_it_was_opened_with(reading):
    async with Emulator(Script([Turn(say="Hi.")])) as server:
        secret = server.secrets.mint({"type": "realtime", "model": "gpt-realtime-2.1"})
        model = RealtimeModel(base_url=server.base_url, api_key=secret.value)
        model.prewarm()
        await server.wait_sent("session.created")
        server.secrets.expire()
        session = model.session()
        assert (await reading(await session.generate_reply()))[0][0] == "Hi."
        assert len(server.handshakes) == 1
        await session.aclose()
        await model.aclose()
