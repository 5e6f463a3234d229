"""What the application wanted, read out of what its client sent."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga.recording.entries import Entry
from livekit_plugins_openai_ga.replay import wishes


class Piece:
    """A piece of audio that counts how often anybody looks at it."""

    looks = 0

    def __init__(self, name: object) -> None:
        self.name = name

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        Piece.looks += 1
        return isinstance(other, Piece) and self.name == other.name


def appended(*links: list[Any]) -> list[Entry]:
    sent = [(link, piece) for link, pieces in enumerate(links, 1) for piece in pieces]
    kind = "input_audio_buffer.append"
    return [Entry(0.0, link, "out", {"type": kind, "audio": Piece(piece)}) for link, piece in sent]


@pytest.mark.parametrize(
    ("before", "after", "again"),
    [
        ("abcd", "cdef", 2),
        ("abcd", "abcd", 4),
        ("cd", "abcd", 0),
        ("abcd", "ef", 0),
        ("", "ab", 0),
        ("bcd", "d", 1),
        ("abab", "ababc", 0),  # two pieces or four
        ("ssss", "sss", 0),  # silence
    ],
)
def test_audio_that_is_sent_again_is_the_clients_own(before, after, again):
    entries = appended(list(before), list(after))
    assert wishes.automatic(entries) == set(range(len(before), len(before) + again))


@pytest.mark.parametrize("silent", [False, True])
def test_an_hour_of_audio_is_looked_at_once(silent):
    count = 20_000
    pieces = [[0 if silent else (link, n) for n in range(count)] for link in (1, 2)]
    Piece.looks = 0
    wishes.automatic(appended(*pieces))
    assert Piece.looks < 10 * count
