"""The STT itself: its options on the wire, changes while it listens, warm connections, where it connects."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import openai
import pytest
from livekit.agents import APIConnectOptions, APIError, inference
from livekit.agents import stt as lk

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import (
    DelayOn,
    DropOn,
    RefuseHandshake,
    RejectHandshake,
    RejectOn,
    SwallowOn,
)
from livekit_plugins_openai_ga.stt import session
from livekit_plugins_openai_ga.wire.endpoint import Service

Kind = lk.SpeechEventType
SERVER, STREAMING, OLD, WHISPER = (
    "gpt-transcribe",
    "gpt-live-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-realtime-whisper",
)
MODELS = (SERVER, STREAMING, OLD)
ONE, TWO, THREE = "hello there my friend", "what is the weather in rome", "goodbye and many thanks"
APPEND = "input_audio_buffer.append"
QUICK_SERVER = Knobs(transcription_latency=0.02)


def script(*texts: str) -> Script:
    return Script([Turn(heard=text) for text in texts or (ONE, TWO, THREE)])


def asked(server: Emulator, number: int = -1) -> dict[str, Any]:
    """The `audio.input` of an update that the server received."""
    session: dict[str, Any] = server.received("session.update")[number]["session"]
    return session["audio"]["input"]


async def configured(server: Emulator, count: int = 1) -> None:
    await server.wait_sent("session.updated", count=count)


# -- what is asked for -----------------------------------------------------------------------------------------------


async def test_the_default_is_a_current_model_in_english_with_server_vad(listen):
    async with Emulator() as server:
        stt = STT(api_key="sk-test", base_url=server.base_url)
        listen(stt=stt)
        await configured(server)
        assert asked(server) == {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "gpt-transcribe", "languages": ["en"]},
            "noise_reduction": None,
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 600,
                "silence_duration_ms": 350,
            },
        }
        assert stt.model == "gpt-transcribe"
        assert server.base_url.split("/")[2] == stt.provider
        await stt.aclose()


@pytest.mark.parametrize("model", [STREAMING, WHISPER])
async def test_streaming_models_are_told_that_turn_detection_is_off(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await listener.say(ONE)
        await listener.finish()
        assert asked(server)["turn_detection"] is None
        assert listener.texts() == [ONE]


async def test_everything_that_is_asked_for_stands_on_the_wire(listen):
    async with Emulator() as server:
        listen(
            server,
            language=["de", "en-US"],
            prompt="A call about trains.",
            keywords=["Gleis", "ICE"],
            turn_detection={"type": "semantic_vad", "eagerness": "high"},
            noise_reduction_type="near_field",
        )
        await configured(server)
        box = asked(server)
        assert box["transcription"] == {
            "model": "gpt-transcribe",
            "languages": ["de", "en"],
            "prompt": "A call about trains.",
            "keywords": ["Gleis", "ICE"],
        }
        assert box["turn_detection"] == {"type": "semantic_vad", "eagerness": "high"}
        assert box["noise_reduction"] == {"type": "near_field"}


@pytest.mark.parametrize(
    ("model", "options", "named"),
    [
        (STREAMING, {"turn_detection": {"type": "server_vad"}}, "turn_detection"),
        (OLD, {"keywords": ["x"]}, "keywords"),
        (OLD, {"language": ["en", "de"]}, "language"),
        (WHISPER, {"prompt": "x"}, "prompt"),
        (SERVER, {"delay": "low"}, "delay"),
        (SERVER, {"include_logprobs": True}, "include_logprobs"),
        (STREAMING, {"use_realtime": False}, "use_realtime"),
        ("gpt-realtime-2.1", {}, "model"),
        (SERVER, {"max_segment_length": 0.5}, "max_segment_length"),
        (SERVER, {"noise_reduction_type": "loud"}, "noise_reduction_type"),
        (SERVER, {"turn_detection": {"type": "server_vad", "eagerness": "low"}}, "turn_detection"),
        (SERVER, {"temperature": 3}, "temperature"),
        (SERVER, {"base_url": "http://example.com/v1"}, "base_url"),
        (SERVER, {"extra_headers": {"OpenAI-Beta": "realtime=v1"}}, "extra_headers"),
    ],
)
def test_a_wrong_combination_is_refused_before_the_network_by_its_name(model, options, named):
    with pytest.raises(ValueError, match=named):
        STT(**{"api_key": "sk-test", "base_url": "http://127.0.0.1:9/v1", "model": model, **options})


def test_a_missing_key_is_named(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        STT()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    assert STT().model == SERVER
    with pytest.raises(ValueError, match="api_key"):
        STT(api_key="")


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        (SERVER, {}, {"streaming": True, "keyterms": True, "manual_flush": False}),
        (OLD, {}, {"streaming": True, "keyterms": False, "manual_flush": False}),
        (STREAMING, {}, {"streaming": True, "keyterms": True, "manual_flush": False}),
        (STREAMING, {"vad": None}, {"streaming": True, "keyterms": True, "manual_flush": True}),
        (SERVER, {"use_realtime": False}, {"streaming": False, "interim_results": False, "aligned_transcript": False}),
    ],
)
def test_the_framework_is_told_what_it_can_do(model, options, expected):
    told = STT(api_key="sk-test", model=model, **options).capabilities
    assert {name: getattr(told, name) for name in expected} == expected
    assert told.offline_recognize
    assert not told.diarization


def test_no_key_is_in_the_repr():
    stt = STT(api_key="sk-secretsecret", extra_headers={"X-Key": "headersecret"}, extra_query={"sig": "querysecret"})
    shown = repr(stt) + repr(stt.options) + repr(stt.options.connection)
    assert not [secret for secret in ("secretsecret", "headersecret", "querysecret") if secret in shown]


# -- where it connects -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "wss://api.openai.com/v1/realtime?intent=transcription"),
        ({"base_url": "https://API.openai.com.:443/v1"}, None),
        ({"model_in_url": True}, "wss://api.openai.com/v1/realtime?intent=transcription&model=gpt-transcribe"),
        (
            {"base_url": "https://gw.example/prefix/v1?team=a"},
            "wss://gw.example/prefix/v1/realtime?team=a&intent=transcription&model=gpt-transcribe",
        ),
        (
            {"base_url": "https://gw.example/v1", "model_in_url": False},
            "wss://gw.example/v1/realtime?intent=transcription",
        ),
        (
            {"base_url": "https://eu.api.openai.com/v1"},
            "wss://eu.api.openai.com/v1/realtime?intent=transcription&model=gpt-transcribe",
        ),
    ],
)
def test_the_url_names_the_model_for_gateways_only(monkeypatch, options, url):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    chosen = STT(api_key="sk-test", **options).options
    made = chosen.connection.endpoint(Service.TRANSCRIPTION, model=chosen.model, model_in_url=chosen.model_in_url)
    if url is None:
        assert "model=" not in made.url
    else:
        assert made.url == url


async def test_headers_and_query_reach_the_socket_and_uploads(listen, make_stt, recording):
    extras: dict[str, Any] = {"extra_headers": {"X-Team": "blue"}, "extra_query": {"tenant": "t1"}}
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listen(server, **extras)
        await configured(server)
        uploader = make_stt(server, use_realtime=False, **extras)
        await uploader.recognize(list(recording(ONE).frames()))
        (handshake,), (upload,) = server.handshakes, server.uploads
        for request in (handshake, upload):
            assert request.headers["x-team"] == "blue"
            assert request.query["tenant"] == "t1"
            assert request.headers["authorization"] == "Bearer sk-test"
        assert handshake.query == {"intent": "transcription", "model": SERVER, "tenant": "t1"}
        assert upload.query == {"tenant": "t1"}


async def test_as_openai_does_it_no_model_in_the_url_and_one_in_the_session(listen):
    """The emulator is as strict as OpenAI about that here."""
    async with Emulator(script(), knobs=Knobs(gateway_urls=False)) as server:
        listener = listen(server, model_in_url=False)
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
        assert server.handshakes[0].query == {"intent": "transcription"}


async def test_the_parts_of_an_openai_client_are_used(listen):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        client = openai.AsyncClient(
            api_key="sk-client", base_url=server.base_url, organization="org-1", project="proj-1"
        )
        stt = STT(client=client)
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.finish()
        headers = server.handshakes[0].headers
        assert headers["authorization"] == "Bearer sk-client"
        assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-1")
        await stt.aclose()
        await client.close()


async def test_what_is_given_goes_before_what_the_client_has(listen):
    async with Emulator() as server:
        client = openai.AsyncClient(api_key="sk-client", base_url="http://127.0.0.1:9/v1", organization="org-1")
        extra = {"OpenAI-Organization": "org-2"}
        stt = STT(client=client, api_key="sk-mine", base_url=server.base_url, extra_headers=extra)
        listen(stt=stt)
        await configured(server)
        headers = server.handshakes[0].headers
        assert (headers["authorization"], headers["openai-organization"]) == ("Bearer sk-mine", "org-2")
        await stt.aclose()
        await client.close()


def test_an_azure_client_is_refused_with_the_way_out():
    client = openai.AsyncAzureOpenAI(api_key="k", azure_endpoint="https://x.openai.azure.com", api_version="2024-10-01")
    with pytest.raises(ValueError, match=r"STT\.with_azure"):
        STT(client=client)


# -- Azure -----------------------------------------------------------------------------------------------------------


def resource(server: Emulator) -> str:
    return server.base_url.removesuffix("/v1")


@pytest.fixture(autouse=True)
def _no_azure_in_the_environment(monkeypatch):
    for name in ("API_KEY", "ENDPOINT", "AD_TOKEN"):
        monkeypatch.delenv(f"AZURE_OPENAI_{name}", raising=False)
    monkeypatch.delenv("OPENAI_API_VERSION", raising=False)


async def test_azure_is_reached_on_its_ga_path_with_its_own_key_header(listen):
    async with Emulator(script(), knobs=Knobs(api_keys=frozenset({"azure-key"}))) as server:
        stt = STT.with_azure(azure_endpoint=resource(server), azure_deployment="my-ears", api_key="azure-key")
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
        (handshake,) = server.handshakes
        assert handshake.path == "/openai/v1/realtime"
        assert handshake.headers["api-key"] == "azure-key"
        assert "authorization" not in handshake.headers
        assert handshake.query == {"intent": "transcription"}
        assert asked(server)["transcription"]["model"] == "my-ears"
        await stt.aclose()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_azure_asks_the_token_provider_for_every_connection(listen, kind):
    given: list[str] = []

    def token() -> str:
        given.append(f"token-{len(given) + 1}")
        return given[-1]

    async def token_later() -> str:
        return token()

    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        provider: Any = token if kind == "sync" else token_later
        stt = STT.with_azure(azure_endpoint=resource(server), model=OLD, azure_ad_token_provider=provider)
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.heard(ONE)
        await server.drop()
        await listener.say(TWO)
        await listener.finish()
        assert [h.headers["authorization"] for h in server.handshakes] == ["Bearer token-1", "Bearer token-2"]
        assert all("api-key" not in h.headers for h in server.handshakes)
        await stt.aclose()


@pytest.mark.parametrize("given", ["to us", "to an openai client"])
async def test_a_key_provider_is_asked_for_every_connection(listen, given, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    keys: list[str] = []

    async def key() -> str:
        keys.append(f"sk-{len(keys) + 1}")
        return keys[-1]

    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        if given == "to us":
            stt = STT(base_url=server.base_url, api_key=key)
        else:
            stt = STT(client=openai.AsyncClient(base_url=server.base_url, api_key=key))
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.heard(ONE)
        await server.drop()
        await listener.say(TWO)
        await listener.finish()
        assert [h.headers["authorization"] for h in server.handshakes] == ["Bearer sk-1", "Bearer sk-2"]
        await stt.aclose()


async def test_a_fixed_entra_token_is_a_bearer_token(listen):
    async with Emulator() as server:
        stt = STT.with_azure(azure_endpoint=resource(server), azure_ad_token="entra")
        listen(stt=stt)
        await configured(server)
        assert server.handshakes[0].headers["authorization"] == "Bearer entra"
        await stt.aclose()


async def test_azure_refuses_a_wrong_key_before_the_socket_opens(listen):
    async with Emulator(knobs=Knobs(api_keys=frozenset({"right"}))) as server:
        stt = STT.with_azure(azure_endpoint=resource(server), api_key="wrong")
        listener = listen(stt=stt)
        with pytest.raises(APIError, match="http_401") as caught:
            await listener.ended(2.0)
        assert not caught.value.retryable
        assert len(server.handshakes) == 1
        await stt.aclose()


def test_the_dated_dialect_of_azure_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"api_version.*retired"):
        STT.with_azure(azure_endpoint="https://x.openai.azure.com", api_key="k", api_version="2024-10-01-preview")


async def test_a_streaming_model_behind_a_deployment_of_another_name_gets_no_turn_detection(listen):
    """`model` says what is behind `azure_deployment`: the server of a streaming model refuses turn detection."""
    async with Emulator(knobs=Knobs(deployments={"my-live-ears": STREAMING})) as server:
        stt = STT.with_azure(
            azure_endpoint=resource(server), azure_deployment="my-live-ears", model=STREAMING, api_key="k"
        )
        listen(stt=stt)
        await configured(server)
        assert asked(server)["transcription"]["model"] == "my-live-ears"
        assert asked(server)["turn_detection"] is None
        await stt.aclose()


async def test_azure_takes_the_other_options_too(listen, recording):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = STT.with_azure(
            azure_endpoint=resource(server),
            model=OLD,
            api_key="k",
            organization="org-1",
            project="proj-1",
            language="de",
            prompt="trains",
            use_realtime=False,
            extra_headers={"X-Team": "blue"},
        )
        event = await stt.recognize(list(recording(ONE).frames()))
        assert event.alternatives[0].text == ONE
        (upload,) = server.uploads
        assert upload.path == "/openai/v1/audio/transcriptions"
        headers = {
            name: upload.headers[name] for name in ("openai-organization", "openai-project", "x-team", "api-key")
        }
        assert headers == {
            "openai-organization": "org-1",
            "openai-project": "proj-1",
            "x-team": "blue",
            "api-key": "k",
        }
        assert (upload.value("language"), upload.value("prompt")) == ("de", "trains")
        await stt.aclose()


# -- changes while it listens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [SERVER, STREAMING])
async def test_prompt_and_keywords_change_in_place(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await listener.say(ONE)
        await listener.heard(ONE)
        listener.stt.update_options(prompt="about rome", keywords=["Rome"])
        await configured(server, 2)
        await listener.say(TWO)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        assert len(server.handshakes) == 1
        assert len(server.received("session.update")) == 2
        settings = asked(server)["transcription"]
        assert (settings["prompt"], settings["keywords"]) == ("about rome", ["Rome"])
        assert (settings["model"], settings["languages"]) == (model, ["en"])
        assert listener.errors == []


async def test_what_is_already_so_is_not_sent_again(listen):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, prompt="about rome")
        await configured(server)
        listener.stt.update_options(prompt="about rome", language="en")
        await listener.say(ONE)
        await listener.finish()
        assert len(server.received("session.update")) == 1


async def test_turn_detection_changes_in_place_and_counts_at_once(listen):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server)
        await configured(server)
        listener.stt.update_options(turn_detection={"type": "server_vad", "silence_duration_ms": 1500})
        await configured(server, 2)
        await listener.say(ONE, pause=0.8)
        await listener.say(TWO, pause=0.8)
        assert server.sent("input_audio_buffer.committed") == []
        await listener.finish()
        assert len(server.handshakes) == 1


@pytest.mark.parametrize("vad", ["bundled", "none"])
async def test_turn_detection_that_is_switched_off_leaves_the_segments_to_us(listen, vad):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, **({} if vad == "bundled" else {"vad": None}))
        await listener.say(ONE)
        await listener.heard(ONE)
        listener.stt.update_options(turn_detection=None)
        await configured(server, 2)
        assert asked(server)["turn_detection"] is None
        await listener.say(TWO)
        if vad == "none":
            listener.stream.flush()
        await listener.heard(ONE, TWO)
        assert len(server.handshakes) == 1
        if vad == "bundled":
            turns = [e.type for e in listener.events if e.type in (Kind.START_OF_SPEECH, Kind.END_OF_SPEECH)]
            assert turns == [Kind.START_OF_SPEECH, Kind.END_OF_SPEECH] * 2


@pytest.mark.parametrize("model", [SERVER, STREAMING])
@pytest.mark.parametrize("patience", ["a pause", "no pause"])
async def test_a_language_taken_back_needs_a_new_session_and_loses_nothing(listen, monkeypatch, model, patience):
    if patience == "no pause":
        monkeypatch.setattr(session, "RENEW_PATIENCE_S", 0.0)
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await configured(server)
        await listener.say(ONE, after=0.0)  # in the middle of a segment
        await server.wait_received(APPEND, count=10)
        listener.stt.update_options(detect_language=True)
        if patience == "no pause":
            await configured(server, 2)
        await listener.say(before=0.7)
        await listener.heard(ONE)
        await configured(server, 2)
        assert ["languages" in asked(server, n)["transcription"] for n in (0, 1)] == [True, False]
        await listener.say(TWO)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        assert len(server.handshakes) == 2
        assert listener.errors == []  # planned: nobody is alarmed
        turns = [e.type for e in listener.events if e.type in (Kind.START_OF_SPEECH, Kind.END_OF_SPEECH)]
        assert turns == [Kind.START_OF_SPEECH, Kind.END_OF_SPEECH] * 2


async def test_detection_that_is_switched_off_brings_the_language_back(listen):
    async with Emulator() as server:
        listener = listen(server, language="de", detect_language=True)
        await configured(server)
        listener.stt.update_options(detect_language=False)
        await configured(server, 2)
        assert ["languages" in asked(server, n)["transcription"] for n in (0, 1)] == [False, True]
        assert asked(server)["transcription"]["languages"] == ["de"]


@pytest.mark.parametrize(("old", "new"), [(SERVER, STREAMING), (STREAMING, SERVER), (SERVER, OLD)])
async def test_another_model_behind_a_gateway_gets_a_connection_that_names_it(listen, old, new):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, old)
        await listener.say(ONE)
        await listener.heard(ONE)
        listener.stt.update_options(model=new)
        await server.wait_until(lambda: len(server.sessions) == 2)
        await listener.say(TWO)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        assert [handshake.query["model"] for handshake in server.handshakes] == [old, new]
        assert asked(server)["transcription"]["model"] == new
        assert (asked(server)["turn_detection"] is None) == (new == STREAMING)
        assert listener.stt.model == new
        assert listener.errors == []
        turns = [e.type for e in listener.events if e.type in (Kind.START_OF_SPEECH, Kind.END_OF_SPEECH)]
        assert turns == [Kind.START_OF_SPEECH, Kind.END_OF_SPEECH] * 2


@pytest.mark.parametrize(("old", "new"), [(SERVER, STREAMING), (STREAMING, SERVER)])
async def test_another_model_changes_in_place_where_the_url_does_not_name_it(listen, old, new):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, old, model_in_url=False)
        await listener.say(ONE)
        await listener.heard(ONE)
        listener.stt.update_options(model=new)
        await configured(server, 2)
        await listener.say(TWO)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        assert len(server.handshakes) == 1
        assert (asked(server)["turn_detection"] is None) == (new == STREAMING)


async def test_a_refused_change_is_reported_and_the_stream_goes_on_as_it_was(listen):
    fault = RejectOn("session.update", "invalid_value", "No.", "session.audio.input.transcription.prompt", nth=2)
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[fault]) as server:
        listener = listen(server, prompt="old")
        await configured(server)
        listener.stt.update_options(prompt="new")
        await listener.until(lambda: listener.errors != [])
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
        (problem,) = listener.errors
        assert problem.recoverable
        assert "invalid_value" in str(problem.error)
        assert "prompt" in str(problem.error)
        assert len(server.handshakes) == 1


async def test_after_a_refused_change_a_new_connection_is_set_up_as_it_was(listen):
    fault = RejectOn("session.update", "invalid_value", "No.", "session.audio.input.transcription.prompt", nth=2)
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[fault]) as server:
        listener = listen(server, prompt="old")
        await configured(server)
        listener.stt.update_options(prompt="new")
        await listener.until(lambda: listener.errors != [])
        await server.drop()
        await configured(server, 2)
        assert asked(server)["transcription"]["prompt"] == "old"


async def test_a_refused_change_of_who_ends_segments_is_taken_back_whole(listen):
    """The server still detects turns, so nobody else may tell of speech or commit."""
    fault = RejectOn("session.update", "invalid_value", "No.", "session.audio.input.transcription.model", nth=2)
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[fault]) as server:
        listener = listen(server, SERVER, model_in_url=False)
        await configured(server)
        listener.stt.update_options(model=STREAMING)
        await listener.until(lambda: listener.errors != [])
        await listener.say(ONE, TWO)
        await listener.until(lambda: len(listener.finals) == 2)
        turns = [e.type for e in listener.events if e.type in (Kind.START_OF_SPEECH, Kind.END_OF_SPEECH)]
        assert turns == [Kind.START_OF_SPEECH, Kind.END_OF_SPEECH] * 2
        assert server.received("input_audio_buffer.commit") == []


async def test_a_change_after_a_refused_one_does_not_ask_for_that_again(listen):
    fault = RejectOn("session.update", "invalid_value", "No.", "session.audio.input.transcription.prompt", nth=2)
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[fault]) as server:
        listener = listen(server, prompt="old")
        await configured(server)
        listener.stt.update_options(prompt="refused")
        await listener.until(lambda: listener.errors != [])
        assert listener.stream.options.prompt == "old"
        listener.stt.update_options(keywords=["Rome"])
        await configured(server, 2)
        settings = asked(server)["transcription"]
        assert (settings["prompt"], settings["keywords"]) == ("old", ["Rome"])


async def test_two_changes_in_a_row_end_with_the_second(listen):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server)
        await configured(server)
        listener.stt.update_options(prompt="one")
        listener.stt.update_options(prompt="two", keywords=["x"])
        listener.stt.update_options(prompt="three")
        await listener.say(ONE)
        await listener.finish()
        settings = server.sessions[0].config["audio"]["input"]["transcription"]
        assert (settings["prompt"], settings["keywords"]) == ("three", ["x"])


async def test_a_change_while_the_connection_is_down_is_part_of_the_next(listen):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server)
        await configured(server)
        server.add_fault(RefuseHandshake(503))
        await server.drop()
        await listener.until(lambda: len(listener.errors) == 2)
        listener.stt.update_options(prompt="meanwhile")
        await configured(server, 2)
        assert asked(server)["transcription"]["prompt"] == "meanwhile"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"prompt": "new", "model": WHISPER}, "prompt"),
        ({"prompt": "new", "turn_detection": {"type": "bananas"}}, "turn_detection"),
        ({"prompt": "new", "language": ["en", "de"], "model": OLD}, "language"),
        ({"prompt": "new", "include_logprobs": True}, "include_logprobs"),
    ],
)
async def test_a_wrong_change_raises_before_anything_changes(listen, given, named):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server)
        await configured(server)
        before = listener.stt.options
        with pytest.raises(ValueError, match=named):
            listener.stt.update_options(**given)
        assert listener.stt.options == before == listener.stream.options
        await listener.say(ONE)
        await listener.finish()
        assert len(server.received("session.update")) == 1


async def test_a_language_of_one_stream_stays_its_own(listen, make_stt):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = make_stt(server, OLD)
        own, other = listen(stt=stt, language="de"), listen(stt=stt)
        await configured(server, 2)
        stt.update_options(prompt="p")
        await configured(server, 4)
        assert (own.stream.options.language, other.stream.options.language) == ("de", "en")
        assert {a["transcription"]["language"] for a in (asked(server, n) for n in range(4))} == {"de", "en"}
        own.stream.update_options(language="fr")
        await configured(server, 5)
        assert asked(server)["transcription"]["prompt"] == "p"
        assert (own.stream.options.language, other.stream.options.language, stt.options.language) == ("fr", "en", "en")
        stt.update_options(language="it")
        await configured(server, 7)
        assert (own.stream.options.language, other.stream.options.language) == ("it", "it")


async def test_a_model_that_cannot_take_a_streams_own_languages_is_refused_and_changes_nothing(listen, make_stt):
    async with Emulator() as server:
        stt = make_stt(server)
        listener = listen(stt=stt, language=["de", "fr"])
        with pytest.raises(ValueError, match="language"):
            stt.update_options(model=OLD)
        assert stt.model == SERVER
        assert listener.stream.options.model == SERVER


async def test_a_stream_that_is_closed_stands_in_nobodys_way(listen, make_stt):
    async with Emulator() as server:
        stt = make_stt(server)
        closed = listen(stt=stt, language=["de", "fr"])
        await closed.stream.aclose()
        stt.update_options(model=OLD)
        assert stt.model == OLD


async def test_the_words_of_the_framework_join_those_of_the_user(listen):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, keywords=["Gleis"])
        await configured(server)
        listener.stt._update_session_keyterms(["ICE", "Gleis"])
        await configured(server, 2)
        assert asked(server)["transcription"]["keywords"] == ["Gleis", "ICE"]
        listener.stt.update_options(keywords=["Bahn"])
        await configured(server, 3)
        assert asked(server)["transcription"]["keywords"] == ["Bahn", "ICE", "Gleis"]
        listener.stt._update_session_keyterms([])
        await configured(server, 4)
        assert asked(server)["transcription"]["keywords"] == ["Bahn"]
        assert len(server.handshakes) == 1


async def test_a_model_without_keywords_gets_none_of_the_frameworks_words(listen):
    async with Emulator() as server:
        listener = listen(server)
        listener.stt._update_session_keyterms(["ICE"])
        await configured(server)
        listener.stt.update_options(model=OLD)
        await server.wait_until(lambda: len(server.handshakes) == 2)
        await server.wait_until(lambda: "keywords" not in asked(server)["transcription"])
        listener.stt._update_session_keyterms(["ICE"])  # only a warning
        assert not listener.stt.capabilities.keyterms


# -- warm connections ------------------------------------------------------------------------------------------------


async def test_the_first_stream_uses_the_warm_connection(listen, make_stt):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = make_stt(server)
        stt.prewarm()
        stt.prewarm()
        await server.wait_sent("session.created")
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
        assert len(server.handshakes) == 1
        (acquired,) = [m for m in listener.metrics if m.connection_reused is not None and not m.audio_duration]
        assert acquired.connection_reused
        listen(stt=stt)
        await server.wait_until(lambda: len(server.handshakes) == 2)  # it was used up


async def test_a_stream_asks_for_nothing_that_the_warm_connection_was_told(listen, make_stt):
    # An answer to another update would never come.
    faults = [SwallowOn("session.updated", nth=2)]
    async with Emulator(script(), knobs=QUICK_SERVER, faults=faults) as server:
        stt = make_stt(server, language=["en", "de"], prompt="a call to a library")
        stt.prewarm()
        await server.wait_sent("session.updated")
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
        (update,) = server.received("session.update")
        assert update["session"] == stt.options.payload()


async def test_what_changed_since_is_told_on_the_warm_connection(listen, make_stt):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = make_stt(server)
        stt.prewarm()
        await server.wait_sent("session.updated")
        stt.update_options(keywords=["Ada"])
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.finish()
        assert len(server.handshakes) == 1
        assert asked(server)["transcription"]["keywords"] == ["Ada"]


async def test_a_warm_connection_that_was_told_what_cannot_be_taken_back_is_not_used(listen, make_stt):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = make_stt(server, keywords=["Ada"])
        stt.prewarm()
        await server.wait_sent("session.updated")
        listener = listen(stt=stt, language=[])
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
        assert len(server.handshakes) == 2
        await server.wait_until(lambda: bool(server.sessions[0].closed))


async def test_a_stream_waits_for_the_warm_connection_that_is_being_opened(listen, make_stt):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[DelayOn("session.created", 0.2)]) as server:
        stt = make_stt(server)
        stt.prewarm()
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
        assert len(server.handshakes) == 1


async def test_a_warm_connection_that_nobody_uses_is_closed_at_the_end(make_stt):
    async with Emulator() as server:
        stt = make_stt(server)
        stt.prewarm()
        await server.wait_sent("session.created")
        await stt.aclose()
        await server.wait_until(lambda: all(session.closed for session in server.sessions))


async def test_a_warm_connection_that_is_still_being_opened_is_closed_at_the_end(make_stt):
    async with Emulator(faults=[DelayOn("session.created", 0.3)]) as server:
        stt = make_stt(server)
        stt.prewarm()
        await server.wait_until(lambda: len(server.handshakes) == 1)
        await stt.aclose()
        await server.wait_until(lambda: [bool(session.closed) for session in server.sessions] in ([], [True]))
        assert [t for t in asyncio.all_tasks() if "STT" in repr(t)] == []


async def test_a_warm_connection_is_not_left_behind_by_a_stream_that_closes_while_it_waits(listen, make_stt):
    async with Emulator(faults=[DelayOn("session.created", 0.2)]) as server:
        stt = make_stt(server)
        stt.prewarm()
        await server.wait_until(lambda: len(server.sessions) == 1)
        listener = listen(stt=stt)
        await asyncio.sleep(0.05)  # it is waiting now
        await listener.stream.aclose()
        await stt.aclose()
        await server.wait_until(lambda: all(session.closed for session in server.sessions), timeout=2.0)
        assert [t for t in asyncio.all_tasks() if "STT" in repr(t)] == []


async def test_a_warm_connection_that_died_is_replaced(listen, make_stt):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = make_stt(server)
        stt.prewarm()
        await server.wait_sent("session.created")
        await server.drop()
        await server.wait_until(lambda: bool(server.sessions[0].closed))
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
        assert len(server.handshakes) == 2
        assert listener.errors == []


async def test_a_warm_connection_that_could_not_be_opened_is_no_failure(listen, make_stt):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[RefuseHandshake(503)]) as server:
        stt = make_stt(server)
        stt.prewarm()
        await server.wait_until(lambda: len(server.handshakes) == 1)
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
        assert listener.errors == []


async def test_a_warm_connection_for_other_options_is_replaced(listen, make_stt):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = make_stt(server)
        stt.prewarm()
        await server.wait_sent("session.created")
        stt.update_options(model=OLD)
        listener = listen(stt=stt)
        await listener.say(ONE)
        await listener.finish()
        assert [handshake.query["model"] for handshake in server.handshakes] == [SERVER, OLD]
        await server.wait_until(lambda: bool(server.sessions[0].closed))


def test_without_an_event_loop_nothing_is_warmed():
    STT(api_key="sk-test", base_url="http://127.0.0.1:9/v1").prewarm()


async def test_an_stt_without_streams_warms_nothing(make_stt):
    async with Emulator() as server:
        make_stt(server, use_realtime=False).prewarm()
        await asyncio.sleep(0.05)
        assert server.handshakes == []


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [SERVER, STREAMING])
async def test_closing_the_stt_closes_its_streams_and_leaves_no_task(listen, make_stt, model):
    before = asyncio.all_tasks()
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = make_stt(server, model)
        listeners = [listen(stt=stt) for _ in range(3)]
        await listeners[0].say(ONE, after=0.0)
        await configured(server, 3)
        stt.prewarm()
        started = time.monotonic()
        await stt.aclose()
        assert time.monotonic() - started < 2.0
        for listener in listeners:
            await listener.ended(0.5)
            with pytest.raises(RuntimeError):
                listener.stream.flush()
        await server.wait_until(lambda: all(session.closed for session in server.sessions))
        await stt.aclose()  # twice is fine
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert [task for task in left if "livekit" in repr(task)] == []


async def test_an_stt_without_streaming_says_so(make_stt):
    stt = make_stt("http://127.0.0.1:9/v1", use_realtime=False)
    with pytest.raises(ValueError, match="recognize"):
        stt.stream()


async def test_a_detector_of_the_callers_own_is_used(listen):
    quick = inference.VAD(model="silero", min_silence_duration=0.1)
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, STREAMING, vad=quick)
        await listener.say(ONE, pause=0.3)
        await listener.heard(ONE)
        assert len(server.received("input_audio_buffer.commit")) == 1


async def test_a_detector_besides_the_servers_tells_of_speech_and_ends_no_segment(listen):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, SERVER, vad=inference.VAD(model="silero"))
        await listener.say(ONE, TWO)
        await listener.until(lambda: len(listener.finals) == 2)
        assert server.received("input_audio_buffer.commit") == []
        turns = [e.type for e in listener.events if e.type in (Kind.START_OF_SPEECH, Kind.END_OF_SPEECH)]
        assert turns == [Kind.START_OF_SPEECH, Kind.END_OF_SPEECH] * 2


@pytest.mark.parametrize("when", ["at once", "connected"])
async def test_a_detector_that_breaks_ends_the_stream_with_a_reason(listen, when):
    class Broken(inference.VAD):
        def stream(self) -> Any:
            return _Failing(super().stream())

    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, STREAMING, vad=Broken(model="silero"))
        if when == "connected":
            await configured(server)
        with contextlib.suppress(RuntimeError):  # closed, when the push comes after the end
            await listener.say(ONE)
        with pytest.raises(APIError, match="vad"):
            await listener.ended(2.0)


class _Failing:
    """A detector's stream that fails at its first event."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __aiter__(self) -> _Failing:
        return self

    async def __anext__(self) -> Any:
        raise RuntimeError("no model")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


async def test_a_wrong_key_is_told_by_the_stream_although_a_warm_connection_was_refused_before(listen, make_stt):
    fault = RejectHandshake("invalid_api_key", "Incorrect API key.", 3000, times=2)
    async with Emulator(faults=[fault]) as server:
        stt = make_stt(server)
        stt.prewarm()
        listener = listen(stt=stt)
        with pytest.raises(APIError, match="invalid_api_key"):
            await listener.ended(2.0)


async def test_what_the_emulator_drops_while_options_change_is_set_up_with_the_new_ones(listen):
    faults = [DropOn("session.update", nth=2), SwallowOn("nothing")]
    async with Emulator(script(), knobs=QUICK_SERVER, faults=faults) as server:
        listener = listen(server, conn_options=APIConnectOptions(max_retry=3, retry_interval=0.05, timeout=2.0))
        await configured(server)
        listener.stt.update_options(prompt="new")
        await configured(server, 2)
        assert asked(server)["transcription"]["prompt"] == "new"
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
