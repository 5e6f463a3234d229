"""The first program of the page about translation interprets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from livekit import rtc

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.voice import synthetic
from livekit_plugins_openai_ga.translation.options import LANGUAGES
from livekit_plugins_openai_ga.translation.stream import UNREAD_AUDIO_S, UNREAD_TEXTS
from tests.simulation.network import Network
from tests.simulation.run import simulate

from .blocks import ROOT
from .programs import program

PAGE = "docs/translation.md"


class Loudspeaker:
    def __init__(self) -> None:
        self.played = b""

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        self.played += bytes(frame.data)
        await asyncio.sleep(frame.duration)


async def microphone() -> AsyncIterator[rtc.AudioFrame]:
    pcm = synthetic("Good morning everybody")
    for start in range(0, len(pcm), 960):
        piece = pcm[start : start + 960]
        yield rtc.AudioFrame(piece, 24000, 1, len(piece) // 2)
        await asyncio.sleep(0.02)


def an_emulator() -> Emulator:
    script = Script([Turn(heard="Good morning everybody", say="Guten Morgen allerseits")])
    return Emulator(script, knobs=Knobs(speak=synthetic))


def test_the_first_program_of_the_page_interprets(monkeypatch: pytest.MonkeyPatch) -> None:
    speaker = Loudspeaker()

    async def call(_: object) -> None:
        async with an_emulator() as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            assert await (await program(PAGE))["interpret"](microphone(), speaker) == "Guten Morgen allerseits"

    assert simulate(1, Network(), call).violations == []
    assert speaker.played.strip(b"\0") == synthetic("Guten Morgen allerseits").strip(b"\0")


class Broken(Loudspeaker):
    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        raise OSError("no loudspeaker")


def test_the_first_program_of_the_page_leaves_nothing_behind_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:

    async def call(_: object) -> None:
        async with an_emulator() as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            with pytest.raises(OSError, match="no loudspeaker"):
                await (await program(PAGE))["interpret"](microphone(), Broken())
            for _ in range(5):
                await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    assert simulate(1, Network(), call).violations == []


def test_the_page_names_the_languages_and_the_bounds() -> None:
    listed = ", ".join(sorted(LANGUAGES)[:-1]) + f" and {sorted(LANGUAGES)[-1]}"
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert listed in page
    assert (UNREAD_AUDIO_S, f"{UNREAD_TEXTS:,} texts") == (300, "5,000 texts")
    assert "five minutes of audio, 5,000 texts" in page
