"""A page that talks with OpenAI directly over WebRTC, and an agent on this server that is attached to the call.

The sound never comes here: the page has it. The agent has the tools, the instructions and the conversation.

With a key of OpenAI's: OPENAI_API_KEY=sk-... python examples/browser/server.py
Without one:            python examples/browser/server.py --local

The page's offer goes to OpenAI by way of this server. Opened with `?secret`, the page takes it there by itself, with a
key for one call that this server makes. There is no login: whoever can reach this server can do both, and can have the
agent attached to any call of the project whose id they know. Know your callers before you open it to the world.
"""

import argparse
import asyncio
import os
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler
from livekit.agents import Agent, AgentSession, APIError, function_tool
from livekit.plugins import openai_ga
from livekit.plugins.openai_ga.rest import Calls, create_client_secret

HERE = Path(__file__).parent
SCRIPT = HERE.parent / "scripts" / "browser.json"
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


async def attach(model: openai_ga.RealtimeModel) -> None:
    """Be the agent of the model's call until it ends."""
    ended = asyncio.Event()
    session, agent = AgentSession(llm=model), Shop()
    session.on("close", lambda _: ended.set())
    await session.start(agent)  # without a room: there is no sound here
    attached = agent.realtime_llm_session
    attached.on("call_ended", lambda _: ended.set())
    if attached.info.state != "over":  # a caller can be gone by now
        await ended.wait()
    await session.aclose()


def begin(app: web.Application, call_id: str) -> None:
    """Attach an agent to the call with this id. Raises ValueError when it is none."""
    if not call_id:
        raise ValueError("The answer did not name the call (header Location), so no agent can be attached to it.")
    model = openai_ga.RealtimeModel(call_id=call_id)  # refuses what is no id, while the page still waits
    agents = app[AGENTS]
    agents.add(task := asyncio.create_task(attach(model)))
    task.add_done_callback(agents.discard)


async def call(request: web.Request) -> web.Response:
    """The page's offer goes to OpenAI, with a key that the page never sees. OpenAI's answer goes back."""
    made = await Calls(openai_ga.RealtimeModel(voice="marin")).create(await request.text())
    begin(request.app, made.call_id)
    return web.Response(status=201, text=made.sdp, content_type="application/sdp")


async def secret(request: web.Request) -> web.Response:
    """A key with which the page can make a call itself, within a minute."""
    model = openai_ga.RealtimeModel(voice="marin")
    minted = await create_client_secret(model, expires_after=60)
    address = model.options.connection.base_url.partition("?")[0]  # a gateway's own key may be in the query
    return web.json_response({"secret": minted.value, "url": f"{address.rstrip('/')}/realtime/calls"})


async def made(request: web.Request) -> web.Response:
    """The page made a call: its address ends in the id."""
    begin(request.app, (await request.text()).rpartition("/")[2])
    return web.Response(status=204)


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What OpenAI refuses, or cannot work, the page shows. Other sites' pages may ask for nothing."""
    if request.method == "POST" and request.headers.get("Origin", "").partition("://")[2] != request.host:
        return web.Response(status=403, text="Only this server's own page may ask for this.")
    try:
        return await handler(request)
    except APIError as refused:
        return web.Response(status=502, text=str(refused))
    except ValueError as wrong:
        return web.Response(status=400, text=str(wrong))


async def page(request: web.Request) -> web.FileResponse:
    return web.FileResponse(HERE / ("call.js" if request.path == "/call.js" else "index.html"))


AGENTS = web.AppKey("agents", set[asyncio.Task[None]])


def app() -> web.Application:
    shop = web.Application(middlewares=[refusals])
    shop[AGENTS] = set()
    shop.add_routes([web.get("/", page), web.get("/call.js", page)])
    shop.add_routes([web.post("/call", call), web.post("/secret", secret), web.post("/made", made)])
    return shop


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
