"""Whoever watches an emulator is told what happens, in order."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from aiohttp import ClientSession
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn, faults

KEY = {"Authorization": "Bearer sk-test"}
UPDATE = {"type": "session.update", "session": {"type": "realtime", "modalities": ["text"]}}


def dial(server, query="?model=gpt-realtime-2.1", path="/realtime"):
    return connect(server.base_url.replace("http://", "ws://") + path + query, additional_headers=KEY)


async def drained(client):
    with contextlib.suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(client.recv(), 10)


@pytest.fixture
def seen():
    return []


async def test_a_session_from_its_beginning_to_its_end(seen):
    async with Emulator(watch=seen.append) as server:
        for model in ("gpt-realtime-2.1", "gpt-realtime-2.1-mini"):
            async with dial(server, f"?model={model}") as client:
                await client.send(json.dumps(UPDATE))
                await client.send("{")
                for _ in range(3):
                    await client.recv()
        await server.wait_until(lambda: [each.what for each in seen].count("ended") == 2)
    for number, session in enumerate(server.sessions, 1):
        mine = [each for each in seen if each.session == number]
        assert [each.what for each in mine] == [
            *("connected", "sent", "received", "sent", "refused", "sent", "refused", "ended"),
        ]
        connected, created, received, error, refused, _, broken, ended = (each.detail for each in mine)
        assert connected == {"id": session.id, "type": "realtime", "model": session.config["model"]}
        assert (created["type"], received, error["type"]) == ("session.created", UPDATE, "error")
        assert (refused["event"], refused["error"]) == (UPDATE, error["error"])
        assert (broken["event"], broken["error"]["code"]) == (None, "invalid_json")
        assert ended == {"code": 1000, "reason": ""}


async def test_those_who_do_not_get_in(seen):
    refuses, rejects = faults.RefuseHandshake(503, "Not now."), faults.RejectHandshake(nth=2)
    async with Emulator(faults=[refuses, rejects], watch=seen.append) as server:
        with pytest.raises(InvalidStatus):
            await dial(server)
        for query in ("?model=nonsense", "?model=gpt-realtime-2.1"):
            async with dial(server, query) as client:
                await drained(client)
        for path, query in (("/nowhere", ""), ("/realtime", "?call_id=rtc_none")):
            with pytest.raises(InvalidStatus):
                await dial(server, query, path)
    told = [(each.what, each.detail.get("code") or each.detail.get("fault")) for each in seen]
    assert told == [
        ("fault", refuses),
        ("turned_away", 503),
        ("turned_away", "invalid_model"),
        ("fault", rejects),
        ("turned_away", "invalid_model"),
        ("turned_away", 404),
        ("turned_away", 404),
    ]
    assert {each.session for each in seen} == {0}
    assert seen[1].detail == {"path": "/v1/realtime", "code": 503, "message": "Not now."}


async def test_a_request_and_its_answer(seen):
    async with Emulator(watch=seen.append) as server, ClientSession(headers=KEY) as http:
        for path in ("/realtime/client_secrets", "/nowhere"):
            async with http.post(server.base_url + path, json={}):
                pass
    assert [each.detail for each in seen] == [
        {"method": "POST", "path": "/v1/realtime/client_secrets", "status": 200, "code": "", "message": ""},
        {
            "method": "POST",
            "path": "/v1/nowhere",
            "status": 404,
            "code": "",
            "message": "Invalid URL (POST /v1/nowhere)",
        },
    ]


async def test_a_connection_that_a_fault_breaks(seen):
    fault = faults.DropOn("response.done")
    async with Emulator(Script([Turn(say="Hi.")]), faults=[fault], watch=seen.append) as server:
        async with dial(server) as client:
            await client.send('{"type": "response.create"}')
            await drained(client)
        await server.wait_until(lambda: seen[-1].what == "ended")
    fault_told, done, ended = seen[-3:]
    assert (fault_told.what, fault_told.detail["fault"]) == ("fault", fault)
    assert done.detail["type"] == "response.done"
    assert (ended.session, ended.detail["code"]) == (1, 1006)
