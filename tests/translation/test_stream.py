"""A stream of translation from its first frame to its end: what it sends, gives out and tells."""

from __future__ import annotations

import asyncio
import base64
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIError, APIStatusError
from livekit.agents.metrics import STTMetrics

from livekit_plugins_openai_ga.emulator import Turn
from livekit_plugins_openai_ga.emulator import faults as fl
from livekit_plugins_openai_ga.emulator.voice import synthetic
from livekit_plugins_openai_ga.translation import Reconnected, TranslatorError
from livekit_plugins_openai_ga.translation.stream import UNREAD_AUDIO_S
from tests.simulation.interpreting import cell, interpret
from tests.simulation.network import Path

Play = Callable[..., None]
SAID = "Guten Morgen allerseits"
LOUD = b"\x00\x20" * 4_800


def frame(pcm: bytes = bytes(960)) -> rtc.AudioFrame:
    return rtc.AudioFrame(pcm, 24000, 1, len(pcm) // 2)


def test_speech_goes_in_and_speech_and_both_texts_come_out(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await made.finish()
        assert (made.text, made.source) == (SAID, "Good morning everybody")
        assert made.speech == synthetic(SAID).strip(b"\0")
        assert {(f.sample_rate, f.num_channels) for f in made.frames} == {(24000, 1)}
        assert all(0 <= told.at < 10 for told in [*made.texts, *made.sources])
        assert made.raised == made.told["error"] == []
        assert made.told["closed"] == [None]

    play(scene, transcribe_source=True)


def test_what_was_not_asked_for_is_not_there_and_its_iterator_ends_all_the_same(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await made.finish()
        assert made.source == ""

    play(scene)


@pytest.mark.parametrize("how", [{"rate": 48000, "channels": 2, "ms": 10}, {"ms": 50}, {"ms": 7}])
def test_frames_of_any_kind_become_steps_of_200_ms(play: Play, how: dict[str, int]) -> None:
    async def scene(made: Any) -> None:
        await made.speak(**how)
        await made.finish()
        assert made.text == SAID
        assert {len(base64.b64decode(audio)) for audio in made.received} == {9_600}

    play(scene)


def test_audio_is_sent_byte_for_byte_and_what_is_left_at_the_end_with_silence_behind(play: Play) -> None:
    async def scene(made: Any) -> None:
        pcm = await made.speak()
        await made.finish()
        sent = b"".join(map(base64.b64decode, made.received))
        assert sent.startswith(pcm)
        assert len(sent) - len(pcm) < 9_600
        assert not any(sent[len(pcm) :])

    play(scene)


def test_a_source_that_sends_no_frames_is_silent_and_the_sentence_before_is_finished(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        before = len(made.received)
        await asyncio.sleep(60)
        assert made.text == SAID
        assert made.speech == synthetic(SAID).strip(b"\0")
        assert len(made.received) - before == pytest.approx(300, abs=2)

    play(scene)


def test_frames_that_come_late_and_at_once_are_all_sent(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.sleep(5)
        pcm = synthetic("A long sentence that comes late, because somebody held the loop up")
        for start in range(0, len(pcm), 960):
            made.stream.push_frame(frame(pcm[start : start + 960]))
        await made.finish()
        sent = b"".join(map(base64.b64decode, made.received))
        assert sent.lstrip(b"\0").startswith(pcm.strip(b"\0"))

    play(scene)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"max_replay_audio": 0.0},
        {"paths": [Path(bytes_per_s=100_000)]},
        {"knobs": {"translation_silence": False, "translation_speed": 1.0}},
        {"knobs": {"translation_speed": 20.0}},
        {"knobs": {"translation_speed": 1.0}, "frame_ms": 2_000},
        {"faults": [fl.DropOn("session.output_audio.delta", nth=200)]},
        {"max_session_duration": 20.0},
    ],
    ids=str,
)
def test_a_file_that_waits_for_room_is_sent_whole_and_nothing_is_put_into_it(play: Play, how: dict[str, Any]) -> None:
    async def scene(made: Any) -> None:
        loop = asyncio.get_running_loop()
        steps = [bytes([1 + number % 100, 0x20]) * 24 * frame_ms for number in range(120_000 // frame_ms)]
        began = loop.time()
        for step in steps:
            await made.stream.room()
            made.stream.push_frame(frame(step))
        assert loop.time() - began < 150
        await made.finish()
        assert made.stream.info.audio_dropped == 0
        if len(made.server.sessions) == 1 or "max_session_duration" in how:
            sent = b"".join(map(base64.b64decode, made.received))
            assert sent.strip(b"\0") == b"".join(steps)

    how = dict(how)
    frame_ms = how.pop("frame_ms", 20)
    play(scene, **how)


def test_a_file_that_does_not_wait_is_cut_to_its_bound_and_that_is_logged_as_what_it_is(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(made: Any) -> None:
        for why in ("there is no connection", "it comes faster than it can be sent"):
            for _ in range(2 * 1_550):
                made.stream.push_frame(frame())
            lost = [record.getMessage() for record in caplog.records if "being lost" in record.getMessage()]
            assert lost == [f"source audio is being lost, the oldest first: {why}"]
            await asyncio.sleep(1)
            assert made.stream.info.audio_dropped > 30
            caplog.clear()

    play(scene, log=True)


def test_what_an_old_session_that_does_not_end_costs_is_logged_as_that(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(made: Any) -> None:
        await asyncio.sleep(8)
        for _ in range(6_100):
            made.stream.push_frame(frame())
        assert "source audio is being lost, the oldest first: the old session has not ended" in caplog.text
        assert made.stream.info.audio_dropped == pytest.approx(2)

    play(scene, log=True, max_session_duration=6.0, faults=[fl.SwallowOn("session.close")])


def test_there_is_room_in_a_stream_that_is_over(play: Play) -> None:
    async def scene(made: Any) -> None:
        waiting = asyncio.ensure_future(made.stream.room())
        await asyncio.sleep(0)
        await made.stream.aclose()
        await asyncio.wait_for(waiting, 1)
        await made.stream.room()

    play(scene, faults=[fl.RefuseHandshake(503, times=99)])


def test_nothing_is_sent_before_the_session_is_configured(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await made.finish()
        (session,) = made.server.sessions
        assert [event["type"] for event in session.received[:2]] == [
            "session.update",
            "session.input_audio_buffer.append",
        ]
        assert session.received[0]["session"] == {
            "audio": {
                "input": {"transcription": None, "noise_reduction": {"type": "far_field"}},
                "output": {"language": "de"},
            }
        }

    play(scene, noise_reduction="far_field")


def test_the_end_waits_for_a_rest_that_takes_minutes_as_long_as_it_comes(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.push(synthetic("Good morning"))
        await made.finish()
        assert made.text == SAID

    # 180 s of source audio at a sixth of its pace
    play(scene, knobs={"translation_lag": 20.0, "translation_speed": 0.1}, drain_timeout=5.0)


def test_a_rest_that_does_not_come_ends_the_stream_by_an_error(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await made.finish()
        assert len(made.raised) == 3
        assert all(isinstance(error, APIConnectionError) for error in made.raised)
        assert "did not tell the end" in str(made.raised[0])
        (told,) = made.told["error"]
        assert (told.error, told.recoverable) == (made.raised[0], False)

    play(scene, faults=[fl.SwallowOn("session.close")], drain_timeout=3.0)


def test_another_language_in_the_middle(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await asyncio.sleep(5)
        made.stream.update_options(target_language="fr-CA")
        await asyncio.sleep(1)
        await made.speak("And now something else")
        await made.finish()
        assert made.text == "Guten MorgenBonjour"
        assert made.stream.options.target_language == "fr"
        assert len(made.server.sessions) == 1

    play(scene, translations={"de": [Turn("a", "Guten Morgen")], "fr": [Turn("b", "Bonjour")]})


def test_a_language_that_is_none_is_refused_at_once_and_changes_nothing(play: Play) -> None:
    async def scene(made: Any) -> None:
        with pytest.raises(ValueError, match="target_language='Klingon!'"):
            made.stream.update_options(target_language="Klingon!")
        assert made.stream.options.target_language == "de"

    play(scene)


def test_a_language_that_the_server_refuses_is_told_and_the_old_one_stays(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.sleep(1)
        made.stream.update_options(target_language="xx")
        await asyncio.sleep(1)
        (told,) = made.told["error"]
        assert isinstance(told, TranslatorError)
        assert told.recoverable
        assert "'xx'" in str(told.error)
        assert made.stream.options.target_language == "de"
        await made.server.drop()
        await asyncio.sleep(1)
        assert made.server.sessions[-1].config["audio"]["output"] == {"language": "de"}

    play(scene)


def test_a_language_set_while_there_is_no_connection_holds_on_the_next_one(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.sleep(1)
        await made.server.drop()
        made.stream.update_options(target_language="fr")
        await asyncio.sleep(1)
        assert made.server.sessions[-1].config["audio"]["output"] == {"language": "fr"}

    play(scene)


def test_a_lost_connection_loses_no_word_and_repeats_none(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak("Good morning everybody, and welcome to this long speech")
        await made.server.drop()
        await asyncio.sleep(10)
        await made.finish()
        assert made.text == SAID + " und willkommen"
        assert made.speech == synthetic(SAID + " und willkommen").strip(b"\0")
        assert len(made.server.sessions) == 2
        (told,) = made.told["error"]
        assert (told.recoverable, made.raised) == (True, [])
        (again,) = made.told["reconnected"]
        assert isinstance(again, Reconnected)
        assert (again.planned, again.session_id) == (False, made.server.sessions[1].id)
        assert again.behind > 1

    play(scene, turns=[Turn("Good morning", SAID + " und willkommen"), Turn("x", "never said")])


def test_a_planned_change_waits_for_a_pause_and_ends_the_old_session_in_order(play: Play) -> None:
    async def scene(made: Any) -> None:
        for text in ("Good morning", "What a day"):
            await made.speak(text)
            await asyncio.sleep(10)
        await made.finish()
        assert made.text == "einszwei"
        one, _ = made.server.sessions
        said = [event["delta"] for event in one.sent if event["type"] == "session.output_transcript.delta"]
        assert said == ["eins", "zwei"]  # it was old when the second was said
        assert one.received[-1]["type"] == "session.close"
        assert one.sent[-1]["type"] == "session.closed"
        (again,) = made.told["reconnected"]
        assert again.planned
        assert made.told["error"] == []
        assert made.stream.info.audio_replayed == 0

    play(scene, turns=[Turn("a", "eins"), Turn("b", "zwei")], max_session_duration=11.5)


def test_a_planned_change_does_not_wait_for_ever(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.push(LOUD * 240)
        await made.finish()
        assert made.text == "x" * 240
        assert len(made.server.sessions) == 2
        assert made.stream.info.audio_replayed == made.stream.info.audio_dropped == 0

    play(scene, max_session_duration=1.0, knobs={"interpret": lambda pcm, language: ("x", pcm)})


def test_a_server_that_does_not_end_a_session_for_a_planned_change_is_left(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.sleep(8)
        await made.speak()
        await made.finish()
        assert made.text == SAID
        assert len(made.server.sessions) == 2
        assert "did not tell the end" in str(made.told["error"][0].error)

    play(scene, max_session_duration=6.0, drain_timeout=3.0, faults=[fl.SwallowOn("session.close")])


def test_an_end_that_comes_while_a_server_stalls_at_a_planned_change_is_no_failure(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.sleep(8)
        await made.speak()
        await made.finish()
        assert (made.text, made.raised) == (SAID, [])
        assert len(made.server.sessions) == 2
        assert [told.recoverable for told in made.told["error"]] == [True]

    play(scene, max_session_duration=6.0, drain_timeout=10.0, faults=[fl.SwallowOn("session.close")])


def test_what_is_said_while_a_long_rest_is_waited_for_is_kept(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.sleep(8)  # asked to end at 6, the server says nothing until 56
        await made.push(LOUD * 200)
        await asyncio.sleep(10)
        await made.finish()
        assert made.text == "x" * 200
        assert len(made.server.sessions) == 2
        assert made.stream.info.audio_dropped == 0

    play(
        scene,
        max_session_duration=6.0,
        max_replay_audio=5.0,
        drain_timeout=60.0,
        faults=[fl.DelayOn("session.closed", seconds=50)],
        knobs={"interpret": lambda pcm, language: ("x", pcm)},
    )


def test_no_silence_is_made_while_a_session_is_ended(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.sleep(30)  # asked to end at 6, the server says nothing until 26
        old, new = made.server.sessions
        assert old.received[-1]["type"] == "session.close"
        assert sum("audio" in event for event in new.received) < 5 * 5
        assert made.stream.usage.audio_in < 15

    play(scene, max_session_duration=6.0, faults=[fl.DelayOn("session.closed", seconds=20)])


def test_a_break_in_the_rest_before_a_planned_change_loses_and_repeats_nothing(play: Play) -> None:
    async def scene(made: Any) -> None:
        said = b"".join(cell(number, loud=True) for number in range(2_400))
        speaking = asyncio.ensure_future(made.push(said))
        await asyncio.sleep(32)  # asked to end at 31, the last words come a second and a quarter later
        (old,) = made.server.sessions
        assert old.received[-1]["type"] == "session.close"
        assert old.sent[-1]["type"] != "session.closed"
        await made.server.drop()
        await speaking
        await made.finish()
        assert list(map(int, made.text.split())) == list(range(2_400))
        assert len(made.server.sessions) == 2

    play(scene, max_session_duration=1.0, knobs={"interpret": interpret, "translation_lag": 3.0})


def test_a_place_that_cannot_be_is_not_believed(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await made.finish()
        assert made.texts[-1].text == "odd"
        assert made.texts[-1].at == pytest.approx(len(made.received) * 0.2 + 60)

    odd = {"type": "session.output_transcript.delta", "delta": "odd", "elapsed_ms": 10**9}
    play(scene, faults=[fl.InjectOn("session.closed", data=odd)])


def test_a_refused_key_ends_it_by_an_error_that_every_iterator_raises(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.wait_for(asyncio.gather(*made.readers), 5)
        assert len(made.raised) == 3
        (told,) = made.told["error"]
        assert not told.recoverable
        assert made.told["closed"] == [None]
        assert made.stream.info.state == "over"
        with pytest.raises(RuntimeError, match="open another stream"):
            made.stream.push_frame(frame())
        made.stream.end_input()
        made.stream.update_options(target_language="fr")

    play(scene, faults=[fl.RejectHandshake("invalid_api_key", "Incorrect API key provided", close_code=3000)])


def test_a_first_language_that_the_server_refuses_ends_it_and_names_it(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.wait_for(asyncio.gather(*made.readers), 5)
        assert "'xx'" in str(made.raised[0])
        assert "session.audio.output.language" in str(made.raised[0])
        assert not made.raised[0].retryable

    play(scene, target_language="xx")


def test_it_gives_up_after_as_many_attempts_as_were_asked_for(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.wait_for(asyncio.gather(*made.readers), 60)
        assert len(made.server.handshakes) == 4
        assert isinstance(made.raised[0], APIStatusError)
        assert [told.recoverable for told in made.told["error"]] == [True, True, True, False]

    play(scene, faults=[fl.RefuseHandshake(503, times=99)])


def test_a_server_that_never_confirms_is_given_up(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await made.finish()
        assert made.text == SAID
        assert "did not confirm" in str(made.told["error"][0].error)

    play(scene, faults=[fl.SwallowOn("session.updated")])


def test_aclose_ends_at_once_and_drops_the_rest(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await made.stream.aclose()
        assert loop.time() - began < 1.0
        await asyncio.wait_for(asyncio.gather(*made.readers), 1)
        assert made.raised == []
        assert made.told["closed"] == [None]
        await made.stream.aclose()
        with pytest.raises(RuntimeError, match="was ended, closed, or has failed"):
            made.stream.push_frame(frame())

    play(scene)


def test_aclose_drops_what_nobody_has_read(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await asyncio.sleep(5)
        await made.stream.aclose()
        for given in (made.stream.audio, made.stream.transcript, made.stream.source_transcript):
            assert [each async for each in given] == []

    play(scene, reads=False, transcribe_source=True)


def test_aclose_before_there_is_a_connection(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.stream.aclose()
        assert made.told["closed"] == [None]
        assert made.server.sessions == []

    play(scene)


def test_a_stream_is_closed_by_its_with_block(play: Play) -> None:
    async def scene(made: Any) -> None:
        async with made.translator.stream() as stream:
            stream.push_frame(frame())
        assert stream.info.state == "over"

    play(scene)


def test_what_nobody_reads_has_its_bound_and_the_newest_stays(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(made: Any) -> None:
        for _ in range(2200):
            for _ in range(10):
                made.stream.push_frame(frame(b"\x00\x20" * 480))
            await asyncio.sleep(0.2)
        made.stream.end_input()
        seconds = 0.0
        async for each in made.stream.audio:
            seconds += each.duration
        assert seconds == pytest.approx(UNREAD_AUDIO_S, abs=3)
        assert made.stream.usage.audio_out > seconds
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert told == ["nobody reads `audio` as fast as it comes: the oldest is lost"]

    play(scene, reads=False, log=True, knobs={"interpret": lambda pcm, language: ("", pcm)})


def test_usage_is_the_length_of_what_was_sent_and_what_it_costs(play: Play) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await asyncio.sleep(150)
        await made.finish()
        usage = made.stream.usage
        sent = len(made.received) * 0.2
        assert usage.audio_in == pytest.approx(sent)
        assert usage.cost_usd == pytest.approx(sent / 60 * (0.034 + 0.017))
        assert usage.audio_out == pytest.approx(sum(each.duration for each in made.frames))
        assert all(isinstance(each, STTMetrics) for each in made.told["metrics_collected"])
        told = [each.audio_duration for each in made.told["metrics_collected"]]
        assert told[:2] == [pytest.approx(60), pytest.approx(60)]
        assert sum(told) == pytest.approx(sent)
        assert made.told["metrics_collected"][0].request_id == made.server.sessions[0].id

    play(scene, transcribe_source=True)


def test_a_listener_that_raises_keeps_nobody_from_hearing(play: Play) -> None:
    async def scene(made: Any) -> None:
        made.stream.on("reconnected", lambda: 1 + None)  # type: ignore[operator]
        await asyncio.sleep(1)
        await made.server.drop()
        await made.speak()
        await made.finish()
        assert made.text == SAID
        assert len(made.told["reconnected"]) == 1

    play(scene)


def test_a_prewarmed_connection_is_the_first_streams(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.sleep(1)
        await made.translator.prewarm()
        await asyncio.sleep(5)
        assert len(made.server.sessions) == 2
        async with made.translator.stream() as stream:
            await asyncio.sleep(1)
            assert stream.info.state == "ready"
            assert len(made.server.sessions) == 2

    play(scene)


def test_a_translator_closes_its_streams_and_forgets_those_that_ended(play: Play) -> None:
    async def scene(made: Any) -> None:
        other = made.translator.stream()
        await asyncio.sleep(1)
        await made.translator.aclose()
        await asyncio.sleep(1)
        assert {other.info.state, made.stream.info.state} == {"over"}
        assert [session.closed is not None for session in made.server.sessions] == [True, True]

    play(scene)


def test_an_ended_stream_leaves_nothing_behind(play: Play) -> None:
    async def scene(made: Any) -> None:
        stream = made.translator.stream()
        stream.end_input()
        async for _ in stream.audio:
            pass
        await asyncio.sleep(1)
        left = weakref.ref(stream)
        del stream
        gc.collect()
        assert left() is None

    play(scene)


def test_the_error_of_a_stream_says_what_and_what_to_do(play: Play) -> None:
    async def scene(made: Any) -> None:
        await asyncio.wait_for(asyncio.gather(*made.readers), 5)
        error = made.raised[0]
        assert isinstance(error, APIError)
        assert not error.retryable
        assert "invalid_model" in str(error)

    play(scene, faults=[fl.RejectHandshake()])
