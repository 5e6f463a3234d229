"""A web server with images, good and bad ones, on this machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
JPEG = b"\xff\xd8\xff\xe0" + bytes(100)
FILES = {"image.png": PNG, "image.jpg": JPEG, "large.png": PNG + bytes(10_000), "page.png": b"<html>No image.</html>"}


@dataclass
class Web:
    """The server; `asked` are the paths and headers of all requests. `gate` holds back /slow.png, at `most` so many."""

    port: int
    scheme: str = "http"
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    waiting: int = 0
    most: int = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}/{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, dict(request.headers)))
        name = request.match_info["name"]
        if name == "redirect":
            raise web.HTTPFound(request.query["to"])
        if name == "slow.png":
            async with self.arrived:
                self.waiting += 1
                self.most = max(self.most, self.waiting)
                self.arrived.notify_all()
            await self.gate.wait()
            self.waiting -= 1
            return web.Response(body=PNG)
        if name == "endless.png":
            return await _endless(request)
        if name not in FILES:
            raise web.HTTPNotFound
        # Whatever it says of itself: only the first bytes count.
        return web.Response(body=FILES[name], content_type="image/gif")


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(PNG)
    while True:
        await response.write(bytes(64 * 1024))


@asynccontextmanager
async def serving(proof: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    """The server while the block runs; on https with a certificate (`proof`)."""
    app = web.Application()
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    served = Web(0, "https" if proof else "http")
    app.router.add_get("/{name}", served.answer)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=proof)
    await site.start()
    served.port = runner.addresses[0][1]
    try:
        yield served
    finally:
        served.gate.set()
        await runner.cleanup()
