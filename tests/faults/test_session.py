"""A conversation over a network that misbehaves: it goes on with the right history, and no user audio is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, llm

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import DelayOn, InjectOn

from .conftest import Call, audio_of, read, speech, texts_in, texts_of
from .proxy import Path, Plan

PROMPT = "Be brief."
HEARD, SAID = "Hello, are you there?", "Yes, I am."
MANUAL: dict[str, Any] = {"turn_detection": None}
PLACES_IN_A_CALL = 30
FAST = Knobs(pace=50.0, reply_latency=0.0, transcription_latency=0.02)


def script() -> Script:
    return Script([Turn(heard=HEARD, say=SAID)] * 20)


def with_a_note(call: Call) -> llm.ChatContext:
    context = call.session.chat_ctx.copy()
    context.add_message(role="user", content="My name is Ada.", id="item_ada")
    return context


async def talk(call: Call) -> str:
    """A turn of the user and a reply to it, a change of the history, another reply: what the last one said."""
    await call.session.update_instructions(PROMPT)
    call.push(speech())
    call.session.commit_audio()
    await call.reply()
    await call.session.update_chat_ctx(with_a_note(call))
    return await call.reply()


async def goes_on(call: Call, *, cuts: int = 0) -> None:
    """The session works, and both sides have the same conversation and configuration; `cuts` may be still to come."""
    said = [await call.reply()]
    while said[-1] != SAID and len(said) <= cuts:
        said.append(await call.reply())
    assert said[-1] == SAID
    await call.until(call.same_history)
    last = call.server.sessions[-1]
    assert last.config["instructions"] == PROMPT
    assert call.server.sent("error") == []


# -- cuts ------------------------------------------------------------------------------------------------------

PLACES = {
    "in the upgrade request": Plan(up=Path(end="rst", after=40)),
    "in the upgrade's answer": Plan(down=Path(end="rst", after=40)),
    "in the first frame": Plan(down=Path(end="rst", after=700)),
    "behind the first frame's header": Plan(down=Path(end="rst", after=260)),
    "in our first frame": Plan(up=Path(end="rst", after=700)),
    "before a byte": Plan(up=Path(end="rst")),
    "in order, in the upgrade's answer": Plan(down=Path(end="fin", after=40)),
    "in order, in the first frame": Plan(down=Path(end="fin", after=700)),
    "in order, in our first frame": Plan(up=Path(end="fin", after=700)),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_cut_while_connecting_is_told_and_the_next_connection_serves(open_call, place):
    async with open_call(Emulator(script(), knobs=FAST), PLACES[place], **MANUAL) as call:
        assert await talk(call) == SAID
        await goes_on(call)
        (error,) = call.events["error"]
        assert error.recoverable
        assert call.reasons[0]


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_cut_at_any_byte_of_a_call_loses_nothing(open_call, lost_seconds, way):
    async with open_call(Emulator(script(), knobs=FAST), **MANUAL) as call:
        await talk(call)
        length = getattr(call.proxy.connections[0], way).passed

    async def cut_at(byte: int) -> None:
        plan = Plan(**{way: Path(end="rst" if byte % 2 else "fin", after=byte)})
        async with open_call(Emulator(script(), knobs=FAST), plan, **MANUAL) as call:
            assert SAID.startswith(await talk(call))
            await goes_on(call, cuts=1)
            # The whole of the user's turn reached one connection, in order and once.
            assert speech() in {audio_of(session) for session in call.server.sessions}
            assert "My name is Ada." in texts_of(call.server.sessions[-1])
            assert all(error.recoverable for error in call.events["error"])

    places = [length * step // PLACES_IN_A_CALL // 2 * 2 + step % 2 for step in range(PLACES_IN_A_CALL)]
    for some in (places[::2], places[1::2]):
        await asyncio.gather(*(cut_at(byte) for byte in some))
    assert lost_seconds("realtime") == 0


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_a_reply_cut_in_the_middle_of_a_frame_ends_once_and_keeps_what_came(open_call, how):
    async with open_call(Emulator(script(), knobs=Knobs(pace=5.0)), **MANUAL) as call:
        await call.session.update_instructions(PROMPT)
        reply = await call.session.generate_reply()
        call.proxy.change(down=Path(end=how, after=9_000))  # an audio delta has 12,800 bytes
        said, seconds = await read(reply)
        assert SAID.startswith(said)
        await call.reconnected()
        assert texts_in(call.session.chat_ctx) in ([said], [])
        await goes_on(call)
        assert seconds < 2.0
        assert len(call.events["generation_created"]) == 2


async def test_a_reply_of_which_nothing_was_heard_is_made_again(open_call):
    async with open_call(Emulator(script(), knobs=Knobs(reply_latency=0.5)), heartbeat=10.0, **MANUAL) as call:
        await call.session.update_instructions(PROMPT)
        reply = await call.session.generate_reply()
        call.proxy.cut("rst")
        assert (await read(reply))[0] == SAID


@pytest.mark.parametrize("last", ["input_audio_buffer.committed", "response.created"])
async def test_a_spoken_turn_that_the_server_had_and_nobody_answered_is_answered(open_call, last):
    vad = {"type": "server_vad", "silence_duration_ms": 300}
    late = [DelayOn("response.created", 0.5)] if last == "input_audio_buffer.committed" else []
    emulator = Emulator(script(), knobs=Knobs(reply_latency=0.3), faults=late)
    async with open_call(emulator, heartbeat=10.0, turn_detection=vad) as call:
        await call.session.update_instructions(PROMPT)
        types = call.events["openai_server_event_received"]
        call.push(speech() + bytes(48 * 700))
        await call.until(lambda: last in [event["type"] for event in types])
        call.proxy.cut("rst")
        await call.reconnected()
        await call.until(lambda: call.events["generation_created"], timeout=1)
        assert (await read(call.events["generation_created"][-1]))[0] == SAID


async def test_one_cut_after_another_leaves_the_call_whole(open_call, lost_seconds):
    plans = [Plan(down=Path(end="rst", after=900 + 1_700 * step)) for step in range(5)]
    async with open_call(Emulator(script(), knobs=FAST), *plans, **MANUAL) as call:
        assert SAID.startswith(await talk(call))
        await goes_on(call, cuts=len(plans))
        assert len(call.proxy.connections) >= 3
        assert lost_seconds("realtime") == 0


# -- stalls ----------------------------------------------------------------------------------------------------

STALLS = {
    "nothing comes": {"down": Path(end="stall")},
    "nothing leaves": {"up": Path(end="stall")},
    "nothing either way": {"up": Path(end="stall"), "down": Path(end="stall")},
    "what leaves vanishes": {"up": Path(end="swallow")},
    "what comes vanishes": {"down": Path(end="swallow")},
}


async def test_a_half_open_connection_is_noticed_told_and_replaced(open_call, lost_seconds):
    async def stalls_in(way: str) -> None:
        async with open_call(Emulator(script(), knobs=FAST), **MANUAL) as call:
            assert await talk(call) == SAID
            heard = texts_in(call.session.chat_ctx)
            call.proxy.change(**STALLS[way])
            call.push(speech("Can you still hear me?"))
            error = await call.failed()
            assert error.recoverable
            assert "1011" in call.reasons[0] or "timeout" in call.reasons[0], way
            call.push(speech("And now?"))
            call.session.commit_audio()
            await goes_on(call)
            assert texts_in(call.session.chat_ctx)[: len(heard)] == heard
            assert audio_of(call.server.sessions[-1]) == speech("Can you still hear me?") + speech("And now?"), way

    await asyncio.gather(*map(stalls_in, STALLS))
    assert lost_seconds("realtime") == 0


async def test_a_full_send_buffer_does_not_hide_a_dead_peer(open_call, lost_seconds):
    async with open_call(Emulator(script(), knobs=FAST), heartbeat=0.5, **MANUAL) as call:
        await call.session.update_instructions(PROMPT)
        said = await call.fill()
        await call.failed()
        await call.reconnected()
        newest = min(len(said), 30 * 48_000)
        await call.proxy.until(lambda: len(audio_of(call.server.sessions[-1])) >= newest)
        assert audio_of(call.server.sessions[-1]) == said[-newest:]
        assert lost_seconds("realtime") == pytest.approx((len(said) - newest) / 48_000)


async def test_a_change_made_on_a_half_open_connection_is_made_on_the_next(open_call):
    # As by default, where a request has 5 s and a dead peer is found within 24.
    options = {**MANUAL, "heartbeat": 10.0, "request_timeout": 0.2}
    async with open_call(Emulator(script(), knobs=FAST), **options) as call:
        await call.session.update_instructions(PROMPT)
        call.proxy.change(up=Path(end="swallow"))
        await call.session.update_instructions("Be kind.")
        assert call.server.sessions[-1].config["instructions"] == "Be kind."
        assert "did not answer a request within 0.2 s" in call.reasons[0]


async def test_a_request_pending_in_a_stall_is_answered_once_on_the_next_connection(open_call):
    async with open_call(Emulator(script(), knobs=FAST), **MANUAL) as call:
        await call.session.update_instructions(PROMPT)
        call.proxy.change(up=Path(end="swallow"))
        assert await call.reply() == SAID
        assert len(call.server.received("response.create")) == 1
        assert await call.reply() == SAID
        assert len(call.events["generation_created"]) == 2


@pytest.mark.parametrize("after", [0, 60, 700], ids=["at once", "in the upgrade", "in the first frame"])
async def test_a_server_that_goes_silent_while_connecting_is_given_up_after_the_timeout(open_call, after):
    options = {**MANUAL, "conn_options": APIConnectOptions(max_retry=3, retry_interval=0.05, timeout=0.3)}
    silent = Plan(down=Path(end="swallow", after=after))
    async with open_call(Emulator(script(), knobs=FAST), silent, heartbeat=20.0, **options) as call:
        assert await talk(call) == SAID
        assert "timeout" in call.reasons[0]
        await goes_on(call)


# -- slow and small --------------------------------------------------------------------------------------------


async def test_bytes_that_come_one_by_one_make_the_same_call(open_call):
    path = Path(piece=7)
    options = {**MANUAL, "modalities": ["text"], "heartbeat": 10.0}
    async with open_call(Emulator(script(), knobs=FAST), Plan(path, path), **options) as call:
        await call.session.update_instructions(PROMPT)
        assert await call.reply() == SAID
        await call.session.update_chat_ctx(with_a_note(call))
        await goes_on(call)
        assert call.events["error"] == []


async def test_a_slow_line_only_takes_longer(open_call, lost_seconds):
    path = Path(rate=400_000, delay=0.001)
    async with open_call(Emulator(script(), knobs=FAST), Plan(path, path), heartbeat=10.0, **MANUAL) as call:
        assert await talk(call) == SAID
        await goes_on(call)
        assert call.events["error"] == []
        assert audio_of(call.server.sessions[0]) == speech()


async def blocked(call: Call) -> bytes:
    """Stop the server from reading, and send more than all buffers take; returns that audio."""
    await call.session.update_instructions(PROMPT)
    call.proxy.change(up=Path(end="stall"))
    left: list[str] = []
    call.session.on("openai_client_event_queued", lambda event: left.append(event["type"]))
    call.session.send_event({"type": "input_audio_buffer.append", "audio": "A" * 12_000_000})
    while not left:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return bytes(9_000_000)


async def test_video_does_not_wait_for_a_line_and_audio_does_not_wait_for_video(open_call):
    """Every frame is counted: the ones that were sent, and those for which the line had no room."""
    frame = rtc.VideoFrame(16, 16, rtc.VideoBufferType.RGBA, bytes(16 * 16 * 4))
    async with open_call(Emulator(script(), knobs=FAST), heartbeat=60.0, **MANUAL) as call:
        said = await blocked(call)
        for _ in range(20):
            call.session.push_video(frame)
        assert call.session.counters["video frame not sent"] == 20
        call.push(speech())
        call.session.commit_audio()
        call.proxy.change(up=Path())
        await asyncio.wait_for(call.server.wait_sent("input_audio_buffer.committed"), 20)
        assert audio_of(call.server.sessions[0]) == said + speech()
        assert call.server.received("conversation.item.create") == []
        call.session.push_video(frame)
        await asyncio.wait_for(call.server.wait_received("conversation.item.create"), 10)
        assert call.session.counters["video frame not sent"] == 20
        assert call.events["error"] == []


async def test_a_request_has_its_time_from_when_a_slow_line_took_it(open_call):
    emulator = Emulator(script(), knobs=FAST, faults=[DelayOn("session.updated", 1.8, nth=2)])
    async with open_call(emulator, heartbeat=60.0, request_timeout=2.0, **MANUAL) as call:
        await blocked(call)
        request = asyncio.ensure_future(call.session.update_instructions("Be kind."))
        await asyncio.sleep(2.5)  # longer than it has on a line that takes everything
        call.proxy.change(up=Path())
        await asyncio.wait_for(request, 20)
        assert [session.config["instructions"] for session in call.server.sessions] == ["Be kind."]
        assert call.events["error"] == []


async def test_a_request_over_a_line_that_never_takes_everything_is_not_waited_for_for_ever(open_call):
    async with open_call(Emulator(script(), knobs=FAST), heartbeat=60.0, request_timeout=0.3, **MANUAL) as call:
        await blocked(call)
        await asyncio.wait_for(call.session.update_instructions("Be kind."), 20)
        assert call.server.sessions[-1].config["instructions"] == "Be kind."
        assert len(call.server.sessions) == 2
        assert "did not answer a request within 0.3 s" in call.reasons[0]


HUGE = 15 * 2**20
LONG = bytes(48 * 1000 * 200)


async def test_a_frame_of_15_mb_survives_a_throttled_line(open_call):
    faults = [InjectOn("response.created", {"type": "response.sparkle", "event_id": "e", "x": "x" * HUGE})]
    options = {**MANUAL, "heartbeat": 10.0}
    emulator = Emulator(script(), knobs=FAST, faults=faults)
    async with open_call(emulator, Plan(down=Path(rate=20e6)), **options) as call:
        await call.session.update_instructions(PROMPT)
        assert await call.reply() == SAID
        assert call.session.counters["unknown event"] == 1
        assert call.events["error"] == []


async def test_a_long_audio_delta_survives_a_throttled_line(open_call):
    knobs = Knobs(pace=1e6, delta_ms=200_000, reply_latency=0.0, speak=lambda text, voice, speed: LONG)
    async with open_call(Emulator(script(), knobs=knobs), Plan(down=Path(rate=20e6)), heartbeat=10.0, **MANUAL) as call:
        await call.session.update_instructions(PROMPT)
        _, seconds = await read(await call.session.generate_reply())
        assert seconds == 200
        assert call.events["error"] == []


async def test_a_big_frame_that_takes_longer_than_the_heartbeat_is_a_sign_of_life(open_call):
    knobs = Knobs(pace=1e6, delta_ms=200_000, reply_latency=0.0, speak=lambda text, voice, speed: LONG)
    async with open_call(Emulator(script(), knobs=knobs), Plan(down=Path(rate=8e6)), **MANUAL) as call:
        await call.session.update_instructions(PROMPT)
        _, seconds = await read(await call.session.generate_reply())
        assert call.events["error"] == []
        assert seconds == 200


# -- refused ---------------------------------------------------------------------------------------------------


async def test_refused_for_a_while_then_back_with_all_that_was_said_meanwhile(open_call, lost_seconds):
    async with open_call(Emulator(script(), knobs=FAST), **MANUAL) as call:
        assert await talk(call) == SAID
        heard = texts_in(call.session.chat_ctx)
        call.proxy.refuse()
        call.push(speech("One."))
        call.proxy.cut("rst")
        call.push(speech("Two."))
        await call.failed(3)
        call.push(speech("Three."))
        assert "refused" in call.reasons[1].lower()
        await call.proxy.accept()
        call.session.commit_audio()
        await goes_on(call)
        assert audio_of(call.server.sessions[-1]) == b"".join(map(speech, ("One.", "Two.", "Three.")))
        assert texts_in(call.session.chat_ctx)[: len(heard)] == heard
        assert lost_seconds("realtime") == 0


async def test_what_a_long_outage_cannot_keep_is_counted_and_the_newest_arrives(open_call, lost_seconds):
    kept, second = 30, 48_000
    said = b"".join(number.to_bytes(2, "little") * (second // 2) for number in range(1, 41))
    async with open_call(Emulator(script(), knobs=FAST), **MANUAL) as call:
        await call.session.update_instructions(PROMPT)
        call.proxy.refuse()
        call.proxy.cut("rst")
        await call.failed()
        call.push(said)
        await call.proxy.accept()
        await call.reconnected()
        await call.proxy.until(lambda: len(audio_of(call.server.sessions[-1])) >= kept * second)
        assert audio_of(call.server.sessions[-1]) == said[-kept * second :]
        assert lost_seconds("realtime") == pytest.approx(40 - kept)


async def test_a_server_that_stays_away_ends_the_session_with_one_final_error(open_call):
    options = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=1.0)
    async with open_call(Emulator(script(), knobs=FAST), conn_options=options, **MANUAL) as call:
        await call.session.update_instructions(PROMPT)
        call.proxy.refuse()
        call.proxy.cut("rst")
        asked = call.session.generate_reply()
        with pytest.raises(llm.RealtimeError, match="refused"):
            await asyncio.wait_for(asked, 10)
        await call.until(lambda: not call.events["error"][-1].recoverable)
        assert [error.recoverable for error in call.events["error"]] == [True, True, False]
