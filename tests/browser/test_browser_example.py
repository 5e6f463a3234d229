"""The page and the server of examples/browser, in a real browser, against the emulator."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from livekit_plugins_openai_ga.emulator import Emulator, Script

EXAMPLES = Path(__file__).parents[2] / "examples"
ENERGY = """async () => {
  let energy = 0;
  for (const report of (await call.peer.getStats()).values())
    if (report.type === "inbound-rtp" && report.kind === "audio") energy += report.totalAudioEnergy;
  return energy;
}"""


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("browser_example", EXAMPLES / "browser" / "server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def shop(example, monkeypatch):
    """The emulator, and where the page is."""
    async with Emulator(Script.load(EXAMPLES / "scripts" / "browser.json")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        runner = web.AppRunner(example.app())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        yield server, f"http://127.0.0.1:{port}"
        await runner.cleanup()


async def test_a_browser_talks_with_the_model_and_the_agent_on_the_server_answers_its_tool_call(
    shop, microphone, open_page
):
    server, url = shop
    page = await open_page(url, microphone((6.0, "It is number forty two.")))
    await page.click("#button")
    await page.wait_for_selector("text=Connected: speak")
    await page.wait_for_selector("li.assistant:not(.waiting) >> text=What is the number of your order?")
    await server.wait_sent("output_audio_buffer.stopped", timeout=10)
    greeted = await page.evaluate(ENERGY)
    assert greeted > 0.01  # the page's remote track carried the spoken greeting

    await page.wait_for_selector("li.user:not(.waiting) >> text=It is number 42.")
    await page.wait_for_selector("li.tool >> text=order_status")
    await page.wait_for_selector("li.assistant:not(.waiting) >> text=on its way", timeout=20_000)
    await server.wait_sent("output_audio_buffer.stopped", count=2, timeout=10)
    assert await page.evaluate(ENERGY) > greeted + 0.01
    if "SCREENSHOT" in os.environ:
        await page.screenshot(path=os.environ["SCREENSHOT"])

    session = server.sessions[0]
    outputs = [item for item in session.items if item["type"] == "function_call_output"]
    assert [item["output"] for item in outputs] == ["Order 42 is on its way, and will be there tomorrow."]
    assert session.config["instructions"].startswith("You answer the phone")
    spoken = next(item for item in session.conversation if item.fields.get("role") == "user")
    heard = np.frombuffer(bytes(spoken.audio), dtype="<i2")
    assert len(heard) > 24000 * 0.8
    assert np.sqrt(np.mean(np.square(heard, dtype=np.float64))) > 500
    rows = await page.locator("#transcript li").evaluate_all("rows => rows.map((row) => row.className)")
    assert rows == ["assistant", "user", "tool", "assistant"]

    await page.click("#button")
    await page.wait_for_selector("text=Call ended")
    await server.wait_until(lambda: next(iter(server.calls)).state == "ended")
    assert next(iter(server.calls)).outcome == "the caller left"


async def test_a_page_with_a_client_secret_calls_by_itself_and_has_the_same_agent(shop, microphone, open_page):
    server, url = shop
    page = await open_page(f"{url}/?secret", microphone((6.0, "It is number forty two.")))
    await page.click("#button")
    await page.wait_for_selector("li.tool >> text=order_status")
    await page.wait_for_selector("li.assistant:not(.waiting) >> text=on its way", timeout=20_000)
    made = next(r for r in server.requests if (r.method, r.path) == ("POST", "/v1/realtime/calls"))
    assert made.headers["authorization"].startswith("Bearer ek_")
    assert server.sessions[0].config["instructions"].startswith("You answer the phone")


async def test_a_call_whose_id_nobody_names_is_shown_and_given_up(shop, microphone, open_page):
    server, url = shop
    page = await open_page(f"{url}/?secret", microphone())

    async def unnamed(route):
        answer = await route.fetch()
        headers = {name: value for name, value in answer.headers.items() if name != "location"}
        await route.fulfill(response=answer, headers=headers)

    await page.route("**/v1/realtime/calls", unnamed)
    await page.click("#button")
    await page.wait_for_selector("#status.bad >> text=did not name the call")
    assert await page.inner_text("#button") == "Call"
    assert not server.handshakes


@pytest.mark.parametrize(
    ("origin", "body", "status"),
    [("", "rtc_1", 403), ("null", "rtc_1", 403), ("https://other.example", "rtc_1", 403), (None, "call_1", 400)],
)
async def test_an_agent_is_attached_for_the_servers_own_page_to_what_can_be_a_call(shop, origin, body, status):
    server, url = shop
    headers = {} if origin == "" else {"Origin": url if origin is None else origin}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/made", data=body, headers=headers) as answer,
    ):
        assert answer.status == status
    assert not server.handshakes


async def test_a_gateways_key_does_not_reach_the_page(shop, monkeypatch):
    server, url = shop
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.base_url}/?gateway-key=hidden")
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/secret", headers={"Origin": url}) as answer,
    ):
        told = await answer.json()
    assert told["url"] == f"{server.base_url}/realtime/calls"
    assert server.requests[0].query["gateway-key"] == "hidden"


async def test_the_page_shows_what_openai_refuses(shop, microphone, open_page, monkeypatch):
    _, url = shop
    monkeypatch.setenv("OPENAI_API_KEY", "ek_expired")
    page = await open_page(url, microphone())
    await page.click("#button")
    await page.wait_for_selector("#status.bad")
    assert "client secret" in await page.inner_text("#status.bad")
