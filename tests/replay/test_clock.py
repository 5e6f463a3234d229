"""A loop whose time jumps."""

from __future__ import annotations

import asyncio
import time

import pytest

from livekit_plugins_openai_ga.replay import clock


def test_an_hour_takes_no_time():
    async def main() -> tuple[float, float, float]:
        begun = asyncio.get_running_loop().time(), time.time(), time.monotonic()
        await asyncio.sleep(3600)
        now = asyncio.get_running_loop().time(), time.time(), time.monotonic()
        return tuple(b - a for a, b in zip(begun, now, strict=True))

    before = time.monotonic()
    passed = clock.run(main())
    assert all(seconds == pytest.approx(3600, abs=5) for seconds in passed)
    assert time.monotonic() - before < 600  # the clocks are as they were


def test_what_is_sent_comes_before_a_timer_goes_off():
    async def main() -> str:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(3))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"abc")
        answer = await asyncio.wait_for(reader.readexactly(3), 60)
        writer.close()
        server.close()
        return answer.decode()

    assert clock.run(main()) == "abc"


def test_a_thread_is_waited_for():
    async def main() -> str:
        return await asyncio.to_thread(lambda: "done")

    assert clock.run(main()) == "done"


def test_an_error_leaves_the_clocks_as_they_were():
    async def main() -> None:
        raise LookupError

    clocks = time.time, time.monotonic, time.perf_counter
    with pytest.raises(LookupError):
        clock.run(main())
    assert (time.time, time.monotonic, time.perf_counter) == clocks
