"""Where a connection goes and with what credential; sockets are opened on the emulator."""

from __future__ import annotations

import asyncio
import functools
import re
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit.agents import APIConnectOptions

from livekit_plugins_openai_ga.connection import DEFAULT_MAX_SESSION_DURATION, Connection
from livekit_plugins_openai_ga.emulator import Emulator, Knobs
from livekit_plugins_openai_ga.emulator.faults import RefuseHandshake, RejectHandshake
from livekit_plugins_openai_ga.errors import Failure, Kind
from livekit_plugins_openai_ga.transport.link import LinkFailed
from livekit_plugins_openai_ga.wire.endpoint import Service
from livekit_plugins_openai_ga.wire.server_events import Malformed

GATEWAY = "https://gw.example/prefix/v1?team=a"
MODEL = "gpt-realtime-2.1"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def server() -> AsyncIterator[Emulator]:
    async with Emulator() as running:
        yield running


def connection(**given: Any) -> Connection:
    return Connection.create(**{"api_key": "sk-test", **given})


async def refused(made: Connection, timeout: float | None = None) -> Failure:
    with pytest.raises(LinkFailed) as caught:
        await made.open(Service.REALTIME, model=MODEL, timeout=timeout)
    return caught.value.failure


# -- where values come from ----------------------------------------------------------------------------------------


def test_key_and_base_url_fall_back_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-env\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://eu.api.openai.com/v1")
    made = Connection.create()
    assert made.endpoint(Service.TRANSCRIPTION).url == "wss://eu.api.openai.com/v1/realtime?intent=transcription"
    assert made.endpoint(Service.TRANSCRIPTION).headers == {"Authorization": "Bearer sk-env"}


def test_a_token_provider_needs_no_key_and_takes_none_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    made = Connection.create(api_key=lambda: "token")
    assert made.api_key == ""
    assert made.endpoint(Service.REALTIME, model=MODEL).headers == {}


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8765/v1", "ws://localhost/v1", "https://[::1]:1/v1"])
def test_a_server_on_this_machine_needs_no_key(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = Connection.create(base_url=base_url).endpoint(Service.REALTIME, model=MODEL).headers
    assert headers == {"Authorization": "Bearer no-key"}
    monkeypatch.setenv("OPENAI_BASE_URL", base_url)
    assert Connection.create().api_key == "no-key"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    assert Connection.create().api_key == "sk-env"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"api_key": None}, "api_key is missing"),
        ({"api_key": None, "base_url": "http://10.0.0.1/v1", "allow_insecure": True}, "api_key is missing"),
        ({"api_key": None, "base_url": "https://localhost.evil.test/v1"}, "api_key is missing"),
        ({"api_key": "two words"}, "`api_key`"),
        ({"api_key": 7}, "api_key is neither a text nor a function"),
        ({"base_url": "api.openai.com/v1"}, "`base_url`"),
        ({"base_url": "http://gw.example/v1"}, "allow_insecure"),
        ({"extra_headers": {"OpenAI-Beta": "realtime=v1"}}, "OpenAI-Beta"),
        ({"heartbeat": 0}, "heartbeat=0"),
        ({"max_session_duration": 0}, "max_session_duration=0"),
    ],
)
def test_what_cannot_work_is_refused_at_once_in_one_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        connection(**given)
    assert "two words" not in str(caught.value)


def test_a_connection_ends_before_the_server_ends_it_or_never() -> None:
    assert connection().max_session_duration == DEFAULT_MAX_SESSION_DURATION < 3600
    assert connection(max_session_duration=None).max_session_duration is None


def test_only_openais_own_host_is_native() -> None:
    assert connection().is_native
    assert connection(base_url="https://API.openai.com.:443/v1").is_native
    for other in ("https://eu.api.openai.com/v1", "https://api.openai.com.evil.test/v1", GATEWAY):
        assert not connection(base_url=other).is_native


def test_an_upload_goes_over_http_to_the_same_place() -> None:
    where = connection(base_url=GATEWAY, extra_query={"intent": "transcription"}).endpoint(Service.UPLOAD)
    assert where.url == "https://gw.example/prefix/v1/audio/transcriptions?team=a"


def test_extras_can_be_replaced_and_taken_back() -> None:
    made = connection(extra_headers={"X-A": "1"}, extra_query={"a": "1"})
    assert made.changed() == made
    assert made.changed(extra_query={"b": "2"}).extra_query == {"b": "2"}
    assert made.changed(extra_query={"b": "2"}).extra_headers == {"X-A": "1"}
    assert made.changed(extra_headers=None).extra_headers == {}
    assert made.changed(extra_headers=None).extra_query == {"a": "1"}
    with pytest.raises(ValueError, match="X-A"):
        made.changed(extra_headers={"X-A": "two\nlines"})


