"""What waits for a reader: in order, bounded, and with an end."""

from __future__ import annotations

import asyncio

import pytest

from livekit_plugins_openai_ga.translation.unread import Unread


def nobody() -> None:
    pytest.fail("nothing was lost")


async def read(unread: Unread[str]) -> list[str]:
    return [item async for item in unread]


async def test_what_is_put_comes_out_in_order_and_ends() -> None:
    unread: Unread[str] = Unread(10, nobody)
    for item in "abc":
        unread.put(item, 1)
    unread.end()
    unread.put("late", 1)
    assert await read(unread) == ["a", "b", "c"]
    assert await read(unread) == []


async def test_a_reader_waits_for_what_comes() -> None:
    unread: Unread[str] = Unread(10, nobody)
    reading = asyncio.ensure_future(read(unread))
    await asyncio.sleep(0)
    unread.put("a", 1)
    await asyncio.sleep(0)
    unread.end()
    assert await reading == ["a"]


async def test_beyond_the_limit_the_oldest_goes() -> None:
    told: list[str] = []
    unread: Unread[str] = Unread(3, lambda: told.append("lost"))
    for item in "abc":
        unread.put(item, 1)
    assert told == []
    for item in "de":
        unread.put(item, 1)
    unread.put("big", 2)
    unread.end()
    assert await read(unread) == ["e", "big"]
    assert told == ["lost"]


async def test_one_that_is_bigger_than_the_limit_stays() -> None:
    unread: Unread[str] = Unread(1, nobody)
    unread.put("big", 5)
    unread.end()
    assert await read(unread) == ["big"]


async def test_an_error_comes_behind_what_is_there_and_once() -> None:
    unread: Unread[str] = Unread(3, nobody)
    unread.put("a", 1)
    unread.end(RuntimeError("broken"))
    unread.end()
    assert await unread.__anext__() == "a"
    with pytest.raises(RuntimeError, match="broken"):
        await unread.__anext__()
    assert await read(unread) == []


async def test_what_is_cleared_does_not_come() -> None:
    unread: Unread[str] = Unread(3, nobody)
    unread.put("a", 1)
    unread.clear()
    unread.put("b", 3)
    unread.end()
    assert await read(unread) == ["b"]
