"""What a recording must be made of to be played."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga.recording.entries import Entry
from livekit_plugins_openai_ga.replay import fit


def entry(direction: Any = "out", **event: Any) -> Entry:
    return Entry(2500.0, 1, direction, {"type": "session.update", **event})


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (entry(session=[1]), r"session.update at 2.500 s has session=\[1\], which is not an object: correct it."),
        (entry(session={"tools": [{}, "x"]}), r'has session.tools\[\]="x", which is not an object'),
        (entry(session={"tools": {"a": 1}}), "has session.tools=.*, which is not a list"),
        (entry(item={"content": [[]]}), r"has item.content\[\]=\[\], which is not an object"),
        (entry(response={"chars": 3}), "has response=.*, which is not an object"),
        (entry(audio_end_ms="soon"), 'has audio_end_ms="soon", which is not a number'),
        (entry("in", type=5), "What stands at 2.500 s has type=5, which is not a text"),
        (entry("in", text={"chars": -1}), "has chars=-1"),
        (entry("in", text={"chars": True}), "has chars=true"),
        (entry("in", text={"chars": 10**9}), "left out 1,000,000,000 bytes, and no message has more than"),
        (entry("in", parts=[{"bytes": 30_000_000}] * 2), "left out 80,000,000 bytes"),
        (entry("in", parts=nested(200)), "more than 100 objects in one another"),
    ],
)
def test_what_cannot_be_played_is_named(event, said):
    with pytest.raises(ValueError, match=said):
        fit.check([event])


def test_what_is_wrong_is_told_without_keys():
    with pytest.raises(ValueError, match=r'session="\[redacted\]"'):
        fit.check([entry(session="sk-proj-ABCDEFGH12345678")])


def test_texts_of_all_events_are_counted_together():
    with pytest.raises(ValueError, match="more than 268,435,456 characters"):
        fit.check([entry("in", text={"chars": 60_000_000})] * 5)


@pytest.mark.parametrize(
    "event",
    [
        entry(),
        entry(session=None),
        entry(session={"tools": [], "audio": {"input": {"transcription": None}}, "include": None}),
        entry(session={"instructions": {"chars": 5}}, audio={"bytes": 960, "ms": 20.0, "sha256": "0" * 16}),
        entry(response={"metadata": {"chars": 5}, "tools": [{"parameters": {"chars": 5}}]}),
        entry("in", response="whatever the server said", parts=nested(50)),
    ],
)
def test_what_can_be_played_passes(event):
    fit.check([event])


def test_what_is_read_is_looked_at_in_both_directions():
    with pytest.raises(ValueError, match='has response="x"'):
        fit.check([entry("in", response="x")], understood=True)