def test_nothing_that_may_hold_a_key_is_in_the_repr() -> None:
    made = connection(
        api_key="sk-hidden",
        base_url="https://gw.example/v1?api-key=hidden",
        extra_headers={"x-key": "hidden"},
        extra_query={"token": "hidden"},
    )
    assert "hidden" not in f"{made!r} {made.endpoint(Service.UPLOAD)!r}"
    assert "hidden" not in repr(connection(api_key=functools.partial(str, "hidden")))


# -- sockets -------------------------------------------------------------------------------------------------------


async def test_one_connection_opens_every_kind_of_socket(server: Emulator) -> None:
    made = connection(base_url=server.base_url, extra_headers={"X-Trace": "1"}, extra_query={"team": "a"})
    asked = [(Service.REALTIME, MODEL, "realtime"), (Service.TRANSCRIPTION, "gpt-transcribe", "transcription")]
    for service, model, kind in asked:
        link = await made.open(service, model=model)
        created = await link.receive()
        assert not isinstance(created, Malformed)
        assert created["session"]["type"] == kind
        await link.close()
    for shake in server.handshakes:
        assert shake.query["team"] == "a"
        assert (shake.headers["authorization"], shake.headers["x-trace"]) == ("Bearer sk-test", "1")


async def test_the_model_of_a_transcription_can_be_kept_off_the_url(server: Emulator) -> None:
    made = connection(base_url=server.base_url)
    link = await made.open(Service.TRANSCRIPTION, model="gpt-transcribe", model_in_url=False)
    await link.close()
    assert dict(server.handshakes[0].query) == {"intent": "transcription"}


async def test_a_refused_key_is_told_as_any_link_tells_it() -> None:
    fault = RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000)
    async with Emulator(faults=[fault]) as server:
        assert (await refused(connection(base_url=server.base_url))).code == "invalid_api_key"


async def test_the_key_may_travel_in_azures_header(server: Emulator) -> None:
    made = connection(base_url=server.base_url, key_header="api-key", extra_headers={"X-Trace": "1"})
    assert made.endpoint(Service.REALTIME, model=MODEL).headers == {"api-key": "sk-test", "X-Trace": "1"}


async def test_a_client_secret_that_has_expired_is_told_as_that(server: Emulator) -> None:
    secret = server.secrets.mint({"type": "realtime", "model": MODEL})
    made = connection(base_url=server.base_url, api_key=secret.value)
    await (await made.open(Service.REALTIME, model=MODEL)).close()
    server.secrets.expire()
    failure = await refused(made)
    assert (failure.kind, failure.code) == (Kind.FATAL, "client_secret_refused")
    assert "pass a function as `api_key`" in failure.sentence()
    assert secret.value not in failure.sentence()


async def test_a_client_secret_is_a_bearer_token_on_azure_too() -> None:
    made = connection(api_key="ek_1", key_header="api-key")
    assert made.endpoint(Service.REALTIME, model=MODEL).headers == {"Authorization": "Bearer ek_1"}
    async with Emulator(faults=[RefuseHandshake(401)]) as server:
        failure = await refused(connection(api_key="ek_1", key_header="api-key", base_url=server.base_url))
        assert failure.code == "client_secret_refused"


def test_a_connection_that_cannot_be_replaced_is_not_replaced_by_plan() -> None:
    assert connection(api_key="ek_1").max_session_duration is None
    assert connection(api_key="ek_1", max_session_duration=60).max_session_duration == 60
    assert connection(api_key=lambda: "ek_1").max_session_duration == DEFAULT_MAX_SESSION_DURATION


# -- tokens --------------------------------------------------------------------------------------------------------


async def _async_token() -> str:
    await asyncio.sleep(0)
    return "eyJ.a"


PROVIDERS: dict[str, Any] = {
    "plain": lambda: "eyJ.a",
    "async": _async_token,
    "a plain one that gives a coroutine": lambda: _async_token(),
    "with a line break at the end": lambda: "eyJ.a\n",
}


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS.keys())
async def test_a_token_comes_from_a_plain_or_an_async_function(server: Emulator, provider: Any) -> None:
    link = await connection(base_url=server.base_url, api_key=provider).open(Service.REALTIME, model=MODEL)
    await link.close()
    assert server.handshakes[0].headers["authorization"] == "Bearer eyJ.a"


