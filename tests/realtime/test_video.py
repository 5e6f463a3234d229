"""Frames of video: how many, how large, and what the model gets."""

from __future__ import annotations

from livekit import rtc
from openai.types.realtime import ConversationItem
from pydantic import TypeAdapter

from livekit_plugins_openai_ga.core.record import FRAME_ID
from livekit_plugins_openai_ga.images import Images
from livekit_plugins_openai_ga.realtime.video import Video

PIXEL = rtc.VideoFrame(8, 8, rtc.VideoBufferType.RGBA, bytes(8 * 8 * 4))


def test_a_frame_becomes_a_user_item_with_one_picture() -> None:
    item = Video(Images(frame_detail="low")).item(PIXEL, 0.0)
    assert item is not None
    TypeAdapter(ConversationItem).validate_python(item)
    assert (item["role"], item["id"].startswith(FRAME_ID)) == ("user", True)
    (part,) = item["content"]
    assert (part["type"], part["detail"]) == ("input_image", "low")


def test_frames_are_as_far_apart_as_was_asked() -> None:
    video = Video(Images(min_interval=1.0))
    assert [now for now in (0.0, 0.5, 0.9, 1.0, 1.5, 2.5, 3.0) if video.item(PIXEL, now)] == [0.0, 1.0, 2.5]


def test_by_default_all_frames_are_sent() -> None:
    video = Video(Images())
    assert all(video.item(PIXEL, 0.0) for _ in range(3))
