"""A line as long as one to a real server, to a server on this machine: what a round trip, TCP and TLS cost a call.

It carries bytes and knows nothing of what they are. Connecting to this machine takes no time, and has no TLS, so the
first bytes of a connection wait for as long as TCP's and TLS 1.3's handshakes would take: two round trips.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

HANDSHAKE_TRIPS = 2
"""Round trips before the first byte of a request can leave: TCP's handshake, and TLS 1.3's."""

_READ_BYTES = 64 * 1024


@contextlib.asynccontextmanager
async def long_line(base_url: str, *, round_trip: float) -> AsyncIterator[str]:
    """The base URL of the same server behind a line whose round trip takes so many seconds, while the block lasts."""
    there = urlsplit(base_url)
    ends: set[asyncio.StreamWriter] = set()
    lines: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(there.hostname, there.port)
        ends.update((writer, far_writer))
        await asyncio.gather(
            _carry(reader, far_writer, round_trip / 2, held=HANDSHAKE_TRIPS * round_trip),
            _carry(far_reader, writer, round_trip / 2),
        )
        ends.difference_update((writer, far_writer))

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.ensure_future(carry(reader, writer))
        lines.add(line)
        line.add_done_callback(lines.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield there._replace(netloc=f"127.0.0.1:{port}").geturl()
    finally:
        server.close()
        for end in ends:
            end.close()
        await asyncio.gather(*lines, return_exceptions=True)


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, *, held: float = 0.0
) -> None:
    """One direction. Everything arrives `delay` seconds after it was sent, the first bytes `held` seconds later yet."""
    loop = asyncio.get_running_loop()
    on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await on_its_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                break
            writer.write(data)
            await writer.drain()

    async def take() -> None:
        open_at = 0.0
        data = b"..."
        while data:
            data = await reader.read(_READ_BYTES)
            open_at = open_at or loop.time() + held
            on_its_way.put_nowait((max(loop.time(), open_at) + delay, data))

    taking = asyncio.ensure_future(take())
    with contextlib.suppress(OSError):  # whoever hung up is found by the other direction, too
        await asyncio.gather(taking, deliver())
    taking.cancel()
    writer.close()
