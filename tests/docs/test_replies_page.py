"""The programs of docs/replies.md, in a session."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from .blocks import blocks
from .programs import program, run


async def test_a_reply_of_its_own_tells_the_mood_and_what_is_read_aloud_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Emulator(Script([Turn(say="Hi.")], out_of_band=[Turn(say="cheerful")])) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        page = await program("docs/replies.md")
        session = RealtimeModel(base_url=server.base_url, read_aloud=True).session()
        page["watch"](session)
        try:
            assert await page["mood_of"](session, "What a day!") == "cheerful"
            await (await session.say("Good morning.")).end()
        finally:
            await session.aclose()


async def test_the_models_of_the_page_are_what_it_says(server: Emulator) -> None:
    _, aloud, images = blocks("docs/replies.md", "python")
    for block, told in ((aloud, ("supports_say", True)), (images, ("max_edge", 768))):
        names: dict[str, RealtimeModel] = {}
        await run(block, names)
        model = names["model"]
        assert told in (("supports_say", model.capabilities.supports_say), ("max_edge", model.options.images.max_edge))
