"""Calls: what is sent for each thing that can be done to one, and what is told when it cannot be done."""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from livekit.agents import APIError, APIStatusError

from livekit_plugins_openai_ga import STT, RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.rest import Call, Calls, create_client_secret

from .conftest import QUICK, Desk, Told

OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"
ANSWER = "v=0\r\no=- 3 4 IN IP4 127.0.0.1\r\n"
MADE = {"status": 201, "text": ANSWER, "headers": {"Location": "/v1/realtime/calls/rtc_abc?x=1"}}
EPHEMERAL = "ek_68af296e8e408191a1120ab6383263c2"


def calls(desk: Desk, model: Any = None, **given: Any) -> Calls:
    return Calls(model, **{"base_url": desk.base_url, "api_key": "sk-test", "conn_options": QUICK, **given})


def parts(told: Told) -> dict[str, tuple[str, str]]:
    """Name -> content type and content of each part of a multipart body."""
    head = f"Content-Type: {told.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + told.body)
    found = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found[str(name)] = (part.get_content_type(), payload.decode())
    return found


# -- on the emulator, from end to end ------------------------------------------------------------------------------


async def offer(peer: Any) -> str:
    peer.createDataChannel("oai-events")
    peer.addTransceiver("audio", direction="sendrecv")
    await peer.setLocalDescription(await peer.createOffer())
    return str(peer.localDescription.sdp)


@pytest.mark.parametrize("with_secret", [False, True])
async def test_a_browsers_offer_becomes_a_call_that_can_be_hung_up(with_secret: bool) -> None:
    aiortc = pytest.importorskip("aiortc")
    async with Emulator() as server:
        model = RealtimeModel(base_url=server.base_url, api_key="sk-test", voice="cedar")
        ours = Calls(model)
        if with_secret:
            secret = await create_client_secret(model, instructions="Hi.")
            theirs = Calls(base_url=server.base_url, api_key=secret.value)
        peer = aiortc.RTCPeerConnection()
        sdp = await offer(peer)
        made = await (theirs.create(sdp) if with_secret else ours.create(sdp, instructions="Hi."))
        await peer.setRemoteDescription(aiortc.RTCSessionDescription(made.sdp, "answer"))
        call = server.calls.live(made.call_id)
        assert call is not None
        assert (call.config["audio"]["output"]["voice"], call.config["instructions"]) == ("cedar", "Hi.")
        await ours.hangup(made.call_id)
        assert call.outcome == "hangup"
        await peer.close()


async def test_an_agent_is_attached_to_a_phone_call_that_was_accepted() -> None:
    async with Emulator(Script([Turn(say="Good morning.")])) as server:
        ours = Calls(RealtimeModel(base_url=server.base_url, api_key="sk-test"))
        call = server.calls.ring()
        await ours.accept(call.id)
        session = RealtimeModel(call_id=call.id, base_url=server.base_url, api_key="sk-test").session()
        await session.update_instructions("Be brief.")
        reply = await session.generate_reply()
        texts = [text async for message in reply.message_stream async for text in message.text_stream]
        assert "".join(texts) == "Good morning."
        ended = asyncio.Event()
        session.on("call_ended", lambda _: ended.set())
        await ours.refer(call.id, "tel:+14155550123")
        await asyncio.wait_for(ended.wait(), 5)
        await session.aclose()


# -- calls that come in --------------------------------------------------------------------------------------------


async def test_a_call_is_accepted_with_the_session_of_the_model() -> None:
    async with Emulator() as server:
        model = RealtimeModel(base_url=server.base_url, api_key="sk-test", voice="cedar")
        ours, call = Calls(model), server.calls.ring()
        await ours.accept(call.id, instructions="Answer as the front desk.")
        assert (call.state, call.config["audio"]["output"]["voice"]) == ("live", "cedar")
        assert (call.config["instructions"], call.config["model"]) == ("Answer as the front desk.", "gpt-realtime-2.1")
        await ours.refer(call.id, "tel:+14155550123")
        assert call.outcome == "referred to tel:+14155550123"


async def test_a_call_is_rejected_or_hung_up() -> None:
    async with Emulator() as server:
        ours = Calls(base_url=server.base_url, api_key="sk-test")
        first, second, third = (server.calls.ring() for _ in range(3))
        await ours.reject(first.id)
        await ours.reject(second.id, 486)
        await ours.accept(third.id, {"type": "realtime", "model": "gpt-realtime-2.1"})
        await ours.hangup(third.id)
        assert [call.outcome for call in server.calls] == ["rejected 603", "rejected 486", "hangup"]


