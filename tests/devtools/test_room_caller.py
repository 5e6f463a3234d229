"""What a caller in a room makes of what it hears and reads; `tests/rooms` has it in real rooms."""

from __future__ import annotations

import pytest
from livekit import rtc

from livekit_plugins_openai_ga.devtools.room_caller import Caption, Ear, RoomCaller

SECOND = 24000 * 2  # bytes


def tone(seconds: float) -> bytes:
    """A rectangle wave at a fifth of full scale."""
    return (b"\x00\x19" * 24 + b"\x00\xe7" * 24) * round(seconds * 500)


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * 24000) * 2)


def listen(*frames: bytes, began: float = 100.0) -> Ear:
    """An ear to which the frames came one right after the other."""
    ear, now = Ear(), began
    for frame in frames:
        now += len(frame) / SECOND
        ear.add(frame, now)
    return ear


def cut(pcm: bytes, size: int) -> list[bytes]:
    return [pcm[start : start + size] for start in range(0, len(pcm), size)]


def test_an_ear_knows_when_somebody_spoke() -> None:
    ear = listen(silence(0.4), tone(1.0), silence(1.0), tone(0.5), silence(1.0))
    assert ear.began == 100.0
    assert ear.stretches() == [pytest.approx((100.4, 101.4)), pytest.approx((102.4, 102.9))]


def test_the_pauses_of_speech_do_not_end_a_stretch() -> None:
    assert listen(tone(1.0), silence(0.5), tone(1.0)).stretches() == [pytest.approx((100.0, 102.5))]


@pytest.mark.parametrize("size", [2, 314, 960, 5000])
def test_the_size_of_the_frames_does_not_matter(size: int) -> None:
    pcm = silence(0.1) + tone(0.2) + silence(0.7) + tone(0.2)
    assert listen(*cut(pcm, size)).stretches() == [pytest.approx((100.1, 100.3)), pytest.approx((101.0, 101.2))]


def test_an_ear_that_heard_nothing_but_noise_heard_nothing() -> None:
    ear = listen(silence(0.5), b"\x10\x00\xf0\xff" * 12000)
    assert not ear.audible
    assert ear.stretches() == []


def test_one_sound_is_enough_to_be_audible() -> None:
    assert listen(silence(0.5), tone(0.02)).audible


def test_what_comes_after_a_hole_is_put_where_it_was_heard() -> None:
    ear = listen(tone(1.0))
    ear.add(tone(1.0), 105.0)
    assert ear.stretches() == [pytest.approx((100.0, 101.0)), pytest.approx((104.0, 105.0))]
    assert len(ear.pcm) == 5 * SECOND


def caption(segment: str, text: str, *, final: bool = True, identity: str = "agent") -> Caption:
    return Caption(identity, segment, "TR_1", final, text)


async def test_each_segment_is_read_once_as_it_is_now() -> None:
    caller = RoomCaller(rtc.Room())
    captions = [
        caption("SG_1", "Who", final=False, identity="caller"),
        caption("SG_2", "It is Iris."),
        caption("SG_1", "Who is it?", identity="caller"),
        caption("SG_3", "And who", final=False),
    ]
    caller.captions = {str(number): each for number, each in enumerate(captions)}
    assert caller.texts("caller") == ["Who is it?"]
    assert caller.texts("agent") == ["It is Iris."]
    assert caller.texts("agent", final=False) == ["It is Iris.", "And who"]
    assert caller.texts("nobody") == []


async def test_waiting_in_vain_ends() -> None:
    caller = RoomCaller(rtc.Room())
    await caller.until(lambda: True, timeout=0.0)
    with pytest.raises(TimeoutError, match=r"waited 0\.05 s in vain"):
        await caller.until(lambda: False, timeout=0.05)


async def test_there_may_be_no_agent_and_nothing_to_leave() -> None:
    caller = RoomCaller(rtc.Room())
    assert (caller.agent, caller.agent_state, caller.agent_ear) == (None, "", None)
    await caller.leave()
    await caller.leave()


async def test_joining_a_server_that_is_not_there_is_a_connect_error() -> None:
    with pytest.raises(rtc.ConnectError):
        async with RoomCaller.join("ws://127.0.0.1:9", "no token"):
            pytest.fail("it did join")
