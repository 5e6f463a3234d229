"""A page that talks with OpenAI directly over WebRTC, and an agent on this server that is attached to the call.

The sound never comes here: the page has it. The agent has the tools, the instructions and the conversation.

With a key of OpenAI's: OPENAI_API_KEY=sk-... python examples/browser/server.py
Without one:            python examples/browser/server.py --local
"""

import argparse
import asyncio
import json
import os
from pathlib import Path

import aiohttp
from aiohttp import web
from livekit.agents import Agent, AgentSession, function_tool
from livekit.plugins import openai_ga

HERE = Path(__file__).parent
SCRIPT = HERE.parent / "scripts" / "browser.json"
SESSION = {
    "type": "realtime",
    "model": "gpt-realtime-2.1",
    "audio": {"input": {"transcription": {"model": "gpt-transcribe"}}, "output": {"voice": "marin"}},
}
ORDERS = {42: "on its way, and will be there tomorrow"}


class Shop(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You answer the phone of a small shop. Be brief.")

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Greet the caller and ask for the number of the order.")

    @function_tool
    async def order_status(self, number: int) -> str:
        """Where an order is."""
        return f"Order {number} is {ORDERS.get(number, 'not known')}."


async def attach(call_id: str) -> None:
    """Be the agent of a call until it ends."""
    session, ended = AgentSession(llm=openai_ga.RealtimeModel(call_id=call_id)), asyncio.Event()
    session.on("close", lambda _: ended.set())
    agent = Shop()
    await session.start(agent)  # without a room: there is no sound here
    agent.realtime_llm_session.on("call_ended", lambda _: ended.set())
    await ended.wait()
    await session.aclose()


async def call(request: web.Request) -> web.Response:
    """The page's offer goes to OpenAI, with the key and the session that it never sees; OpenAI's answer goes back."""
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("sdp", await request.text(), content_type="application/sdp")
    form.add_field("session", json.dumps(SESSION), content_type="application/json")
    base_url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
    key = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'no-key')}"}
    async with aiohttp.ClientSession() as http, http.post(f"{base_url}/realtime/calls", data=form, headers=key) as made:
        answer = await made.text()
        if made.status >= 300:
            return web.Response(status=502, text=f"OpenAI refused the call: {answer}")
        call_id = made.headers["Location"].rpartition("/")[2]
    agents: set[asyncio.Task[None]] = request.app[AGENTS]
    agents.add(task := asyncio.create_task(attach(call_id)))
    task.add_done_callback(agents.discard)
    return web.Response(status=201, text=answer, content_type="application/sdp")


AGENTS = web.AppKey("agents", set)


def app() -> web.Application:
    made = web.Application()
    made[AGENTS] = set()
    made.router.add_post("/call", call)
    made.router.add_get("/", lambda _: web.FileResponse(HERE / "index.html"))
    made.router.add_get("/call.js", lambda _: web.FileResponse(HERE / "call.js"))
    return made


async def serve(port: int) -> None:
    runner = web.AppRunner(app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"Open http://127.0.0.1:{port} and press Call.", flush=True)
    await asyncio.Event().wait()


async def serve_locally(port: int) -> None:
    from livekit_plugins_openai_ga.emulator import Emulator, Script

    async with Emulator(Script.load(SCRIPT)) as emulator:
        os.environ["OPENAI_BASE_URL"] = emulator.base_url
        await serve(port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--local", action="store_true", help="talk with the emulator, which speaks from a script")
    options = parser.parse_args()
    asyncio.run((serve_locally if options.local else serve)(options.port))
