"""Audio of turns without a transcript: kept up to a bound, handed out whole."""

from __future__ import annotations

from base64 import b64decode

from livekit_plugins_openai_ga.core.spoken import Spoken


def chunk(ms: int, value: int = 0) -> bytes:
    return bytes([value]) * (48 * ms)


def test_the_chunks_of_a_turn_are_joined() -> None:
    spoken = Spoken()
    spoken.keep("u1", [chunk(20, 1), chunk(15, 2)])
    assert b64decode(spoken.of("u1") or "") == b"\1" * 960 + b"\2" * 720
    assert spoken.of("u2") is None
    assert spoken.ms == 35


def test_what_has_a_transcript_or_no_audio_is_not_kept() -> None:
    spoken = Spoken()
    spoken.keep("u1", [])
    assert spoken.of("u1") is None
    spoken.keep("u1", [chunk(20)])
    spoken.forget("u1")
    spoken.forget("u1")
    assert spoken.of("u1") is None
    assert spoken.ms == 0


def test_beyond_the_bound_the_oldest_turns_go_and_are_counted() -> None:
    spoken = Spoken(keep_ms=100)
    for number in range(3):
        spoken.keep(f"u{number}", [chunk(40)])
    assert [spoken.of(f"u{number}") is None for number in range(3)] == [True, False, False]
    assert spoken.dropped == 1
    spoken.keep("long", [chunk(101)])
    assert spoken.of("long") is None
    assert spoken.ms == 0


def test_audio_of_another_format_is_counted_by_its_own_bytes() -> None:
    spoken = Spoken(keep_ms=100, bytes_per_ms=8)
    spoken.keep("u1", [bytes(8 * 60)])
    assert spoken.ms == 60
    spoken.keep("u2", [bytes(8 * 60)])
    assert (spoken.of("u1"), spoken.ms, spoken.dropped) == (None, 60, 1)
