"""How pictures reach the model: which links are fetched, how large frames may be, how many of a video.

GA takes PNG and JPEG, inside the message. Values only; `realtime.pictures` and `realtime.video` do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .session_fields import flag, number, one_of, texts

KINDS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
"""How the data of an image begins that GA takes."""

MAX_FETCHED_BYTES = 8 * 1024 * 1024
"""As base64 this is 11 MiB. GA documents 15 MiB for an event with audio, and nothing for one with a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """What is done with pictures. Raises ValueError for a value that makes no sense.

    Attributes:
        fetch: fetch images that are links (`http(s)://`), since GA takes none; directly, without a proxy. False refuses
            them with an error.
        max_bytes: the largest image that is fetched; default 8 MiB.
        timeout: seconds that fetching one may take, default 10.
        trusted_hosts: host names or addresses that may be private, such as an image server of your own. All others
            must have public addresses only, so that a link cannot reach into your network.
        max_edge: pixels; a frame that is wider or higher is scaled down to it, default 1024. `inference_width` and
            `inference_height` of an `ImageContent` go before.
        min_interval: seconds between two frames of `push_video`; those between are not sent. Default 0: all of them,
            as LiveKit's sampler gives them (one a second while the user speaks).
        frame_detail: how closely the model looks at frames of `push_video`: `auto` (default, GA's is `high`), `low`
            or `high`. An `ImageContent` has its own, `inference_detail`.
    """

    fetch: bool = True
    max_bytes: int = MAX_FETCHED_BYTES
    timeout: float = 10.0
    trusted_hosts: tuple[str, ...] = ()
    max_edge: int = 1024
    min_interval: float = 0.0
    frame_detail: Literal["auto", "low", "high"] = "auto"

    def __post_init__(self) -> None:
        flag("images.fetch", self.fetch)
        number("images.max_bytes", self.max_bytes, 1)
        number("images.timeout", self.timeout, 0.1)
        number("images.max_edge", self.max_edge, 16)
        number("images.min_interval", self.min_interval, 0)
        one_of("images.frame_detail", self.frame_detail, ("auto", "low", "high"))
        hosts = texts("images.trusted_hosts", self.trusted_hosts)
        object.__setattr__(self, "trusted_hosts", tuple(host.lower() for host in hosts))


DEFAULT_IMAGES = Images()
"""What is done when nothing was said."""


def kind_of(data: bytes | bytearray) -> str | None:
    """The media type of an image that GA takes; None for anything else, whatever it is said to be."""
    return next((kind for beginning, kind in KINDS.items() if data.startswith(beginning)), None)
