"""What LiveKit iterates over: all that was put in, in order, each thing once, to the end."""

from __future__ import annotations

import asyncio

import pytest

from livekit_plugins_openai_ga.realtime.channel import Channel


async def read(channel: Channel[int]) -> list[int]:
    return [thing async for thing in channel]


async def steps(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_was_put_in_before_and_while_it_is_read_comes_out_in_order() -> None:
    channel: Channel[int] = Channel()
    channel.put(1)
    channel.put(2)
    reading = asyncio.create_task(read(channel))
    await steps()
    channel.put(3)
    channel.put(4)
    await steps()
    channel.put(5)
    channel.close()
    assert await asyncio.wait_for(reading, 2) == [1, 2, 3, 4, 5]


async def test_what_is_in_a_closed_channel_is_read_and_nothing_comes_behind_it() -> None:
    channel: Channel[int] = Channel()
    channel.put(1)
    assert not channel.closed
    channel.close()
    channel.close()
    channel.put(2)
    assert channel.closed
    assert await asyncio.wait_for(read(channel), 2) == [1]
    assert await asyncio.wait_for(read(channel), 2) == []


async def test_several_readers_share_what_comes_and_all_hear_of_the_end() -> None:
    channel: Channel[int] = Channel()
    readers = [asyncio.create_task(read(channel)) for _ in range(3)]
    await steps()
    for thing in range(10):
        channel.put(thing)
        await steps(thing % 3)
    channel.close()
    parts = await asyncio.wait_for(asyncio.gather(*readers), 2)
    assert sorted(thing for part in parts for thing in part) == list(range(10))
    assert all(part == sorted(part) for part in parts)


@pytest.mark.parametrize("woken", [False, True])
async def test_a_reader_that_is_cancelled_takes_nothing_with_it(woken: bool) -> None:
    channel: Channel[int] = Channel()
    gone, stays = asyncio.create_task(read(channel)), asyncio.create_task(read(channel))
    await steps()
    if woken:
        channel.put(1)
    gone.cancel()
    await steps()
    channel.put(2)
    channel.close()
    assert await asyncio.wait_for(stays, 2) == ([1, 2] if woken else [2])
    assert gone.cancelled()