async def test_calls_of_azure_are_where_its_models_are() -> None:
    async with Emulator(knobs=Knobs(api_keys=frozenset({"azure-key"}))) as server:
        model = RealtimeModel.with_azure(
            azure_deployment="mine", azure_endpoint=server.azure_endpoint, api_key="azure-key"
        )
        call = server.calls.ring()
        await Calls(model).accept(call.id)
        assert call.config["model"] == "mine"


async def test_a_call_that_is_gone_is_told_as_that() -> None:
    async with Emulator() as server:
        with pytest.raises(APIStatusError) as caught:
            await Calls(base_url=server.base_url, api_key="sk-test").hangup("rtc_gone")
        assert (caught.value.status_code, caught.value.retryable) == (404, False)
        assert "There is no such call, or it has ended." in caught.value.message


async def test_a_404_without_a_code_is_told_as_that_too(desk: Desk) -> None:
    desk.answers = [{"status": 404}]
    with pytest.raises(APIStatusError, match="There is no such call"):
        await calls(desk).hangup("rtc_1")


async def test_a_model_of_a_call_says_where_calls_are(desk: Desk) -> None:
    await calls(desk, IN_A_CALL).hangup("rtc_1")
    assert [told.path for told in desk.told] == ["/v1/realtime/calls/rtc_1/hangup"]


async def test_each_verb_goes_to_its_own_address(desk: Desk) -> None:
    ours = calls(desk)
    await ours.accept("rtc_1", {"model": "gpt-realtime"})
    await ours.reject("rtc_1")
    await ours.refer("rtc_1", "sip:agent@example.com")
    await ours.hangup("rtc_1")
    assert [(told.path, told.body.decode()) for told in desk.told] == [
        ("/v1/realtime/calls/rtc_1/accept", '{"model": "gpt-realtime", "type": "realtime"}'),
        ("/v1/realtime/calls/rtc_1/reject", '{"status_code": 603}'),
        ("/v1/realtime/calls/rtc_1/refer", '{"target_uri": "sip:agent@example.com"}'),
        ("/v1/realtime/calls/rtc_1/hangup", ""),
    ]
    assert {told.headers.get("content-type") for told in desk.told[:3]} == {"application/json"}


@pytest.mark.parametrize(("status", "times"), [(500, 1), (503, 3), (429, 3), (400, 1)])
async def test_what_may_have_happened_is_not_done_twice(desk: Desk, status: int, times: int) -> None:
    desk.answers = [{"status": status}]
    with pytest.raises(APIError):
        await calls(desk).accept("rtc_1", {"type": "realtime"})
    assert len(desk.told) == times


async def test_a_call_is_accepted_with_the_next_key_of_a_provider_whose_key_was_refused(desk: Desk) -> None:
    desk.answers = [{"status": 401}, {"status": 200}]
    keys = iter(["sk-old", "sk-new"])
    await calls(desk, api_key=lambda: next(keys)).accept("rtc_1", {"type": "realtime"})
    assert [told.headers["authorization"] for told in desk.told] == ["Bearer sk-old", "Bearer sk-new"]


# -- calls that are made -------------------------------------------------------------------------------------------


async def test_with_a_standard_key_offer_and_session_go_together(desk: Desk) -> None:
    desk.answers = [MADE]
    call = await calls(desk, RealtimeModel(api_key="sk-other", voice="cedar")).create(OFFER, instructions="Hi.")
    assert call == Call("rtc_abc", ANSWER)
    (told,) = desk.told
    assert (told.path, told.headers["authorization"]) == ("/v1/realtime/calls", "Bearer sk-test")
    found = parts(told)
    assert found["sdp"] == ("application/sdp", OFFER)
    assert found["session"][0] == "application/json"
    session = json.loads(found["session"][1])
    assert (session["audio"]["output"]["voice"], session["instructions"]) == ("cedar", "Hi.")
    assert all("format" not in box for box in session["audio"].values()), "the peers agree on it"


async def test_with_a_client_secret_the_offer_goes_alone(desk: Desk) -> None:
    desk.answers = [MADE]
    ours = calls(desk, RealtimeModel(api_key="sk-other"), api_key=EPHEMERAL)
    assert (await ours.create(OFFER)).call_id == "rtc_abc"
    (told,) = desk.told
    assert (told.headers["content-type"], told.body.decode()) == ("application/sdp", OFFER)
    assert told.headers["authorization"] == f"Bearer {EPHEMERAL}"


