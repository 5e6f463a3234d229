"""Azure: where its sockets go, with which credential, what it is told by default, and a call over its path."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from livekit.agents import NOT_GIVEN, APIConnectionError, APIConnectOptions, llm
from livekit.plugins.openai.realtime import RealtimeModel as OfficialModel
from openai.types import realtime as ga

from livekit_plugins_openai_ga import RealtimeModel, azure
from livekit_plugins_openai_ga.connection import Connection
from livekit_plugins_openai_ga.emulator import Emulator
from livekit_plugins_openai_ga.emulator.knobs import Knobs
from livekit_plugins_openai_ga.realtime.keywords import SessionOptions
from livekit_plugins_openai_ga.wire.endpoint import Service

RESOURCE = "https://res.openai.azure.com"
GA = "wss://res.openai.azure.com/openai/v1/realtime?model=dep"
NAMES = (
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_AD_TOKEN",
    "AZURE_OPENAI_ENDPOINT",
    "OPENAI_API_KEY",
    "OPENAI_API_VERSION",
    "OPENAI_BASE_URL",
)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def connection(**given: Any) -> Connection:
    return azure.connection(**{"azure_endpoint": RESOURCE, **given})


def model(**given: Any) -> RealtimeModel:
    return RealtimeModel.with_azure(**{"azure_deployment": "dep", "azure_endpoint": RESOURCE, "api_key": "k", **given})


# -- where ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    [
        RESOURCE,
        f" {RESOURCE}/\n",
        f"{RESOURCE}/openai",
        f"{RESOURCE}/openai/",
        f"{RESOURCE}/openai/v1",
        f"{RESOURCE}/openai/v1/",
        f"{RESOURCE}/openai/v1/realtime",
        f"{RESOURCE}/openai/realtime",
        "wss://res.openai.azure.com/",
    ],
)
def test_every_way_to_write_the_resource_leads_to_the_ga_path(endpoint: str) -> None:
    assert model(azure_endpoint=endpoint).options.endpoint().url == GA


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        (f"{RESOURCE}/openai", GA),
        (f"{RESOURCE}/openai/v1/", GA),
        ("https://proxy.example", "wss://proxy.example/v1/realtime?model=dep"),
        ("https://proxy.example/azure/v1?team=a", "wss://proxy.example/azure/v1/realtime?team=a&model=dep"),
    ],
)
def test_a_base_url_is_used_as_it_is(base_url: str, expected: str) -> None:
    assert model(azure_endpoint=None, base_url=base_url).options.endpoint().url == expected


def test_a_prefix_before_the_resource_stays() -> None:
    assert urlsplit(model(azure_endpoint="https://apim.example/team/").options.endpoint().url).path == (
        "/team/openai/v1/realtime"
    )


def test_the_environment_of_openai_itself_means_nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", RESOURCE)
    with pytest.raises(ValueError, match="AZURE_OPENAI_API_KEY"):
        azure.connection()
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "k")
    where = RealtimeModel.with_azure(azure_deployment="dep").options.endpoint()
    assert (where.url, where.headers) == (GA, {"api-key": "k"})


# -- who -----------------------------------------------------------------------------------------------------------

ENVIRONMENT = {"AZURE_OPENAI_API_KEY": "env-key", "AZURE_OPENAI_AD_TOKEN": "env-token"}


@pytest.mark.parametrize(
    ("given", "environment", "headers"),
    [
        ({"api_key": " k\n"}, ENVIRONMENT, {"api-key": "k"}),
        ({"ad_token": "t"}, ENVIRONMENT, {"Authorization": "Bearer t"}),
        ({"ad_token_provider": lambda: "fresh"}, ENVIRONMENT, {"Authorization": "Bearer fresh"}),
        ({}, ENVIRONMENT, {"Authorization": "Bearer env-token"}),
        ({}, {"AZURE_OPENAI_API_KEY": "env-key"}, {"api-key": "env-key"}),
        ({"api_key": "k", "extra_headers": {"Authorization": "Bearer own"}}, {}, {"Authorization": "Bearer own"}),
    ],
)
async def test_one_credential_is_sent_and_what_is_passed_goes_before_the_environment(
    given: dict[str, Any], environment: dict[str, str], headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = connection(**given)
    assert made.endpoint(Service.TRANSCRIPTION, key=await made.key()).headers == headers


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"api_key": None}, "api_key is missing"),
        ({"azure_endpoint": None}, "azure_endpoint is missing"),
        ({"azure_deployment": ""}, "azure_deployment is missing"),
        ({"entra_token": "t"}, "exclude each other"),
        ({"azure_ad_token_provider": lambda: "t"}, "exclude each other"),
        ({"base_url": RESOURCE}, "base_url and azure_endpoint exclude each other"),
        ({"azure_endpoint": "res.openai.azure.com"}, "azure_endpoint must start with https://"),
        ({"azure_endpoint": None, "base_url": "proxy.example"}, "base_url must start with https://"),
        ({"azure_endpoint": "https://[res"}, "not a valid URL"),
        ({"azure_endpoint": f"{RESOURCE}/openai/realtime?api-version=2024-10-01-preview"}, "api-version"),
        ({"api_version": "2024-10-01-preview"}, "api_version='2024-10-01-preview' is not supported"),
        ({"speed": 9}, "speed=9"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        model(**given)
    assert str(caught.value).endswith(".")


def test_the_retired_dialect_is_named_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"retired; remove the version, the GA path /openai/v1/realtime needs none\.$"):
        model(api_version="2025-04-01-preview")


def test_a_version_in_the_environment_is_ignored_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-01-preview")
    assert model().options.endpoint().url == GA
    assert ["OPENAI_API_VERSION" in record.getMessage() for record in caplog.records] == [True]


# -- what a session is told ----------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_official_plugin() -> None:
    values = model().options.values
    assert values["input_audio_transcription"] == {"model": "whisper-1"}
    assert values["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 200,
        "create_response": True,
    }


def test_a_choice_of_turn_detection_is_told_from_the_default() -> None:
    assert model().capabilities.can_disable_turn_detection
    chosen = model(turn_detection={"type": "semantic_vad"})
    assert not chosen.capabilities.can_disable_turn_detection
    assert chosen.options.values["turn_detection"] == {"type": "semantic_vad"}
    assert model(turn_detection=None).options.values["turn_detection"] is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (NOT_GIVEN, {"model": "whisper-1"}),
        (None, None),
        ({"language": "de"}, {"model": "whisper-1", "language": "de"}),
        ({"model": None, "prompt": "names"}, {"model": "whisper-1", "prompt": "names"}),
        ({"model": "my-transcriber"}, {"model": "my-transcriber"}),
        (ga.AudioTranscription(language="de"), {"model": "whisper-1", "language": "de"}),
    ],
)
def test_a_transcription_without_a_model_gets_azures(given: Any, kept: Any) -> None:
    assert model(input_audio_transcription=given).options.values["input_audio_transcription"] == kept


def test_deployments_may_be_called_anything_and_openais_dates_do_not_hold(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("my-agent", "gpt-realtime", "gpt-4o-realtime-preview"):
        assert model(azure_deployment=name).model == name
    assert not caplog.records
    assert model().provider == "res.openai.azure.com"


def test_every_other_option_means_what_it_means_elsewhere() -> None:
    made = model(voice="cedar", max_session_duration=60, extra_query={"a": "b"}, reply_timeout=3.0, request_timeout=4.0)
    assert made.options.values["voice"] == "cedar"
    assert made.options.connection.max_session_duration == 60
    assert (made.options.reply_timeout, made.options.request_timeout) == (3.0, 4.0)
    assert made.options.endpoint().url.endswith("?a=b&model=dep")
    with pytest.raises(TypeError, match="voices"):
        model(voices="cedar")


def test_every_parameter_of_the_official_method_is_taken() -> None:
    official = set(inspect.signature(OfficialModel.with_azure).parameters) - {"kwargs"}
    ours = set(inspect.signature(RealtimeModel.with_azure).parameters) | set(SessionOptions.__annotations__)
    assert official | {"api_version"} <= ours


def test_every_parameter_of_our_constructor_can_be_given() -> None:
    constructor = {name for name in inspect.signature(RealtimeModel).parameters if not name.startswith("_")}
    ours = set(inspect.signature(RealtimeModel.with_azure).parameters) | set(SessionOptions.__annotations__)
    assert constructor - ours == {"model", "call_id"}


# -- calls ---------------------------------------------------------------------------------------------------------

QUICK = APIConnectOptions(max_retry=1, retry_interval=0.05, timeout=2.0)


def on(server: Emulator, **given: Any) -> RealtimeModel:
    """A model on the emulator's Azure path."""
    root = server.base_url.removesuffix("/v1")
    options = {"azure_deployment": "my-agent", "azure_endpoint": root, "conn_options": QUICK, **given}
    return RealtimeModel.with_azure(**options)


