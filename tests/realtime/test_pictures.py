"""Pictures of chat items: inside the message, or said why not."""

from __future__ import annotations

import asyncio
import base64
import io
import logging

import pytest
from livekit import rtc
from livekit.agents import llm
from PIL import Image

from livekit_plugins_openai_ga.images import Images
from livekit_plugins_openai_ga.realtime.pictures import MAX_AT_A_TIME, Pictures

from .web import PNG, serving

PNG_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def frame(width: int, height: int) -> rtc.VideoFrame:
    return rtc.VideoFrame(width, height, rtc.VideoBufferType.RGBA, bytes(width * height * 4))


def size(url: str) -> tuple[int, int]:
    header, _, data = url.partition(",")
    assert header == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)), formats=["JPEG"]).size


@pytest.mark.parametrize(
    ("given", "asked", "sent"),
    [
        ((2000, 1000), None, (1024, 512)),
        ((1000, 2000), None, (512, 1024)),
        ((1024, 768), None, (1024, 768)),
        ((2000, 1000), (1600, 1600), (1600, 800)),
    ],
)
def test_a_frame_is_as_large_as_it_may_be(
    given: tuple[int, int], asked: tuple[int, int] | None, sent: tuple[int, int]
) -> None:
    width, height = asked or (None, None)
    image = llm.ImageContent(image=frame(*given), inference_width=width, inference_height=height)
    part = Pictures(Images()).part(image)
    assert part is not None
    assert size(part["image_url"]) == sent


@pytest.mark.parametrize("detail", ["auto", "low", "high"])
def test_the_detail_goes_along(detail: str) -> None:
    part = Pictures(Images()).part(llm.ImageContent(image=PNG_URL, inference_detail=detail))
    assert part == {"type": "input_image", "image_url": PNG_URL, "detail": detail}


def test_a_data_url_gets_the_type_that_its_data_has() -> None:
    pictures = Pictures(Images())
    for header in ("data:image/gif;base64", "data:image/jpeg;base64", "data:;base64", "data:image/png;x=y;base64"):
        part = pictures.part(llm.ImageContent(image=f"{header},{PNG_URL.partition(',')[2]}"))
        assert part is not None
        assert part["image_url"] == PNG_URL
    assert pictures.refused is None


@pytest.mark.parametrize(
    ("image", "images", "told"),
    [
        ("data:image/webp;base64,UklGRg==", Images(), "it is no image of a known type. Use PNG or JPEG"),
        ("data:image/png;base64,!", Images(), "it is no image of a known type"),
        ("data:image/png", Images(), "it is no image of a known type"),
        ("photo.png", Images(), "it is neither a frame nor a data: URL nor a link. Pass one of these"),
        ("https://example.com/secret.png", Images(fetch=False), "it is a link, and images.fetch is off. Pass a frame"),
    ],
)
def test_what_cannot_be_sent_is_told_once_and_not_what_it_was(
    image: str, images: Images, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = Pictures(images)
    content = llm.ImageContent(image=image)
    assert pictures.part(content) is None
    assert pictures.part(content) is None
    assert not pictures.missing
    assert pictures.refused is not None
    sentence = pictures.refused.sentence()
    assert "An image was left out of the conversation: " in sentence
    assert told in sentence
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert image not in record.getMessage() + sentence
    assert record.__dict__["lk.pii.image"] == image


async def test_links_are_fetched_each_once_and_are_there_when_they_are_asked_for_again() -> None:
    async with serving() as web:
        pictures = Pictures(Images(trusted_hosts=("127.0.0.1",)))
        good = [llm.ImageContent(image=web.url("image.png"), inference_detail="low") for _ in range(2)]
        bad = llm.ImageContent(image=web.url("nothing.png"))
        assert [pictures.part(image) for image in (*good, bad)] == [None] * 3
        assert pictures.refused is None
        await pictures.fetch()
        assert not pictures.missing
        wanted = {"type": "input_image", "image_url": PNG_URL, "detail": "low"}
        assert [pictures.part(image) for image in (*good, bad)] == [wanted, wanted, None]
        assert pictures.refused is not None
        assert "answered with HTTP 404. Check the link." in pictures.refused.sentence()
        assert sorted(path for path, _ in web.asked) == ["/image.png", "/nothing.png"]


async def test_a_few_links_are_fetched_at_a_time() -> None:
    async with serving() as web:
        pictures = Pictures(Images(trusted_hosts=("127.0.0.1",)))
        for number in range(2 * MAX_AT_A_TIME):
            pictures.part(llm.ImageContent(image=web.url(f"slow.png?{number}")))
        fetching = asyncio.ensure_future(pictures.fetch())
        async with web.arrived:
            await asyncio.wait_for(web.arrived.wait_for(lambda: web.waiting == MAX_AT_A_TIME), 5)
        web.gate.set()
        await fetching
        assert (web.most, len(web.asked)) == (MAX_AT_A_TIME, 2 * MAX_AT_A_TIME)


def test_many_that_cannot_be_sent_are_counted() -> None:
    pictures = Pictures(Images(fetch=False))
    for image in ("a.png", "b.png", "https://example.com/c.png"):
        pictures.part(llm.ImageContent(image=image))
    assert pictures.refused is not None
    assert "3 images were left out of the conversation: it is neither" in pictures.refused.sentence()
    assert "nor a link, and others for other reasons." in pictures.refused.sentence()
