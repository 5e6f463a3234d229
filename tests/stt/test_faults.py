"""A stream outlives what can pass: every sentence arrives once and in order. What cannot pass is told at once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from typing import Any

import pytest
from livekit.agents import APIConnectionError, APIConnectOptions, APIError, APIStatusError
from livekit.agents import stt as lk

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import (
    CloseOn,
    DelayOn,
    DropOn,
    ExpireAfter,
    Fault,
    FreezeOn,
    InjectOn,
    RefuseHandshake,
    RejectHandshake,
    RejectOn,
    SwallowOn,
)

Kind = lk.SpeechEventType
SERVER, STREAMING, OLD = "gpt-transcribe", "gpt-live-transcribe", "gpt-4o-mini-transcribe"
MODELS = (SERVER, STREAMING, OLD)
ONE, TWO, THREE = "hello there my friend", "what is the weather in rome", "goodbye and many thanks"
APPEND, COMMITTED = "input_audio_buffer.append", "input_audio_buffer.committed"
DELTA = "conversation.item.input_audio_transcription.delta"
EXPIRED = ("session_expired", "Your session hit the maximum duration of 60 minutes.")
BROKEN = ("server_error", "The server had an error while processing your request. Sorry about that!")
QUICK_SERVER = Knobs(transcription_latency=0.05)
NO_RETRY = APIConnectOptions(max_retry=0, timeout=1.0)


def script(*texts: str) -> Script:
    return Script([Turn(heard=text) for text in texts or (ONE, TWO, THREE)])


def told_once_and_alternating(listener: Any) -> None:
    """Speech begins and ends in turn, whatever happened to connections."""
    turns = [e.type for e in listener.events if e.type in (Kind.START_OF_SPEECH, Kind.END_OF_SPEECH)]
    assert turns == [Kind.START_OF_SPEECH, Kind.END_OF_SPEECH] * (len(turns) // 2)
    ids = [final.request_id for final in listener.of(Kind.FINAL_TRANSCRIPT)]
    assert len(ids) == len(set(ids))


def sent_again_once_at_most(pcm: bytes, sessions: list[Any], sent_audio: Any) -> None:
    """Each connection gets one piece of the audio without a gap, the first from its beginning, the last to its end."""
    pieces = [sent_audio(session) for session in sessions]
    reached = 0
    for piece in pieces:
        start = pcm.find(piece)
        assert start >= 0, "a connection got audio with a gap, or in another order"
        assert start <= reached, "audio is missing between two connections"
        reached = start + len(piece)
    assert reached == len(pcm)


# -- what can pass -------------------------------------------------------------------------------------------------

PASSING: dict[str, list[Fault]] = {
    "a drop in the middle of an utterance": [DropOn(APPEND, nth=25)],
    "a drop in a pause": [DropOn(APPEND, nth=75)],
    "two drops in one utterance": [DropOn(APPEND, nth=25), DropOn(APPEND, nth=60)],
    "a drop after the commit": [DropOn(COMMITTED)],
    "a drop after the second commit": [DropOn(COMMITTED, nth=2)],
    "a drop in the middle of a text": [DropOn(DELTA, nth=2)],
    "the session expires": [CloseOn(APPEND, 1001, EXPIRED[1], error=EXPIRED, nth=40)],
    "the server closes with an error": [CloseOn(APPEND, 1011, "server_error", error=BROKEN, nth=40)],
    "the server closes without a word": [CloseOn(APPEND, 1011, nth=40)],
    "the server restarts": [CloseOn(APPEND, 1012, nth=30)],
    "a clean close that nobody asked for": [CloseOn(APPEND, 1000, nth=30)],
    "a close after the commit": [CloseOn(COMMITTED, 1001, EXPIRED[1], error=EXPIRED)],
    "the server is overloaded twice, then well": [RefuseHandshake(503, times=2)],
    "a drop, then the server is overloaded": [DropOn(APPEND, nth=40), RefuseHandshake(503, nth=2)],
    "a drop while it is being configured": [DropOn("session.update")],
    "a drop before the session begins": [DropOn("session.created")],
}


@pytest.mark.parametrize("model", [SERVER, STREAMING])
@pytest.mark.parametrize("case", PASSING)
async def test_every_sentence_arrives_once_and_in_order_after(case, model, listen, sent_audio):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=PASSING[case]) as server:
        listener = listen(server, model)
        pcm = (await listener.say(ONE, TWO, THREE)).pcm
        await listener.finish(8.0)
        assert listener.texts() == [ONE, TWO, THREE]
        told_once_and_alternating(listener)
        assert len(server.handshakes) >= 2
        # The framework tells the application of every attempt, the server's last words may come on top.
        assert len(listener.errors) >= len(server.handshakes) - 1
        assert all(error.recoverable for error in listener.errors)
        assert [e["error"]["code"] for e in server.sent("error") if e["event_id"] != "event_fault"] == []
        sent_again_once_at_most(pcm, server.sessions, sent_audio)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", [FreezeOn(APPEND, nth=25), FreezeOn(COMMITTED)], ids=["in speech", "after it"])
async def test_a_dead_peer_is_noticed_and_nothing_is_lost(listen, sent_audio, model, fault):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[fault]) as server:
        listener = listen(server, model, heartbeat=0.2)
        started = time.monotonic()
        pcm = (await listener.say(ONE, TWO)).pcm
        await listener.finish(4.0)
        assert time.monotonic() - started < 3.0
        assert listener.texts() == [ONE, TWO]
        told_once_and_alternating(listener)
        sent_again_once_at_most(pcm, server.sessions, sent_audio)


@pytest.mark.parametrize("model", [SERVER, STREAMING])
async def test_what_is_said_into_a_dead_connection_is_not_lost(listen, sent_audio, model):
    """The server of a dead connection tells of no speech, which does not mean that there was none."""
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[FreezeOn("session.updated")]) as server:
        listener = listen(server, model, heartbeat=0.3)
        await server.wait_sent("session.updated")
        pcm = (await listener.say(ONE, TWO, THREE)).pcm
        await listener.finish(4.0)
        assert listener.texts() == [ONE, TWO, THREE]
        assert sent_audio(server.sessions[1]) == pcm


async def test_what_a_microphone_says_into_a_dead_connection_is_not_lost(listen, sent_audio):
    """At its pace, it takes two heartbeats until anybody notices; all that was said since is sent again."""
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[FreezeOn("session.updated")]) as server:
        listener = listen(server, heartbeat=1.1)
        await server.wait_sent("session.updated")
        pcm = (await listener.say(ONE, pause=1.2, pace=1)).pcm
        await listener.finish(4.0)
        assert listener.texts() == [ONE]
        assert sent_audio(server.sessions[1]) == pcm


def random_faults(chance: random.Random) -> list[Fault]:
    places = (APPEND, COMMITTED, DELTA, "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped")
    places += ("session.update", "session.updated", "conversation.item.added", "input_audio_buffer.commit")
    faults: list[Fault] = []
    for _ in range(chance.randint(1, 3)):
        on = chance.choice(places)
        nth = chance.randint(1, 200) if on == APPEND else chance.randint(1, 4)
        faults.append(
            chance.choice(
                [
                    DropOn(on, nth=nth),
                    FreezeOn(on, nth=nth),
                    CloseOn(on, chance.choice([1000, 1001, 1011, 1012, 1013]), nth=nth),
                    CloseOn(on, 1001, EXPIRED[1], error=EXPIRED, nth=nth),
                    CloseOn(on, 1011, "server_error", error=BROKEN, nth=nth),
                    DelayOn(on, 0.1, nth=nth),
                    RefuseHandshake(503, nth=chance.randint(1, 3)),
                ]
            )
        )
    return faults


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_goes_wrong_every_sentence_arrives_once_and_in_order(seed, listen, recording):
    chance = random.Random(seed)
    texts = chance.sample([ONE, TWO, THREE, "one two three four five", "please call me back tomorrow"], 3)
    pauses = [chance.choice([0.6, 0.8, 1.2]) for _ in texts]
    faults, model, pace = random_faults(chance), chance.choice(MODELS), chance.choice([0, 0, 10, 30])
    async with Emulator(script(*texts), knobs=QUICK_SERVER, faults=faults) as server:
        options = APIConnectOptions(max_retry=8, retry_interval=0.02, timeout=2.0)
        listener = listen(server, model, heartbeat=0.2, conn_options=options)
        pcm = b""
        for text, pause in zip(texts, pauses, strict=True):
            pcm += (await listener.say(text, pause=pause, pace=pace)).pcm
            if chance.random() < 0.3:
                listener.stt.update_options(prompt="something new")
        await listener.finish(8.0)
        assert listener.texts() == texts, faults
        told_once_and_alternating(listener)


@pytest.mark.parametrize("model", MODELS)
async def test_a_sentence_with_its_text_is_not_sent_again(listen, sent_audio, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        first = await listener.say(ONE)
        await listener.heard(ONE)
        await server.drop()
        second = await listener.say(TWO)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        again = len(sent_audio(server.sessions[1])) / 48000
        assert again <= first.seconds - first.spoken[0][1] + second.seconds + 0.1


@pytest.mark.parametrize("model", MODELS)
async def test_the_end_of_input_without_a_connection_waits_for_one_and_for_the_text(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await server.wait_sent("session.updated")
        server.add_fault(RefuseHandshake(503, times=2))
        await server.drop()
        await listener.until(lambda: len(listener.errors) >= 2)
        await listener.say(ONE, after=0.0)
        await listener.finish()
        assert listener.texts() == [ONE]
        told_once_and_alternating(listener)


async def test_the_end_of_input_comes_while_the_connection_is_being_opened(listen):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[DelayOn("session.created", 0.2)]) as server:
        listener = listen(server)
        listener.stream.end_input()
        await listener.ended(1.5)
        assert listener.errors == []


@pytest.mark.parametrize("model", MODELS)
async def test_a_drop_after_the_end_of_input_loses_nothing(listen, model):
    async with Emulator(script(), knobs=Knobs(transcription_latency=0.2)) as server:
        listener = listen(server, model)
        await listener.say(ONE, after=0.0)
        listener.stream.end_input()
        await server.wait_sent(COMMITTED)
        await server.drop()
        await listener.ended()
        assert listener.texts() == [ONE]
        told_once_and_alternating(listener)


async def test_an_error_that_closes_nothing_is_reported_and_that_is_all(listen):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        error = {"type": "server_error", "code": "server_error", "message": BROKEN[1], "param": None, "event_id": None}
        server.add_fault(InjectOn(COMMITTED, {"type": "error", "event_id": "event_x", "error": error}))
        listener = listen(server)
        await listener.say(ONE, TWO, after=0.4)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        (problem,) = listener.errors
        assert problem.recoverable
        assert "server_error" in str(problem.error)
        assert len(server.sessions) == 1


async def test_an_expired_session_that_is_not_closed_by_the_server_is_given_up(listen):
    async with Emulator(script(), knobs=Knobs(transcription_latency=0.4)) as server:
        error = {"type": "invalid_request_error", "code": EXPIRED[0], "message": EXPIRED[1], "param": None}
        server.add_fault(InjectOn(COMMITTED, {"type": "error", "event_id": "event_x", "error": error}))
        listener = listen(server)
        await listener.say(ONE, TWO, after=0.4)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        assert len(server.sessions) == 2


async def test_a_real_expiry_in_a_pause_is_survived(listen):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[ExpireAfter(0.5)]) as server:
        listener = listen(server)
        await listener.say(ONE)
        await listener.heard(ONE)
        await server.wait_until(lambda: len(server.sessions) == 2)
        await listener.say(TWO)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]


async def test_rubbish_unknown_events_and_other_frames_do_no_harm(listen):
    faults: list[Fault] = [
        InjectOn(COMMITTED, "{not json"),
        InjectOn(COMMITTED, b"\x00\x01"),
        InjectOn(COMMITTED, {"type": "conversation.item.input_audio_transcription.segment", "text": "x"}),
        InjectOn(COMMITTED, {"type": "session.new_thing", "value": 1}),
        InjectOn(COMMITTED, {"type": DELTA}),
        InjectOn(COMMITTED, {"type": "conversation.item.input_audio_transcription.completed", "item_id": 7}),
    ]
    async with Emulator(script(), knobs=QUICK_SERVER, faults=faults) as server:
        listener = listen(server)
        await listener.say(ONE, TWO, after=0.4)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        assert len(server.sessions) == 1


async def test_a_commit_that_the_server_does_not_answer_does_not_hold_the_stream_for_ever(listen, monkeypatch):
    from livekit_plugins_openai_ga.core import segments

    monkeypatch.setattr(segments, "FINAL_TIMEOUT_S", 0.3)
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[SwallowOn("input_audio_buffer.commit")]) as server:
        listener = listen(server, STREAMING)
        await listener.say(ONE, after=0.0)
        await listener.finish(3.0)
        assert len(listener.texts()) + len(listener.errors) == 1


# -- what cannot pass ----------------------------------------------------------------------------------------------

NO_QUOTA = '{"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"You have no quota."}}'
PERMANENT: dict[str, tuple[Fault, str, str]] = {
    "a wrong key": (RejectHandshake("invalid_api_key", "Incorrect API key.", 3000), "invalid_api_key", "api_key"),
    "a wrong model": (RejectHandshake("invalid_model", "No such model.", 4000), "invalid_model", "model"),
    "the beta": (RejectHandshake("beta_api_shape_disabled", "It is gone.", 4000), "beta_api_shape_disabled", "Remove"),
    "no quota": (RejectHandshake("insufficient_quota", "No quota.", 4000), "insufficient_quota", "credit"),
    "no quota, told while it runs": (
        CloseOn("session.updated", 1011, "insufficient_quota", error=("insufficient_quota", "You have no quota.")),
        "insufficient_quota",
        "credit",
    ),
    "no quota, by HTTP": (RefuseHandshake(429, NO_QUOTA), "insufficient_quota", "credit"),
    "HTTP 401": (RefuseHandshake(401), "http_401", "api_key"),
    "HTTP 403": (RefuseHandshake(403), "http_403", "key"),
    "HTTP 404": (RefuseHandshake(404), "http_404", "base_url"),
    "a refused configuration": (
        RejectOn("session.update", "invalid_value", "Not supported.", "session.audio.input.turn_detection"),
        "invalid_value",
        "turn_detection",
    ),
}


@pytest.mark.parametrize("case", PERMANENT)
async def test_what_no_retry_can_cure_comes_out_at_once_with_its_code_and_a_remedy(case, listen):
    fault, code, remedy = PERMANENT[case]
    async with Emulator(script(), faults=[fault]) as server:
        listener = listen(server)
        with pytest.raises(APIError) as caught:
            await listener.ended(2.0)
        assert code in str(caught.value)
        assert remedy in str(caught.value)
        assert not caught.value.retryable
        assert len(server.handshakes) == 1
        assert [error.recoverable for error in listener.errors] == [False]
        assert code in str(listener.errors[0].error)


async def test_a_key_that_is_really_wrong_is_told_and_not_shown(listen):
    async with Emulator(knobs=Knobs(api_keys=frozenset({"sk-right"}))) as server:
        listener = listen(server, api_key="sk-wrong-0123456789abcdef")
        with pytest.raises(APIError, match="invalid_api_key") as caught:
            await listener.ended(2.0)
        assert "sk-wrong" not in str(caught.value) + repr(caught.value) + repr(caught.value.body)
        assert len(server.handshakes) == 1


async def test_a_model_that_the_server_does_not_know_is_told_at_once(listen):
    """The table of models lets unknown names pass: a gateway may know them. OpenAI does not."""
    async with Emulator(script()) as server:
        listener = listen(server, "gpt-imaginary", model_in_url=False)
        with pytest.raises(APIError, match="gpt-imaginary") as caught:
            await listener.ended(2.0)
        assert not caught.value.retryable
        assert len(server.handshakes) == 1


async def test_a_refused_http_status_is_told_as_such(listen):
    async with Emulator(faults=[RefuseHandshake(403, '{"error":{"message":"Region not served."}}')]) as server:
        listener = listen(server)
        with pytest.raises(APIStatusError, match=r"Region not served\.") as caught:
            await listener.ended(2.0)
        assert caught.value.status_code == 403


async def test_audio_that_is_pushed_after_the_end_by_failure_is_refused_by_the_framework(listen, recording):
    async with Emulator(faults=[RefuseHandshake(401)]) as server:
        listener = listen(server)
        with pytest.raises(APIError):
            await listener.ended(2.0)
        with pytest.raises(RuntimeError, match="closed"):
            await listener.push(recording(before=0.1))


# -- the budget ----------------------------------------------------------------------------------------------------


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def test_an_unreachable_server_is_given_up_when_the_budget_is_spent(listen, free_port):
    listener = listen(
        f"http://127.0.0.1:{free_port}/v1", conn_options=APIConnectOptions(max_retry=2, retry_interval=0.05)
    )
    started = time.monotonic()
    with pytest.raises(APIConnectionError, match="failed to recognize speech"):
        await listener.ended(2.0)
    assert time.monotonic() - started < 1.0
    assert [error.recoverable for error in listener.errors] == [True, True, False]
    assert "connection_refused" in str(listener.errors[0].error)


async def test_a_server_that_accepts_and_never_answers_is_given_up_in_bounded_time(listen):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        listener = listen(url, conn_options=APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=0.3))
        started = time.monotonic()
        with pytest.raises(APIConnectionError):
            await listener.ended(3.0)
        assert time.monotonic() - started < 2.0
        assert len(listener.errors) == 3


@pytest.mark.parametrize("missing", ["session.created", "session.updated"])
async def test_a_session_that_does_not_begin_is_given_up_in_bounded_time(listen, missing):
    async with Emulator(faults=[SwallowOn(missing, times=9)]) as server:
        options = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=0.8)
        listener = listen(server, conn_options=options)
        with pytest.raises(APIConnectionError):
            await listener.ended(8.0)
        assert len(server.handshakes) == 3


async def test_a_server_that_takes_the_configuration_and_hangs_up_each_time_is_given_up(listen):
    async with Emulator(script(), faults=[CloseOn("session.updated", 1011, times=99)]) as server:
        listener = listen(server)
        await listener.say(ONE)
        with pytest.raises(APIConnectionError):
            await listener.ended(4.0)
        assert len(server.handshakes) == 4  # max_retry is 3


async def test_a_text_gives_the_budget_back(listen):
    async with Emulator(script(*[ONE] * 5), knobs=QUICK_SERVER) as server:
        listener = listen(server, conn_options=APIConnectOptions(max_retry=1, retry_interval=0.05, timeout=2.0))
        for number in range(1, 5):
            await listener.say(ONE)
            await listener.until(lambda n=number: len(listener.finals) == n)
            await server.drop()
            await server.wait_sent("session.updated", count=number + 1)
        await listener.say(ONE)
        await listener.finish()
        assert len(listener.finals) == 5


async def test_without_retries_the_first_failure_comes_out(listen):
    async with Emulator(script(), faults=[DropOn(APPEND, nth=10)]) as server:
        listener = listen(server, conn_options=NO_RETRY)
        with contextlib.suppress(RuntimeError):  # closed, when the push comes after the end
            await listener.say(ONE)
        with pytest.raises(APIError, match="close_1006"):
            await listener.ended(2.0)
        assert len(server.handshakes) == 1


# -- planned changes of connection ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("audio", [True, False], ids=["silence", "no audio"])
async def test_a_silent_line_is_renewed_on_time_and_nothing_is_told(listen, model, audio):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model, max_session_duration=1)
        started = time.monotonic()
        if audio:
            await listener.say(before=1.3, pace=1)
        await server.wait_until(lambda: len(server.sessions) == 2)
        assert 0.8 < time.monotonic() - started < 2.5
        assert (listener.events, listener.errors) == ([], [])
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]
        assert listener.errors == []


@pytest.mark.parametrize("model", [SERVER, STREAMING])
async def test_a_planned_change_waits_for_a_pause(listen, model):
    words = "alpha bravo charlie delta echo foxtrot golf hotel india"
    async with Emulator(script(words, TWO), knobs=QUICK_SERVER) as server:
        listener = listen(server, model, max_session_duration=1)
        spoken = await listener.say(words, after=0.6, pace=1.2)
        assert spoken.spoken[0][1] / 1.2 > 1.2, "the speech must go on beyond the planned change"
        await listener.heard(words)
        await server.wait_until(lambda: len(server.sessions) == 2)
        assert listener.kinds().count("start_of_speech") == 1
        assert server.sessions[0].sent[-1]["type"] != DELTA
        await listener.say(TWO)
        await listener.finish()
        assert listener.texts() == [words, TWO]
        assert listener.errors == []


async def test_a_connection_is_not_renewed_when_that_is_switched_off(listen):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, max_session_duration=None)
        await listener.say(ONE, after=0.4)
        await listener.finish()
        assert len(server.sessions) == 1


# -- closing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [SERVER, STREAMING])
async def test_fifty_streams_leave_no_socket_and_no_task(make_stt, recording, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = make_stt(server, model)
        before = asyncio.all_tasks()
        silence = recording(before=0.1)
        for number in range(50):
            stream = stt.stream()
            if number % 2:
                for frame in silence.frames():
                    stream.push_frame(frame)
                await server.wait_until(lambda n=number: len(server.sessions) > n)
            else:
                await server.wait_until(lambda n=number: len(server.handshakes) > n)
            await stream.aclose()
        await server.wait_until(lambda: all(session.closed for session in server.sessions), timeout=2.0)
        left = asyncio.all_tasks() - before
        assert [task for task in left if "openai_ga" in repr(task) or "STT" in repr(task)] == []


async def test_a_stream_closes_within_a_second_in_every_phase(listen):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[DelayOn("session.created", 0.5)]) as server:

        async def close(listener: Any) -> None:
            started = time.monotonic()
            await listener.stream.aclose()
            assert time.monotonic() - started < 1.0
            await listener.ended(0.5)

        await close(listen(server))  # not even begun
        opening = listen(server)
        await server.wait_until(lambda: len(server.handshakes) == 1)
        await close(opening)
        speaking = listen(server, STREAMING)
        await speaking.say(ONE, after=0.0)
        await close(speaking)
        frozen = listen(server)
        await frozen.say(ONE)
        await frozen.until(lambda: frozen.finals != [])
        await server.freeze()
        await close(frozen)
        retrying = listen("http://127.0.0.1:9/v1", conn_options=APIConnectOptions(retry_interval=5.0))
        await retrying.until(lambda: len(retrying.errors) == 2)
        await close(retrying)