async def ask(made: RealtimeModel) -> str:
    """Ask for one reply and give its text."""
    session = made.session()
    try:
        reply = await session.generate_reply()
        return "".join([part async for message in reply.message_stream async for part in message.text_stream])
    finally:
        await session.aclose()


async def first_error(made: RealtimeModel) -> llm.RealtimeModelError:
    """The error that ends a session."""
    session = made.session()
    over: asyncio.Future[llm.RealtimeModelError] = asyncio.get_running_loop().create_future()
    session.on("error", lambda error: None if error.recoverable or over.done() else over.set_result(error))
    try:
        return await over
    finally:
        await session.aclose()


async def test_a_call_with_a_key() -> None:
    async with Emulator(knobs=Knobs(api_keys=frozenset({"azure-key"}))) as server:
        assert await ask(on(server, api_key="azure-key"))
        (shake,) = server.handshakes
        assert (shake.path, dict(shake.query)) == ("/openai/v1/realtime", {"model": "my-agent"})
        assert shake.headers["api-key"] == "azure-key"
        assert "authorization" not in shake.headers
        told = server.received("session.update")[0]["session"]
        assert told["audio"]["input"]["transcription"] == {"model": "whisper-1"}
        assert "model" not in told


async def test_a_call_with_a_token_provider() -> None:
    async with Emulator(knobs=Knobs(api_keys=frozenset({"fresh"}))) as server:
        assert await ask(on(server, azure_ad_token_provider=lambda: "fresh"))
        assert server.handshakes[0].headers["authorization"] == "Bearer fresh"
        assert "api-key" not in server.handshakes[0].headers


async def test_a_provider_that_fails_once_costs_one_attempt() -> None:
    answers = iter([RuntimeError("not yet"), "fresh"])

    def provider() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with Emulator() as server:
        assert await ask(on(server, azure_ad_token_provider=provider))
        assert len(server.handshakes) == 1


async def test_a_provider_that_keeps_failing_ends_the_session_with_its_reason() -> None:
    def provider() -> str:
        raise RuntimeError("no identity here")

    async with Emulator() as server:
        error = await first_error(on(server, azure_ad_token_provider=provider))
        assert isinstance(error.error, APIConnectionError)
        assert "key_provider_failed: RuntimeError: no identity here" in error.error.message
        assert not server.handshakes


@pytest.mark.parametrize("given", [{"api_key": "sk-nope"}, {"entra_token": "sk-nope"}])
async def test_a_refused_credential_ends_the_session_at_once(
    given: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with Emulator(knobs=Knobs(api_keys=frozenset({"right"}))) as server:
        error = await first_error(on(server, **given))
        assert error.error.body.http_status == 401  # type: ignore[attr-defined]
        assert not error.error.retryable
        assert len(server.handshakes) == 1
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told
    assert "sk-nope" not in " ".join(told)
