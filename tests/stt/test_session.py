"""A session of speech-to-text: when a file goes on, and what is heard when the session cannot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError
from livekit.agents import stt as lk

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.emulator.knobs import Knobs
from livekit_plugins_openai_ga.emulator.voice import synthetic
from livekit_plugins_openai_ga.stt.intake import ROOM_CHECK_S
from livekit_plugins_openai_ga.stt.session import TranscriptionSession
from livekit_plugins_openai_ga.transport.link import Link
from tests.simulation.network import Network, Path
from tests.simulation.run import simulate

OF_SPEECH = 64_000
"""Bytes of a second of audio, as text."""


def time_of_a_file(pieces: int, network: Network, *, flushed: bool) -> float:
    """How long a file of so many pieces (5 s) takes to its last text, in virtual seconds. `flushed`: each is a segment;
    else all of them are one."""
    took = []

    async def call(_: object) -> None:
        script = Script([Turn(heard=f"Text {number}.") for number in range(pieces)])
        knobs = Knobs(speak=synthetic, transcription_latency=0.05)
        async with Emulator(script, knobs=knobs) as server:
            stt = STT(api_key="sk-test", base_url=server.base_url, turn_detection=None, vad=None)
            stream = stt.stream(conn_options=APIConnectOptions(max_retry=0, timeout=5.0))
            begun = asyncio.get_running_loop().time()
            piece = (synthetic("Good morning everybody") * 9)[: 5 * 48000]
            for _ in range(pieces):
                stream.push_frame(rtc.AudioFrame(piece, 24000, 1, len(piece) // 2))
                if flushed:
                    stream.flush()
            stream.end_input()
            events = [event async for event in stream]
            took.append(asyncio.get_running_loop().time() - begun)
            texts = [event for event in events if event.type is lk.SpeechEventType.FINAL_TRANSCRIPT]
            assert len(texts) == (pieces if flushed else 1)
            assert len(server.received("input_audio_buffer.append")) == 50 * pieces
            assert stream.info.audio_dropped == 0
            await stt.aclose()

    assert simulate(1, network, call).violations == []
    return took[0]


def test_a_file_goes_on_as_soon_as_what_waited_has_left() -> None:
    """More than may wait, on a line that takes it in less time than the file would look again by itself."""
    line = Path(bytes_per_s=100 * OF_SPEECH)
    assert time_of_a_file(5, Network(1, [line]), flushed=False) < ROOM_CHECK_S


def test_a_file_goes_on_as_soon_as_a_text_has_come() -> None:
    """More than is kept of what has no text yet."""
    assert time_of_a_file(12, Network(), flushed=True) < ROOM_CHECK_S


async def test_nothing_is_heard_any_more_when_the_session_was_broken_off() -> None:
    async def dial(*_: Any) -> Link:
        raise AssertionError("nobody needs a connection")

    session = TranscriptionSession(
        STT(api_key="sk-test").options,
        detects=lambda _: False,
        timeout=1.0,
        dial=dial,
        emit=lambda event: None,
        report=lambda error: None,
    )
    session.intake.put(bytes(4800))
    session.break_off(APIError("The vad failed.", retryable=False))
    session.intake.put(bytes(4800))
    assert session.info.audio_waiting == 0.1
    with pytest.raises(APIError, match="The vad failed"):
        await session.run()
    session.close()
