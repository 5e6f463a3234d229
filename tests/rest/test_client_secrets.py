"""Client secrets: what is asked for, what comes of it, and what goes wrong in one sentence."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest
from livekit.agents import APIConnectionError, APIError, APIStatusError, utils
from openai.types.realtime import RealtimeSessionCreateRequest, realtime_transcription_session_create_request

from livekit_plugins_openai_ga import STT, RealtimeModel, Translator
from livekit_plugins_openai_ga.connection import Connection
from livekit_plugins_openai_ga.emulator import Emulator, Knobs
from livekit_plugins_openai_ga.emulator.faults import RefuseHandshake
from livekit_plugins_openai_ga.rest import ClientSecret, create_client_secret
from livekit_plugins_openai_ga.wire.endpoint import Service

from .conftest import QUICK, Desk

FLAT = json.dumps({"value": "ek_1", "expires_at": 1_790_000_600, "session": {"type": "realtime"}})


def asked(desk: Desk) -> dict[str, Any]:
    return dict(json.loads(desk.told[-1].body))


async def mint(desk: Desk, session: Any = None, **given: Any) -> ClientSecret:
    session = {"type": "realtime"} if session is None else session
    given = {"base_url": desk.base_url, "api_key": "sk-test", "conn_options": QUICK, **given}
    return await create_client_secret(session, **given)


# -- on the emulator -----------------------------------------------------------------------------------------------


async def test_a_models_secret_opens_the_session_that_the_model_would_open() -> None:
    async with Emulator() as server:
        model = RealtimeModel(
            base_url=server.base_url, api_key="sk-test", voice="cedar", input_audio_transcription=None, tracing="auto"
        )
        secret = await create_client_secret(model, instructions="Be brief.", expires_after=60)
        given = server.secrets.issued[0]
        assert (secret.value, secret.expires_at) == (given.value, given.expires_at)
        assert secret.session["audio"]["output"]["voice"] == "cedar"
        assert secret.session["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"
        assert (secret.session["model"], secret.session["instructions"]) == ("gpt-realtime-2.1", "Be brief.")
        link = await Connection.create(base_url=server.base_url, api_key=secret.value).open(
            Service.REALTIME, model="gpt-realtime-2.1"
        )
        await link.close()
        assert server.sessions[0].config["audio"]["output"]["voice"] == "cedar"


async def test_a_transcribers_secret_opens_a_transcription() -> None:
    async with Emulator() as server:
        stt = STT(base_url=server.base_url, api_key="sk-test", model="gpt-live-transcribe", language="de", vad=None)
        secret = await create_client_secret(stt)
        heard = secret.session["audio"]["input"]
        assert secret.session["type"] == "transcription"
        assert (heard["transcription"]["model"], heard["turn_detection"]) == ("gpt-live-transcribe", None)


async def test_a_translation_is_asked_for_at_its_own_address() -> None:
    async with Emulator() as server:
        wanted = {"model": "gpt-realtime-translate", "audio": {"output": {"language": "de"}}}
        for session in (wanted, {"type": "translation", **wanted}):
            secret = await create_client_secret(session, base_url=server.base_url, api_key="sk-test")
            assert secret.session["type"] == "translation"
        assert {request.path for request in server.requests} == {"/v1/realtime/translations/client_secrets"}


async def test_a_translators_secret_opens_its_translation() -> None:
    async with Emulator() as server:
        translator = Translator(
            target_language="de", transcribe_source=True, base_url=server.base_url, api_key="sk-test"
        )
        secret = await create_client_secret(translator)
        audio = secret.session["audio"]
        assert audio["output"]["language"] == "de"
        assert audio["input"]["transcription"] == {"model": "gpt-realtime-whisper"}
        theirs = Translator(target_language="de", base_url=server.base_url, api_key=secret.value)
        link = await theirs.options.open(5.0)
        await link.close()
        assert server.sessions[0].config["audio"]["input"]["transcription"] == {"model": "gpt-realtime-whisper"}


async def test_a_secret_of_azure_is_made_with_its_key() -> None:
    async with Emulator(knobs=Knobs(api_keys=frozenset({"azure-key"}))) as server:
        model = RealtimeModel.with_azure(
            azure_deployment="mine", azure_endpoint=server.azure_endpoint, api_key="azure-key"
        )
        secret = await create_client_secret(model)
        assert secret.session["model"] == "mine"
        assert server.requests[0].path == "/openai/v1/realtime/client_secrets"


async def test_what_the_server_refuses_is_told_with_what_to_do() -> None:
    async with Emulator() as server:
        with pytest.raises(APIStatusError) as caught:
            await create_client_secret({"type": "realtime", "voice": "marin"}, base_url=server.base_url, api_key="k")
        error = caught.value
        assert (error.status_code, error.retryable, error.request_id) == (400, False, "req_1")
        assert error.message == (
            "unknown_parameter: Unknown parameter: 'session.voice'. The server does not know a parameter. "
            "Remove the named parameter, or choose a model that supports it. (request req_1)"
        )
        assert len(server.requests) == 1


async def test_a_server_that_is_busy_is_asked_again() -> None:
    busy = RefuseHandshake(503, '{"error": {"code": "server_is_overloaded"}}', times=2)
    async with Emulator(faults=[busy]) as server:
        given: dict[str, Any] = {"base_url": server.base_url, "api_key": "sk-test", "conn_options": QUICK}
        await create_client_secret({"type": "realtime"}, **given)
        assert len(server.requests) == 3
        server.add_fault(RefuseHandshake(503, times=9))
        with pytest.raises(APIStatusError) as caught:
            await create_client_secret({"type": "realtime"}, **given)
        assert (caught.value.status_code, caught.value.retryable, len(server.requests)) == (503, True, 6)


# -- what is sent --------------------------------------------------------------------------------------------------


async def test_the_request_is_as_openai_documents_it(desk: Desk) -> None:
    desk.answers = [{"text": FLAT}]
    secret = await mint(
        desk, {"model": "gpt-realtime"}, extra_headers={"OpenAI-Safety-Identifier": "user-hash"}, extra_query={"t": "1"}
    )
    (told,) = desk.told
    assert told.path == "/v1/realtime/client_secrets?t=1"
    assert (told.headers["authorization"], told.headers["content-type"]) == ("Bearer sk-test", "application/json")
    assert told.headers["openai-safety-identifier"] == "user-hash"
    assert asked(desk) == {
        "session": {"model": "gpt-realtime", "type": "realtime"},
        "expires_after": {"anchor": "created_at", "seconds": 600},
    }
    assert secret == ClientSecret("ek_1", 1_790_000_600, {"type": "realtime"})


async def test_a_models_payload_is_what_openais_types_take(desk: Desk) -> None:
    desk.answers = [{"text": FLAT}]
    await mint(desk, RealtimeModel(api_key="sk-other", voice={"id": "voice_1"}))
    session = asked(desk)["session"]
    RealtimeSessionCreateRequest.model_validate(session, strict=True)
    assert "noise_reduction" not in session["audio"]["input"]
    await mint(desk, STT(api_key="sk-other", model="gpt-realtime-whisper", vad=None))
    session = asked(desk)["session"]
    kind = realtime_transcription_session_create_request.RealtimeTranscriptionSessionCreateRequest
    kind.model_validate(session, strict=True)
    assert session["audio"]["input"]["turn_detection"] is None


async def test_objects_of_the_openai_sdk_are_taken(desk: Desk) -> None:
    desk.answers = [{"text": FLAT}]
    await mint(desk, RealtimeSessionCreateRequest(type="realtime", instructions="Be brief."))
    assert asked(desk)["session"] == {"type": "realtime", "instructions": "Be brief."}


async def test_a_models_own_server_key_and_extras_are_used(desk: Desk) -> None:
    desk.answers = [{"text": FLAT}]
    model = RealtimeModel(base_url=desk.base_url, api_key="sk-model", extra_headers={"X-Team": "a"})
    await create_client_secret(model, extra_headers={"X-User": "b"}, conn_options=QUICK)
    headers = desk.told[0].headers
    assert (headers["authorization"], headers["x-team"], headers["x-user"]) == ("Bearer sk-model", "a", "b")


async def test_another_key_goes_to_the_models_server_and_its_own_key_to_no_other(desk: Desk) -> None:
    desk.answers = [{"text": FLAT}]
    model = RealtimeModel.with_azure(
        azure_deployment="mine", base_url=desk.base_url, api_key="azure-key", extra_headers={"X-Team": "a"}
    )
    await create_client_secret(model, api_key="another-key")
    assert (desk.told[0].headers["api-key"], desk.told[0].headers["x-team"]) == ("another-key", "a")
    with pytest.raises(ValueError, match="api_key is missing"):
        await create_client_secret(model, base_url="https://gw.example/v1")


async def test_a_key_provider_is_asked_each_time(desk: Desk) -> None:
    desk.answers = [{"status": 503}, {"text": FLAT}]
    keys = iter(["sk-1", "sk-2"])
    await mint(desk, api_key=lambda: next(keys))
    assert [told.headers["authorization"] for told in desk.told] == ["Bearer sk-1", "Bearer sk-2"]


async def test_a_key_that_was_refused_is_asked_for_again_where_another_may_come(desk: Desk) -> None:
    desk.answers = [{"status": 401}, {"text": FLAT}]
    keys = iter(["sk-old", "sk-new"])
    await mint(desk, api_key=lambda: next(keys))
    assert [told.headers["authorization"] for told in desk.told] == ["Bearer sk-old", "Bearer sk-new"]
    desk.answers = [{"status": 401}]
    with pytest.raises(APIStatusError):
        await mint(desk)
    assert len(desk.told) == 3


async def test_the_http_session_that_is_passed_is_used_and_left_open(desk: Desk) -> None:
    desk.answers = [{"text": FLAT}]
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as http:
        await mint(desk, http_session=http)
        assert (desk.told[0].headers["x-mine"], http.closed) == ("1", False)


async def test_in_a_job_the_jobs_http_session_is_used(desk: Desk) -> None:
    desk.answers = [{"text": FLAT}]
    async with utils.http_context.open():
        jobs = utils.http_context.http_session()
        jobs.headers["X-Job"] = "yes"
        await mint(desk)
        assert (desk.told[0].headers["x-job"], jobs.closed) == ("yes", False)


# -- what cannot work ----------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"expires_after": 9}, "expires_after=9"),
    ({"expires_after": 7201}, "expires_after=7201"),
    ({"expires_after": 60.5}, "expires_after=60.5"),
    ({"expires_after": True}, "expires_after=True"),
    ({"session": {"type": "live"}}, "session.type='live'"),
    ({"session": {"type": "realtime"}, "kind": "transcription"}, "kind='transcription'"),
    ({"kind": "conversation"}, "kind='conversation'"),
    ({"session": "gpt-realtime"}, "session is not supported"),
    ({"session": {"type": "realtime", "x": object()}}, "session holds something that JSON cannot hold"),
    ({"session": {"type": "translation"}}, "session.model is missing"),
    ({"session": RealtimeModel(call_id="rtc_1", api_key="sk-x")}, "session is a RealtimeModel with call_id"),
    ({"session": {"type": "transcription"}, "instructions": "Hi"}, "instructions has no meaning"),
    ({"api_key": "ek_68af296e8e408191a1120ab6383263c2"}, "api_key is a client secret"),
    ({"base_url": "http://gw.example/v1"}, "allow_insecure"),
    ({"extra_headers": {"OpenAI-Beta": "realtime=v1"}}, "OpenAI-Beta"),
]


@pytest.mark.parametrize(("given", "words"), REFUSED, ids=[words for _, words in REFUSED])
async def test_what_cannot_work_is_refused_before_anything_is_sent(
    desk: Desk, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        await mint(desk, **given)
    assert "68af296e" not in str(caught.value)
    assert desk.told == []


async def test_the_retired_betas_answer_is_refused(desk: Desk) -> None:
    desk.answers = [{"text": json.dumps({"id": "sess_1", "client_secret": {"value": "ek_hidden", "expires_at": 1}})}]
    with pytest.raises(APIError, match="beta_answer") as caught:
        await mint(desk)
    assert "ek_hidden" not in f"{caught.value!r} {caught.value}"
    assert not caught.value.retryable


@pytest.mark.parametrize("text", ["", "[]", "<html>", '{"value": "ek_1"}', '{"value": 7, "expires_at": 1}'])
async def test_an_answer_without_a_secret_is_no_secret(desk: Desk, text: str) -> None:
    desk.answers = [{"text": text}]
    with pytest.raises(APIError, match="unexpected_answer"):
        await mint(desk)


async def test_a_wrong_key_is_told_at_once_and_hidden(desk: Desk) -> None:
    desk.answers = [{"status": 401, "text": '{"error": {"message": "Incorrect API key provided: opaquekey1."}}'}]
    with pytest.raises(APIStatusError) as caught:
        await mint(desk, api_key="opaquekey1")
    assert (caught.value.status_code, len(desk.told)) == (401, 1)
    assert "opaquekey1" not in f"{caught.value!r} {caught.value}"


async def test_a_redirect_is_not_followed(desk: Desk) -> None:
    desk.answers = [{"status": 307, "headers": {"Location": f"{desk.base_url}/elsewhere"}}]
    with pytest.raises(APIError):
        await mint(desk)
    assert len(desk.told) == 1


async def test_a_server_that_is_not_there_is_asked_again_and_told() -> None:
    with pytest.raises(APIConnectionError, match="connection_refused"):
        await create_client_secret(
            {"type": "realtime"}, base_url="http://127.0.0.1:9/v1", api_key="sk-test", conn_options=QUICK
        )


def test_a_secret_is_not_printed() -> None:
    from livekit_plugins_openai_ga.redaction import Secret

    secret = ClientSecret(Secret("ek_hidden"), 1.0, {"instructions": "private"})
    assert repr(secret) == "ClientSecret(value=[redacted], expires_at=1.0)"
    assert json.dumps({"value": secret.value}) == '{"value": "ek_hidden"}'
