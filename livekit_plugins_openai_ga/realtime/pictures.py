"""The pictures of chat items as GA takes them: PNG or JPEG, inside the message.

Frames and `data:` URLs are there at once; links have to be fetched first. So whoever makes items of a context goes
over it, fetches what is `missing`, and goes over it again. What cannot be sent is left out, and told as `refused`.
"""

from __future__ import annotations

import asyncio
import binascii
from urllib.parse import unquote_to_bytes

from livekit import rtc
from livekit.agents import llm
from livekit.agents.utils import images as encoding

from ..errors import Failure, Kind
from ..images import Images, kind_of
from ..log import logger
from ..wire.codec import b64decode, b64encode
from ..wire.items import Part
from .fetching import TYPES, NotFetched, fetch

REFUSED_HERE = "refused here, before OpenAI saw it"
"""How a log line about `Pictures.refused` begins."""

_NO_TYPE = ("it is no image of a known type", TYPES)
_NO_IMAGE = ("it is neither a frame nor a data: URL nor a link", "pass one of these")
_NOT_THE_USERS = ("it is in a message that is not the user's", "put it into one that is: GA takes none elsewhere")
_NO_LINKS = ("it is a link, and images.fetch is off", "pass a frame or a data: URL")

MAX_AT_A_TIME = 4
"""Links that are fetched at the same time."""


class Pictures:
    """The pictures of one context. `part` may be asked any number of times; `fetch` in between.

    `left_out`: ids of contents that were refused before, here or by another `Pictures` with the same dict. They stay
    out and are neither fetched nor told again.
    """

    def __init__(self, images: Images, left_out: dict[str, None] | None = None) -> None:
        self._images = images
        self._left_out = {} if left_out is None else left_out
        self._known: dict[str, Part] = {}  # by the id of the content
        self._wanted: dict[str, None] = {}  # links, in order
        self._loaded: dict[str, str | NotFetched] = {}  # by link
        self._refused: list[NotFetched] = []

    @property
    def missing(self) -> bool:
        """Whether there are links to fetch."""
        return bool(self._wanted)

    @property
    def refused(self) -> Failure | None:
        """What could not be sent; None when that is nothing."""
        if not self._refused:
            return None
        first, *others = self._refused
        which = f"{1 + len(others)} images were" if others else "An image was"
        more = ", and others for other reasons" if any(other.why != first.why for other in others) else ""
        meaning = f"{which} left out of the conversation: {first.why}{more}."
        return Failure(
            Kind.REQUEST_FAILED, "image_refused", "", meaning, f"{first.remedy[:1].upper()}{first.remedy[1:]}."
        )

    def part(self, image: llm.ImageContent, role: llm.ChatRole = "user") -> Part | None:
        """The content part of an image in a message of this role; None when it cannot be sent, or has to be fetched
        first.
        """
        if image.id in self._left_out:
            return None
        if (known := self._known.get(image.id)) is not None:
            return known
        try:
            url = self._url(image, role)
        except NotFetched as reason:
            self._left_out[image.id] = None
            self._refused.append(reason)
            logger.error("an image was left out: %s", reason, extra={"lk.pii.image": str(image.image)[:200]})
            return None
        if url is None:
            return None
        part = self._known[image.id] = {"type": "input_image", "image_url": url, "detail": image.inference_detail}
        return part

    def _url(self, image: llm.ImageContent, role: llm.ChatRole) -> str | None:
        """A `data:` URL; None when it has to be fetched. Raises NotFetched."""
        if role != "user":
            raise NotFetched(*_NOT_THE_USERS)
        if isinstance(image.image, rtc.VideoFrame):
            return frame_url(image.image, self._images, image.inference_width, image.inference_height)
        if image.image.startswith("data:"):
            return _checked(image.image)
        if not image.image.startswith(("http://", "https://")):
            raise NotFetched(*_NO_IMAGE)
        if not self._images.fetch:
            raise NotFetched(*_NO_LINKS)
        loaded = self._loaded.get(image.image)
        if isinstance(loaded, NotFetched):
            raise loaded
        if loaded is None:
            self._wanted[image.image] = None
        return loaded

    async def fetch(self) -> None:
        """Fetch what is missing. Never raises; what cannot be had is `refused` when it is asked for again."""
        wanted, self._wanted = [*self._wanted], {}
        places = asyncio.Semaphore(MAX_AT_A_TIME)

        async def one(url: str) -> str | NotFetched:
            async with places:
                try:
                    return await fetch(url, self._images)
                except NotFetched as reason:
                    return reason

        self._loaded.update(zip(wanted, await asyncio.gather(*map(one, wanted)), strict=True))


def _checked(url: str) -> str:
    """A `data:` URL with the type its data has. Raises NotFetched."""
    header, comma, data = url.partition(",")
    try:
        raw = b64decode(data) if header.endswith(";base64") else unquote_to_bytes(data)
    except (ValueError, binascii.Error):
        raw = b""
    kind = kind_of(raw)
    if kind is None or not comma:
        raise NotFetched(*_NO_TYPE)
    return url if header == f"data:{kind};base64" else f"data:{kind};base64,{b64encode(raw).decode()}"


def frame_url(frame: rtc.VideoFrame, images: Images, width: int | None = None, height: int | None = None) -> str:
    """A frame as a JPEG `data:` URL, of `width` x `height` at most, or (without these) of `images.max_edge`."""
    options = encoding.EncodeOptions()
    if width and height:
        options.resize_options = encoding.ResizeOptions(width, height, "scale_aspect_fit")
    elif max(frame.width, frame.height) > images.max_edge:
        options.resize_options = encoding.ResizeOptions(images.max_edge, images.max_edge, "scale_aspect_fit")
    return f"data:image/jpeg;base64,{b64encode(encoding.encode(frame, options)).decode()}"
