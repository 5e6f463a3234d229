"""Frames of the user's video on their way to the model: not too many, not too large, each a user item."""

from __future__ import annotations

from typing import Any

from livekit import rtc
from livekit.agents import utils

from ..core.record import FRAME_ID
from ..images import Images
from .pictures import frame_url


class Video:
    """The frames that are shown, `images.min_interval` apart."""

    __slots__ = ("_images", "_shown_at")

    def __init__(self, images: Images) -> None:
        self._images = images
        self._shown_at: float | None = None

    def item(self, frame: rtc.VideoFrame, now: float) -> dict[str, Any] | None:
        """The user item that shows a frame; None when it is too soon for one. `now` in s, of a clock that is steady."""
        if self._shown_at is not None and now - self._shown_at < self._images.min_interval:
            return None
        self._shown_at = now
        url, detail = frame_url(frame, self._images), self._images.frame_detail
        part = {"type": "input_image", "image_url": url, "detail": detail}
        return {"id": utils.shortuuid(FRAME_ID), "type": "message", "role": "user", "content": [part]}
