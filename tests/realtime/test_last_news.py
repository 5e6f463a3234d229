"""The news that a session is over, and when it is told."""

from __future__ import annotations

import asyncio

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.realtime.last_news import LastNews

OVER = errors.from_server_error("invalid_api_key", "invalid_request_error", "Incorrect API key.")


async def test_it_is_told_at_once_when_nobody_sets_the_session_up():
    told = []
    LastNews(told.append).over(OVER)
    assert told == [OVER]


async def test_it_waits_for_the_last_setup_and_for_whoever_waits_for_that():
    told, news = [], LastNews(lambda failure: told.append(failure))
    with news.held_back():
        with news.held_back():
            news.over(OVER)
        assert told == []
    assert told == []  # whoever awaited the setup goes on first
    await asyncio.sleep(0)
    assert told == [OVER]
    with news.held_back():
        pass
    await asyncio.sleep(0)
    assert told == [OVER]
