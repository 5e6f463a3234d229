"""The proxy does what its faults say, to the byte; else the tests beside it prove nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from .proxy import Path, Plan, TcpProxy

DATA = bytes(range(256)) * 400


@contextlib.asynccontextmanager
async def echo(*plans: Plan) -> AsyncIterator[TcpProxy]:
    """A proxy to a server that sends back what it gets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, TcpProxy(server.sockets[0].getsockname()[1], plans) as proxy:
        yield proxy


async def everything(proxy: TcpProxy, data: bytes = DATA) -> tuple[bytes, bool]:
    """Send, say that this was all, and read to the end: what came back, and whether it ended with a reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    came = bytearray()

    async def send() -> None:
        with contextlib.suppress(OSError):
            writer.write(data)
            await writer.drain()
            writer.write_eof()

    async def take() -> None:
        while piece := await reader.read(65536):
            came.extend(piece)

    sending = asyncio.ensure_future(send())
    try:
        await asyncio.wait_for(take(), 10)
    except ConnectionError:
        return bytes(came), True
    finally:
        writer.transport.abort()
        await sending
    return bytes(came), False


@pytest.mark.parametrize(
    "path", [Path(), Path(piece=1000), Path(rate=1e6), Path(delay=0.001, piece=20_000)], ids=lambda path: repr(path)
)
async def test_what_is_split_throttled_or_delayed_arrives_as_it_was(path):
    async with echo(Plan(path, path)) as proxy:
        assert await everything(proxy) == (DATA, False)


@pytest.mark.parametrize("after", [0, 1, 40_000])
@pytest.mark.parametrize("end", ["rst", "fin"])
async def test_a_cut_comes_after_as_many_bytes_as_it_says(end, after):
    async with echo(Plan(down=Path(end=end, after=after))) as proxy:
        came, was_reset = await everything(proxy, DATA[:50_000])
        assert came == DATA[:after]
        assert was_reset == (end == "rst")


async def test_a_stalled_direction_goes_on_where_it_stopped():
    async with echo(Plan(down=Path(end="stall", after=10))) as proxy:
        reading = asyncio.create_task(everything(proxy))
        await proxy.until(lambda: proxy.connections and proxy.connections[0].down.struck)
        assert not reading.done()
        proxy.change(down=Path())
        assert await reading == (DATA, False)


async def test_what_is_swallowed_is_counted_and_gone():
    async with echo(Plan(up=Path(end="swallow", after=100))) as proxy:
        assert await everything(proxy) == (DATA[:100], False)
        assert proxy.connections[0].up.swallowed == len(DATA) - 100


async def test_refused_for_a_while_then_back_on_the_same_port():
    async with echo() as proxy:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await everything(proxy)
        await proxy.accept()
        assert await everything(proxy) == (DATA, False)
