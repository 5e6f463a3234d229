"""Who gets in on Azure's paths; OpenAI's own are in test_server."""

from __future__ import annotations

import base64
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.voice import synthetic

KEYED = Knobs(api_keys=frozenset({"azure-key"}), speak=synthetic)
KEY = {"api-key": "azure-key"}


def dial(server, query="?model=my-deployment", *, headers=None, path="/openai/v1/realtime"):
    url = server.azure_endpoint.replace("http://", "ws://") + path + query
    return connect(url, additional_headers=KEY if headers is None else headers)


async def receive(client):
    return json.loads(await client.recv())


async def ask(client, event_type, **fields):
    await client.send(json.dumps({"type": event_type, **fields}))
    return await receive(client)


@pytest.mark.parametrize("headers", [KEY, {"Authorization": "Bearer azure-key"}])
async def test_a_key_or_a_token_opens_a_session_on_any_deployment(headers):
    async with Emulator(knobs=KEYED) as server, dial(server, headers=headers) as client:
        session = (await receive(client))["session"]
        assert (session["type"], session["model"]) == ("realtime", "gpt-realtime-2.1")
        assert server.handshakes[0].query == {"model": "my-deployment"}
        assert server.handshakes[0].path == "/openai/v1/realtime"
        assert "azure-key" not in repr(server.handshakes)


@pytest.mark.parametrize(
    "headers", [{}, {"api-key": "wrong"}, {"Authorization": "Bearer wrong"}, {"Authorization": "azure-key"}]
)
async def test_bad_credentials_are_refused_before_the_upgrade(headers):
    async with Emulator(knobs=KEYED) as server:
        with pytest.raises(InvalidStatus) as refused:
            await dial(server, headers=headers)
        response = refused.value.response
        assert response.status_code == 401
        assert response.headers["Content-Type"] == "application/json"
        error = json.loads(response.body)["error"]
        assert (error["code"], error["message"][:13]) == ("401", "Access denied")
        assert server.sessions == []


async def test_a_dated_api_version_is_refused_in_one_sentence():
    async with Emulator(knobs=KEYED) as server:
        with pytest.raises(InvalidStatus) as refused:
            await dial(server, "?model=my-deployment&api-version=2024-10-01-preview")
        assert refused.value.response.status_code == 400
        assert "api-version" in json.loads(refused.value.response.body)["error"]["message"]


async def test_the_dated_path_is_not_found():
    async with Emulator(knobs=KEYED) as server:
        with pytest.raises(InvalidStatus) as refused:
            await dial(server, "?deployment=x&api-version=2024-10-01-preview", path="/openai/realtime")
        assert refused.value.response.status_code == 404


async def test_the_key_header_of_azure_opens_nothing_at_openai():
    async with Emulator(knobs=KEYED) as server, dial(server, "?model=gpt-realtime-2.1", path="/v1/realtime") as client:
        assert (await receive(client))["error"]["message"].startswith("Missing bearer")
        with pytest.raises(ConnectionClosed):
            await client.recv()


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("?model=gpt-realtime-1.5", ("realtime", "gpt-realtime-1.5")),
        ("?model=gpt-4o-realtime-preview", ("realtime", "gpt-realtime-2.1")),
        ("?intent=transcription", ("transcription", None)),
        ("?intent=transcription&model=my-whisper", ("transcription", None)),
    ],
)
async def test_a_deployment_can_have_any_name(query, kind):
    async with Emulator(knobs=KEYED) as server, dial(server, query) as client:
        session = (await receive(client))["session"]
        assert (session["type"], session.get("model")) == kind


@pytest.mark.parametrize(("query", "code"), [("?model=gpt-transcribe", "invalid_model"), ("", "missing_model")])
async def test_what_is_no_conversation_model_by_name_is_refused_after_the_101(query, code):
    async with Emulator(knobs=KEYED) as server, dial(server, query) as client:
        assert (await receive(client))["error"]["code"] == code
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd.code == 4000


async def test_a_model_named_in_an_update_is_not_compared_with_the_deployment():
    async with Emulator(knobs=KEYED) as server, dial(server) as client:
        await receive(client)
        answer = await ask(client, "session.update", session={"type": "realtime", "model": "my-deployment"})
        assert (answer["type"], answer["session"]["model"]) == ("session.updated", "gpt-realtime-2.1")


async def test_a_deployment_of_some_transcription_model_transcribes(speech):
    async with Emulator(Script([Turn(heard="Hello Azure")]), knobs=KEYED) as server:
        async with dial(server, "?intent=transcription") as client:
            await receive(client)
            box = {"transcription": {"model": "my-whisper", "language": "en"}, "turn_detection": None}
            answer = await ask(client, "session.update", session={"type": "transcription", "audio": {"input": box}})
            assert answer["session"]["audio"]["input"]["transcription"]["model"] == "my-whisper"
            audio = base64.b64encode(speech()).decode()
            await client.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            await client.send(json.dumps({"type": "input_audio_buffer.commit"}))
            (completed,) = await server.wait_sent("conversation.item.input_audio_transcription.completed")
            assert completed["transcript"] == "Hello Azure"
            assert completed["usage"]["type"] == "tokens"
        assert server.sent("error") == []


async def test_elsewhere_an_unknown_transcription_model_stays_unknown(talk):
    t = talk(session_type="transcription")
    (answer,) = t.configure(audio={"input": {"transcription": {"model": "my-whisper"}}})
    assert answer["error"]["param"] == "session.audio.input.transcription.model"