async def test_every_socket_gets_a_fresh_token(server: Emulator) -> None:
    tokens = iter(["first", "second"])
    made = connection(base_url=server.base_url, api_key=lambda: next(tokens))
    for _ in range(2):
        await (await made.open(Service.REALTIME, model=MODEL)).close()
    assert [shake.headers["authorization"] for shake in server.handshakes] == ["Bearer first", "Bearer second"]


async def test_a_provider_that_blocks_does_not_stop_the_event_loop() -> None:
    loop, asked, may_answer = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def blocks() -> str:
        loop.call_soon_threadsafe(asked.set)
        assert may_answer.wait(5)  # set by the event loop, which must therefore be running
        return "token"

    asking = asyncio.ensure_future(connection(api_key=blocks).key())
    await asked.wait()
    may_answer.set()
    assert await asking == "token"


async def test_a_provider_that_fails_is_worth_another_attempt() -> None:
    def fails() -> str:
        raise RuntimeError("no identity for\nBearer eyJhbGciOiJSUzI1NiIsIn.payload.signature")

    with pytest.raises(LinkFailed) as caught:
        await connection(api_key=fails).open(Service.REALTIME, model=MODEL)
    failure = caught.value.failure
    assert (failure.kind, failure.code) == (Kind.RECONNECT, "key_provider_failed")
    assert failure.message == "RuntimeError: no identity for Bearer [redacted]"
    assert caught.value.__cause__ is None  # LiveKit would log it as it is


async def _cancelled() -> str:
    refreshing = asyncio.ensure_future(asyncio.sleep(60))  # shared with others, one of which gives up
    asyncio.get_running_loop().call_soon(refreshing.cancel)
    await refreshing
    return "token"


def _raises_cancelled() -> str:
    raise asyncio.CancelledError


@pytest.mark.parametrize("provider", [_cancelled, _raises_cancelled, lambda: _cancelled()])
async def test_what_is_cancelled_in_a_provider_is_its_failure_and_not_the_end_of_the_session(provider: Any) -> None:
    failure = await refused(connection(api_key=provider))
    assert (failure.kind, failure.code) == (Kind.RECONNECT, "key_provider_failed")
    assert failure.message == "CancelledError"


@pytest.mark.parametrize(("key", "code"), [("ek_old", "client_secret_refused"), ("sk-old", "invalid_api_key")])
async def test_a_provider_whose_key_was_refused_may_give_another(key: str, code: str) -> None:
    async with Emulator(knobs=Knobs(api_keys=frozenset({"sk-new"}))) as server:
        keys = iter([key, "sk-new"])
        made = connection(base_url=server.base_url, api_key=lambda: next(keys))
        failure = await refused(made)
        assert (failure.kind, failure.code) == (Kind.RECONNECT, code)
        assert "the function that was passed as `api_key`" in failure.sentence()
        await (await made.open(Service.REALTIME, model=MODEL)).close()
        fixed = await refused(connection(base_url=server.base_url, api_key=key))
        assert (fixed.kind, fixed.code) == (Kind.FATAL, code)


@pytest.mark.parametrize("token", ["", " ", None, "two words", "tök", 7])
async def test_a_provider_that_gives_no_token_never_will(token: Any) -> None:
    failure = await refused(connection(api_key=lambda: token))
    assert (failure.kind, failure.code) == (Kind.FATAL, "key_unusable")
    assert "two words" not in failure.sentence()


async def test_a_provider_that_does_not_answer_uses_up_the_attempt_and_no_more() -> None:
    never = asyncio.Event()

    async def waits() -> str:
        await never.wait()
        return "token"

    quick = APIConnectOptions(timeout=0.05)
    for made, timeout in (
        (connection(api_key=waits, conn_options=quick), None),
        (connection(api_key=waits), 0.05),
    ):
        started = time.monotonic()
        failure = await refused(made, timeout)
        assert (failure.kind, failure.code) == (Kind.RECONNECT, "timeout")
        assert "key provider" in failure.message
        assert time.monotonic() - started < 2


async def test_giving_up_does_not_wait_for_the_provider() -> None:
    asked, never = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def waits() -> str:
        asked.set()
        try:
            await never.wait()
        finally:
            ended.append("ended")
        return "token"

    opening = asyncio.ensure_future(connection(api_key=waits).open(Service.REALTIME, model=MODEL))
    await asked.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asyncio.sleep(0)
    assert ended == ["ended"]
