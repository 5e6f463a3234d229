"""A real browser, if there is one: its microphone is a file, its speakers are nobody's."""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from livekit_plugins_openai_ga.emulator import speak

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser_path() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is not None:
        return found
    missing = f"none of {', '.join(NAMES)} is on the PATH"
    if os.environ.get("BROWSER_TESTS") == "required":
        pytest.fail(f"{missing}, and BROWSER_TESTS=required asks for one")
    pytest.skip(f"{missing}: the page of examples/browser is NOT tested")


@pytest.fixture
def microphone(tmp_path: Path) -> Callable[..., Path]:
    """Makes a recording: pairs of seconds of silence and what is said then."""

    def record(*spoken: tuple[float, str], then: float = 30.0) -> Path:
        path = tmp_path / "microphone.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(24000)
            for seconds, text in spoken:
                file.writeframes(bytes(int(seconds * 24000) * 2))
                file.writeframes(speak(text))
            file.writeframes(bytes(int(then * 24000) * 2))
        return path

    return record


@pytest.fixture
async def open_page(browser_path: str) -> AsyncIterator[Callable[..., object]]:
    """Opens a page in a browser of its own that speaks with this recording, once."""
    stack = AsyncExitStack()

    async def start(url: str, recording: Path) -> Page:
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(
            executable_path=browser_path,
            args=[
                "--no-sandbox",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={recording}%noloop",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        stack.push_async_callback(browser.close)
        page = await browser.new_page(viewport={"width": 800, "height": 640})
        await page.goto(url)
        return page

    async with stack:
        yield start