async def test_a_translated_call_is_made_at_its_own_address(desk: Desk) -> None:
    desk.answers = [{"status": 200, "text": ANSWER}]
    call = await calls(desk, api_key=EPHEMERAL).create(OFFER, translation=True)
    assert (call, desk.told[0].path) == (Call("", ANSWER), "/v1/realtime/translations/calls")


@pytest.mark.parametrize(
    ("place", "call_id"),
    [
        ("", ""),
        ("/v1/realtime/calls/", ""),
        ("/v1/realtime/calls/..", ""),
        ("https://api.openai.com/v1/realtime/calls/rtc_abc/", "rtc_abc"),
    ],
)
async def test_the_id_is_the_end_of_the_location(desk: Desk, place: str, call_id: str) -> None:
    desk.answers = [{**MADE, "headers": {"Location": place}}]
    assert (await calls(desk).create(OFFER, {"type": "realtime"})).call_id == call_id


def test_an_answer_is_not_printed() -> None:
    assert repr(Call("rtc_1", ANSWER)) == "Call(call_id='rtc_1')"


@pytest.mark.parametrize("verb", ["create", "accept", "a client secret"])
async def test_what_an_mcp_server_is_told_is_not_shown_when_the_server_quotes_it(desk: Desk, verb: str) -> None:
    told = {"authorization": "mcp-authorization-1", "server_url": "https://mcp.example/key-in-the-path"}
    headers = {"X-Team-Key": "mcp-header-of-ours", "X-Api-Version": "1", "X-Empty": ""}
    session = {"type": "realtime", "tools": [{"type": "mcp", "server_label": "orders", "headers": headers, **told}]}
    values = [*told.values(), headers["X-Team-Key"]]
    error = {"code": "http_error", "message": f"Refused: {', '.join(values)}.", "param": f"tools[0].{values[0]}"}
    desk.answers = [{"status": 400, "text": json.dumps({"error": error})}]
    ours, given = calls(desk), {"base_url": desk.base_url, "api_key": "sk-test"}
    ask: dict[str, Callable[[], Awaitable[Any]]] = {
        "create": lambda: ours.create(OFFER, session),
        "accept": lambda: ours.accept("rtc_1", session),
        "a client secret": lambda: create_client_secret(session, **given),  # type: ignore[arg-type]
    }
    with pytest.raises(APIError) as caught:
        await ask[verb]()
    shown = f"{caught.value} {caught.value!r} {caught.value.body!r}"
    assert [value for value in values if value in shown] == []
    assert "http_error: Refused: [redacted], [redacted], [redacted]. Parameter: tools[0].[redacted]." in shown
    assert all(value.encode() in desk.told[0].body for value in values)


# -- what cannot work ----------------------------------------------------------------------------------------------

IN_A_CALL = RealtimeModel(call_id="rtc_1", api_key="sk-other")
Deed = Callable[[Desk], Awaitable[Any]]
REFUSED: dict[str, Deed] = {
    "call_id='call_1'": lambda desk: calls(desk).hangup("call_1"),
    "call_id='rtc_1/../x'": lambda desk: calls(desk).hangup("rtc_1/../x"),
    "call_id=None": lambda desk: calls(desk).hangup(None),  # type: ignore[arg-type]
    "status_code=200": lambda desk: calls(desk).reject("rtc_1", 200),
    "status_code='486'": lambda desk: calls(desk).reject("rtc_1", "486"),  # type: ignore[arg-type]
    "target_uri": lambda desk: calls(desk).refer("rtc_1", "+14155550123"),
    "session is missing": lambda desk: calls(desk).accept("rtc_1"),
    "session is a RealtimeModel with call_id": lambda desk: calls(desk, IN_A_CALL).create(OFFER),
    "RealtimeModel with call_id, whose": lambda desk: calls(desk, IN_A_CALL).accept("rtc_2"),
    "session.type='transcription'": lambda desk: calls(desk).accept("rtc_1", STT(api_key="sk-x")),
    "api_key is a client secret": lambda desk: calls(desk, api_key=EPHEMERAL).hangup("rtc_1"),
    "sdp is not": lambda desk: calls(desk).create("offer", {"type": "realtime"}),
    "session has no meaning": lambda desk: calls(desk, api_key=EPHEMERAL).create(OFFER, {"type": "realtime"}),
    "translation=True": lambda desk: calls(desk).create(OFFER, translation=True),
}


@pytest.mark.parametrize("words", REFUSED)
async def test_what_cannot_work_is_refused_before_anything_is_sent(desk: Desk, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        await REFUSED[words](desk)
    assert "68af296e" not in str(caught.value)
    assert desk.told == []


def test_calls_need_a_key() -> None:
    with pytest.raises(ValueError, match="api_key is missing"):
        Calls()
