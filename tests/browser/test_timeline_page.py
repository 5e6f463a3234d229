"""The page of `timeline --html`, in a real browser: nothing is fetched or executed, everything can be reached."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from livekit_plugins_openai_ga import cli

from ..cli.tape import Tape, weather_call

HOSTILE = "</script></pre></title><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
async def browser(browser_path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        yield opened
        await opened.close()


async def shown(browser: Browser, tape: Tape, folder: Path, **how: object) -> tuple[Page, list[str]]:
    """The page of a recording, and every URL and complaint that came up while it was opened."""
    path = tape.write(folder / "call.jsonl")
    assert cli.main(["timeline", str(path), "--html"]) == 0
    page = await (await browser.new_context(**how)).new_page()
    noticed: list[str] = []
    page.on("request", lambda request: noticed.append(request.url))
    page.on("console", lambda message: noticed.append(message.text))
    page.on("pageerror", lambda error: noticed.append(str(error)))
    await page.goto(path.with_suffix(".html").as_uri())
    return page, noticed


def hostile_call() -> Tape:
    tape = Tape(host=HOSTILE).opened().listens(0, 4000).says("u", 500, 1500, HOSTILE)
    tape.begins("a", 2010).speaks("a", 2300, 500, text=HOSTILE)
    call = {"type": "function_call", "call_id": HOSTILE, "name": HOSTILE, "arguments": json.dumps({HOSTILE: HOSTILE})}
    tape.server(2400, "response.output_item.done", response_id="a", item=call).ends("a", 2500)
    tape.server(2600, "error", error={"code": HOSTILE, "message": HOSTILE})
    tool = {"type": "mcp", "server_label": "x", "authorization": "a-token-of-ours", "headers": {"X-Key": "other-key"}}
    tape.server(2700, "session.updated", session={"tools": [tool], "instructions": "sk-12345678abcdef"})
    return tape.note(3000, "lost", code=HOSTILE, sentence=HOSTILE)


async def test_nothing_of_a_recording_is_executed_and_no_key_is_shown(browser: Browser, tmp_path: Path) -> None:
    page, noticed = await shown(browser, hostile_call(), tmp_path)
    assert [url for url in noticed if not url.startswith("file:")] == []
    assert len(noticed) == 1
    for mark in range(await page.locator(".mark").count()):
        await page.locator(f'.mark[data-m="{mark}"]').dispatch_event("click")
    await page.wait_for_timeout(50)
    assert await page.title() == "call.jsonl: gpt-realtime-2.1"
    assert await page.locator("img").count() == 0
    assert await page.locator("script").count() == 1
    assert await page.locator(".log .user p").first.text_content() == HOSTILE
    text = await page.content()
    for secret in ("a-token-of-ours", "other-key", "sk-12345678"):
        assert secret not in text


async def test_even_what_were_not_escaped_would_not_run(browser: Browser, tmp_path: Path) -> None:
    page, _ = await shown(browser, weather_call(), tmp_path)
    await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
    await page.wait_for_timeout(100)
    assert await page.title() == "call.jsonl: gpt-realtime-2.1"


async def test_pointing_at_something_shows_its_events_and_a_click_keeps_it(browser: Browser, tmp_path: Path) -> None:
    page, _ = await shown(browser, weather_call(), tmp_path)
    await page.locator(".mark.tool rect").hover()
    detail = page.locator("#detail")
    assert '"name": "get_weather"' in await detail.inner_text()
    assert "conversation.item.create" in await detail.inner_text()
    await page.locator(".mark.user.speech rect").first.hover()
    assert "What is the weather" in await detail.inner_text()
    await page.locator(".mark.user.speech rect").first.click()
    await page.locator(".mark.tool rect").hover()
    assert "What is the weather" in await detail.inner_text()


async def test_the_keyboard_goes_from_mark_to_mark_in_the_order_of_time(browser: Browser, tmp_path: Path) -> None:
    page, _ = await shown(browser, weather_call(), tmp_path)
    assert await page.locator('.mark[tabindex="0"]').count() == 1
    await page.locator('.mark[tabindex="0"]').focus()
    titles = []
    for key in ("ArrowRight", "ArrowRight", "End", "ArrowLeft", "Home"):
        await page.keyboard.press(key)
        titles.append(await page.locator("#detail h3").inner_text())
    assert [title.partition(",")[0] for title in titles] == ["Agent", "User", "Network", "Network", "Network"]


async def test_zoom_makes_the_lanes_longer_and_the_time_between_marks_shorter(browser: Browser, tmp_path: Path) -> None:
    page, _ = await shown(browser, weather_call(), tmp_path)
    before = await page.locator(".lanes").bounding_box()
    for _ in range(3):
        await page.click("#in")
    await page.wait_for_function(
        "[...document.querySelectorAll('.axis text')].some((t) => t.textContent.includes('.'))"
    )
    after = await page.locator(".lanes").bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > before["width"] * 3
    await page.click("#fit")
    assert await page.inner_text("#zoom") == "fits"


async def test_it_can_be_read_without_javascript(browser: Browser, tmp_path: Path) -> None:
    page, _ = await shown(browser, weather_call(), tmp_path, java_script_enabled=False)
    assert await page.locator("tbody tr").count() == 3
    assert "1,600 ms" in await page.locator("tbody").inner_text()
    assert await page.locator(".lanes .mark").count() == 9
    target = await page.locator(".mark.tool").get_attribute("href")
    row = page.locator(str(target))
    await row.locator("summary").click()
    assert '"name": "get_weather"' in await row.inner_text()
    assert not await page.locator(".zoom").is_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
async def test_text_has_contrast_and_the_page_fits(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    page, _ = await shown(
        browser, weather_call(), tmp_path, color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ratios = await page.evaluate(_CONTRAST)
    assert min(ratios.values()) >= 4.5, ratios


@pytest.mark.parametrize(("width", "rows"), [(1050, 1), (1200, 1), (1000, 2), (390, 4)])
async def test_tiles_are_in_one_row_where_there_is_room(
    browser: Browser, tmp_path: Path, width: int, rows: int
) -> None:
    page, _ = await shown(browser, weather_call(), tmp_path, viewport={"width": width, "height": 800})
    tops = await page.evaluate("[...document.querySelectorAll('.tiles li')].map((e) => e.getBoundingClientRect().top)")
    assert (len(tops), len(set(tops))) == (7, rows)


_CONTRAST = """() => {
  const luminance = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = {};
  for (const name of ["h1", "header p", ".tiles span", ".tiles .bad strong", ".log .at", ".log .user .lane",
                      ".log .agent .lane", ".log .tools .lane", ".log .network .lane", ".remark", "s", ".hint",
                      "td.t"]) {
    const element = document.querySelector(name);
    const [one, other] = [getComputedStyle(element).color, behind(element)].map(luminance);
    found[name] = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  }
  return found;
}"""
