"""The captions of examples/transcriber.py, as it stands there: frames in, caption segments out."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import pytest
from livekit import rtc
from livekit.agents import APIError

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn, speak

EXAMPLE = Path(__file__).parents[2] / "examples" / "transcriber.py"
TURNS = [Turn(heard="Good morning everybody."), Turn(heard="Let us begin.")]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_transcriber", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def frames(*sentences: str) -> AsyncIterator[rtc.AudioFrame]:
    """A speaker who says these, with a second of silence behind each, in frames of 20 ms."""
    for sentence in sentences:
        pcm = speak(sentence, "alloy") + bytes(2 * 24_000)
        for start in range(0, len(pcm) - 959, 960):
            yield rtc.AudioFrame(pcm[start : start + 960], 24_000, 1, 480)
            await asyncio.sleep(0)


async def captions_of(example: ModuleType, recognizer: STT, *sentences: str) -> list[rtc.TranscriptionSegment]:
    async def collect() -> list[rtc.TranscriptionSegment]:
        return [caption async for caption in example.captions(recognizer, frames(*sentences))]

    return await asyncio.wait_for(collect(), 30)


async def test_captions_grow_in_their_segment_and_end_with_the_final_text(example: ModuleType) -> None:
    async with Emulator(Script(TURNS)) as server:
        recognizer = STT(model="gpt-live-transcribe", detect_language=True, base_url=server.base_url, api_key="any")
        try:
            captions = await captions_of(example, recognizer, *(turn.heard for turn in TURNS))
        finally:
            await recognizer.aclose()
    finals = [caption for caption in captions if caption.final]
    assert [final.text for final in finals] == [turn.heard for turn in TURNS]
    assert len({final.id for final in finals}) == 2
    assert 0 <= finals[0].start_time < finals[0].end_time <= finals[1].start_time < finals[1].end_time
    for final in finals:
        segment = [caption for caption in captions if caption.id == final.id]
        assert segment[-1] is final
        growing = [caption.text for caption in segment[:-1]]
        assert growing
        assert all(final.text.startswith(text) and text for text in growing)


async def test_silence_has_no_caption(example: ModuleType) -> None:
    async with Emulator(Script(TURNS)) as server:
        recognizer = STT(model="gpt-live-transcribe", base_url=server.base_url, api_key="any")
        try:
            assert await captions_of(example, recognizer, "") == []
            assert server.received("input_audio_buffer.append")
        finally:
            await recognizer.aclose()


async def test_what_ends_the_captions_is_an_api_error(example: ModuleType) -> None:
    async with Emulator(Script(TURNS), knobs=Knobs(api_keys=frozenset({"sk-good"}))) as server:
        recognizer = STT(model="gpt-live-transcribe", base_url=server.base_url, api_key="sk-bad")
        try:
            with pytest.raises(APIError, match="invalid_api_key"):
                await captions_of(example, recognizer, TURNS[0].heard)
        finally:
            await recognizer.aclose()


def test_it_is_a_program_that_can_be_started() -> None:
    done = subprocess.run([sys.executable, str(EXAMPLE), "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "start" in done.stdout
