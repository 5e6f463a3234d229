"""The counting server, as figures see it: a small client for its control socket.

`behave`, `opened`, `send`, `stats` and `reset` are what `server.py` understands; it says what each does.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect


class Server:
    """Talks to the counting server. Times it gives are `time.monotonic()` of this machine."""

    def __init__(self, url: str) -> None:
        """`url`: its base URL; nothing is opened before the first question."""
        self._url = f"ws://{urlsplit(url).netloc}/control"
        self._socket: ClientConnection | None = None

    async def _ask(self, do: str, **parameters: Any) -> Any:
        if self._socket is None:
            self._socket = await connect(self._url, compression=None, max_size=None, ping_interval=None)
        await self._socket.send(json.dumps({"do": do, **parameters}))
        answer = json.loads(await self._socket.recv())
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["result"]

    async def behave(self, **behaviour: float | int) -> None:
        """Change the named fields of the server's `Behaviour`, for connections, replies and frames from now on."""
        await self._ask("behave", **behaviour)

    async def opened(self, count: int) -> None:
        """Wait until so many connections since the last `reset` are open and configured."""
        await self._ask("opened", count=count)

    async def stats(self) -> list[dict[str, Any]]:
        """What came on each connection since the last `reset`, in the order in which they were opened."""
        stats: list[dict[str, Any]] = await self._ask("stats")
        return stats

    async def send(self, event: dict[str, Any], connection: int | None = None, times: int = 1) -> float:
        """Have it send an event on one connection (its place in `stats`), or on all; so many times, as fast as it goes.

        Returns when it began to.
        """
        began: float = await self._ask("send", event=event, connection=connection, times=times)
        return began

    async def reset(self) -> None:
        """Forget closed connections and what came so far; behave as in the beginning."""
        await self._ask("reset")

    async def aclose(self) -> None:
        """Hang up."""
        if self._socket is not None:
            await self._socket.close()
            self._socket = None
