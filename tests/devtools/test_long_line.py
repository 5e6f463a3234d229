"""A line to a server on this machine that takes as long as one around the world, and carries every byte."""

from __future__ import annotations

import asyncio
import contextlib

from livekit_plugins_openai_ga.devtools.long_line import HANDSHAKE_TRIPS, long_line


@contextlib.asynccontextmanager
async def echo():
    """A server that sends back what it gets, and counts who hung up."""
    gone: list[bytes] = []

    async def serve(reader, writer):
        received = b""
        while data := await reader.read(65536):
            received += data
            writer.write(data)
        gone.append(received)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1?a=b", gone
    finally:
        server.close()


def port(url: str) -> int:
    return int(url.removeprefix("ws://127.0.0.1:").partition("/")[0])


async def test_a_byte_takes_half_a_round_trip_and_the_first_one_the_handshakes_as_well():
    async with echo() as (there, _), long_line(there, round_trip=0.1) as here:
        assert here.endswith("/v1?a=b")
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", port(here))
        for trips in (1 + HANDSHAKE_TRIPS, 1):
            began = loop.time()
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            assert loop.time() - began >= 0.1 * trips - 0.005
        writer.close()


async def test_everything_arrives_in_order_and_in_one_delay_not_one_for_each():
    async with echo() as (there, gone), long_line(there, round_trip=0.05) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", port(here))
        sent = bytes(range(256)) * 4000
        for start in range(0, len(sent), 10_240):
            writer.write(sent[start : start + 10_240])
            await asyncio.sleep(0)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), 5) == sent
        writer.close()
        for _ in range(100):
            if gone:
                break
            await asyncio.sleep(0.02)
        assert gone == [sent]


async def test_it_ends_with_its_block_and_leaves_nothing_behind():
    async with echo() as (there, _):
        before = asyncio.all_tasks()
        async with long_line(there, round_trip=0.02) as here:
            reader, writer = await asyncio.open_connection("127.0.0.1", port(here))
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
        assert [task for task in asyncio.all_tasks() - before if "_carry" in repr(task)] == []
