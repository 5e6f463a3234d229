"""What a user may say about pictures."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.images import Images, kind_of


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"fetch": "yes"}, r"^images\.fetch='yes' is not supported: use True or False"),
        ({"max_bytes": 0}, r"^images\.max_bytes=0 is not supported"),
        ({"timeout": 0}, r"^images\.timeout=0 is not supported"),
        ({"max_edge": "large"}, r"^images\.max_edge='large' is not supported"),
        ({"min_interval": -1}, r"^images\.min_interval=-1 is not supported"),
        ({"frame_detail": "full"}, r"^images\.frame_detail='full' is not supported: use one of 'auto', 'low', 'high'"),
        ({"trusted_hosts": "example.com"}, r"^images\.trusted_hosts='example\.com' is not supported: use a list"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Images(**given)


def test_hosts_are_trusted_whatever_their_case_and_however_they_are_listed() -> None:
    assert Images(trusted_hosts=["Images.Example"]).trusted_hosts == ("images.example",)  # type: ignore[arg-type]


def test_a_model_takes_nothing_else_for_images() -> None:
    with pytest.raises(ValueError, match=r"^images=False is not supported: pass Images\(\.\.\.\)"):
        RealtimeModel(api_key="sk-test", images=False)  # type: ignore[arg-type]
    assert RealtimeModel(api_key="sk-test", images=Images(max_edge=512)).options.images.max_edge == 512


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0....", "image/jpeg"),
        (b"GIF89a....", None),
        (b"RIFF....WEBPVP8 ", None),
        (b"<svg></svg>", None),
        (b"", None),
    ],
)
def test_an_image_is_known_by_how_it_begins(data: bytes, kind: str | None) -> None:
    assert kind_of(data) == kind
