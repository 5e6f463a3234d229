"""A stream of speech-to-text over minutes that nobody waits for."""

from __future__ import annotations

import asyncio

import pytest
from livekit import rtc

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.transport.outbox import IDLE_KEEP_MS

from .network import Network
from .run import Outcome, simulate

HEARTBEAT_S = 1.0
SILENT, LOUD = b"\x00\x00" * 480, b"\x00\x20" * 480


@pytest.mark.parametrize("loud_s", [0, 8])
def test_of_silence_only_what_nobody_may_have_told_of_yet_is_kept_and_all_of_what_is_said(loud_s: int) -> None:
    kept: list[float] = []

    async def listen(_: Outcome) -> None:
        async with Emulator(Script([Turn(heard="A long sentence.")])) as server:
            model = STT(api_key="sk-simulated", base_url=server.base_url, heartbeat=HEARTBEAT_S)
            stream = model.stream()
            for pcm in [SILENT] * 1_000 + [LOUD] * loud_s * 50:
                stream.push_frame(rtc.AudioFrame(pcm, 24000, 1, 480))
                await asyncio.sleep(0.02)
            kept.append(stream.info.audio_kept)
            await stream.aclose()
            await model.aclose()

    outcome = simulate(1, Network(1, []), listen)
    assert outcome.violations == []
    idle_s = IDLE_KEEP_MS / 1000 + 2 * HEARTBEAT_S
    assert kept == [pytest.approx(idle_s + loud_s, abs=0.5)]
