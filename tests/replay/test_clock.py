"""A loop whose time jumps."""

from __future__ import annotations

import asyncio
import threading
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


def test_other_threads_see_the_clocks_as_they_are():
    async def main() -> tuple[float, float]:
        before = await asyncio.to_thread(time.monotonic)
        await asyncio.sleep(3600)
        return before, await asyncio.to_thread(time.monotonic)

    before, after = clock.run(main())
    assert after - before < 600


def test_loops_in_two_threads_leave_the_clocks_as_they_were():
    clocks = time.time, time.monotonic, time.perf_counter
    passed: list[float] = []

    async def main() -> None:
        begun = time.monotonic()
        for _ in range(50):
            await asyncio.sleep(60)
        passed.append(time.monotonic() - begun)

    threads = [threading.Thread(target=lambda: clock.run(main())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passed == [pytest.approx(3000, abs=5)] * 3
    assert (time.time, time.monotonic, time.perf_counter) == clocks
