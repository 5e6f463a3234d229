"""The README's program for speech to text writes down what it hears."""

from __future__ import annotations

import pytest
from livekit import rtc

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.emulator.voice import synthetic
from tests.simulation.network import Network
from tests.simulation.run import simulate

from .programs import program


def test_what_is_said_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = synthetic("Good morning everybody") + bytes(48_000)
    frames = [rtc.AudioFrame(pcm[at : at + 960], 24_000, 1, 480) for at in range(0, len(pcm) - 959, 960)]

    async def call(_: object) -> None:
        async with Emulator(Script([Turn(heard="Good morning everybody.")])) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
            names = await program("README.md")
            assert await names["write_down"](frames) == ["Good morning everybody."]

    assert simulate(1, Network(), call).violations == []
