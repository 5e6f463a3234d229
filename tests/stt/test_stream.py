"""What one stream tells: events in LiveKit's order, texts, times, languages, confidence, usage, and its end."""

from __future__ import annotations

import asyncio
import base64
import math
import time

import pytest
from livekit.agents import stt as lk

from livekit_plugins_openai_ga.core import segments
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import AlterOn, DelayTranscription, FailTranscription, SwallowOn

Kind = lk.SpeechEventType
SERVER, STREAMING, OLD = "gpt-transcribe", "gpt-live-transcribe", "gpt-4o-mini-transcribe"
MODELS = (SERVER, STREAMING, OLD)
ONE, TWO, THREE = "hello there my friend", "what is the weather in rome", "goodbye and many thanks"
SCRIPT = (Turn(heard=ONE), Turn(heard=TWO), Turn(heard=THREE))
QUICK_SERVER = Knobs(transcription_latency=0.02)
PADDING = 0.6  # seconds that server VAD counts as speech before it, by default
NEAR = {SERVER: 0.1, OLD: 0.1, STREAMING: 0.15}
"""Seconds. The emulator's VAD is exact to 20 ms; silero, which hears the end of speech for streaming models, is not."""


def script(*turns: Turn | str) -> Script:
    return Script([Turn(heard=turn) if isinstance(turn, str) else turn for turn in turns or SCRIPT])


def end_of(event: lk.SpeechEvent) -> float:
    return event.alternatives[0].end_time


def start_of(event: lk.SpeechEvent) -> float:
    return event.alternatives[0].start_time


# -- order and texts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_sentences_come_as_start_end_final_in_order_and_then_the_stream_ends(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await listener.say(ONE, TWO, THREE)
        await listener.finish()
        assert listener.texts() == [ONE, TWO, THREE]
        assert listener.errors == []
        turns = [e.type for e in listener.events if e.type in (Kind.START_OF_SPEECH, Kind.END_OF_SPEECH)]
        assert turns == [Kind.START_OF_SPEECH, Kind.END_OF_SPEECH] * 3
        assert len(server.handshakes) == 1
        assert server.sent("error") == []


@pytest.mark.parametrize("model", MODELS)
async def test_one_sentence_at_a_time_begins_grows_stops_is_final_and_billed(listen, model):
    async with Emulator(script(), knobs=Knobs(transcription_latency=0.15, seconds_per_word=0.2)) as server:
        listener = listen(server, model)
        await server.wait_sent("session.updated")
        for number, sentence in enumerate((ONE, TWO), 1):
            before = len(listener.events)
            await listener.say(sentence, pace=5)
            await listener.until(lambda n=number: len(listener.of(Kind.RECOGNITION_USAGE)) == n)
            told = [event.type for event in listener.events[before:]]
            first_of_kind = [kind for n, kind in enumerate(told) if kind not in told[:n]]
            if model == STREAMING:  # text comes while somebody still speaks
                assert first_of_kind == [
                    Kind.START_OF_SPEECH,
                    Kind.INTERIM_TRANSCRIPT,
                    Kind.END_OF_SPEECH,
                    Kind.PREFLIGHT_TRANSCRIPT,
                    Kind.FINAL_TRANSCRIPT,
                    Kind.RECOGNITION_USAGE,
                ]
            else:
                assert [kind for kind in first_of_kind if kind is not Kind.INTERIM_TRANSCRIPT] == [
                    Kind.START_OF_SPEECH,
                    Kind.END_OF_SPEECH,
                    Kind.FINAL_TRANSCRIPT,
                    Kind.RECOGNITION_USAGE,
                ]
        await listener.heard(ONE, TWO)


@pytest.mark.parametrize("model", MODELS)
async def test_every_event_of_a_sentence_carries_the_id_of_its_item(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await listener.say(ONE, TWO)
        await listener.finish()
        items = [event["item_id"] for event in server.sent("input_audio_buffer.committed")]
        assert [event.request_id for event in listener.finals] == items[:2]
        for text, item in zip((ONE, TWO), items, strict=False):
            own = [event for event in listener.events if event.request_id == item and event.alternatives]
            assert all(text.startswith(event.alternatives[0].text) for event in own)


@pytest.mark.parametrize("model", MODELS)
async def test_interims_grow_by_whole_prefixes_and_never_mix_items(listen, model):
    texts = ("alpha bravo charlie delta echo", "one two three four five six")
    async with Emulator(script(*texts), knobs=Knobs(transcription_latency=0.3, seconds_per_word=0.1)) as server:
        listener = listen(server, model)
        await listener.say(*texts, pause=0.8)
        await listener.finish()
        own = dict(zip([event.request_id for event in listener.finals], texts, strict=True))
        told: dict[str, str] = {}
        for event in listener.events:
            if event.type in (Kind.INTERIM_TRANSCRIPT, Kind.PREFLIGHT_TRANSCRIPT):
                text = event.alternatives[0].text
                assert own[event.request_id].startswith(text)
                assert text.startswith(told.get(event.request_id, ""))
                told[event.request_id] = text
        if model == STREAMING:
            assert set(told) == set(own)


async def test_the_last_interim_of_a_pause_is_told_although_no_further_text_comes(listen):
    """Text may stop growing for long (gpt-live-transcribe is known to do so before a commit)."""
    text = "alpha bravo charlie delta echo foxtrot"
    async with Emulator(script(text), knobs=Knobs(seconds_per_word=0.1)) as server:
        listener = listen(server, STREAMING, vad=None)
        await listener.say(text, pause=0.1)
        await server.wait_sent("conversation.item.input_audio_transcription.delta", count=6)
        await listener.until(
            lambda: listener.events[-1].alternatives and listener.events[-1].alternatives[0].text == text
        )
        assert listener.finals == []


async def test_finals_keep_the_order_of_the_speech_although_the_server_answers_out_of_order(listen):
    faults = [DelayTranscription(0.4, nth=1)]
    async with Emulator(script(), knobs=QUICK_SERVER, faults=faults) as server:
        listener = listen(server)
        await listener.say(ONE, TWO, THREE)
        await listener.finish()
        done = [e["transcript"] for e in server.sent("conversation.item.input_audio_transcription.completed")]
        assert [text for text in done if text] == [TWO, THREE, ONE]
        assert listener.texts() == [ONE, TWO, THREE]


async def test_preflight_waits_for_the_finals_before_it(listen):
    """LiveKit puts a preflight text behind every final so far: one that is still missing would be a hole."""
    faults = [DelayTranscription(0.4, deltas_first=True, nth=1)]
    async with Emulator(script(), knobs=QUICK_SERVER, faults=faults) as server:
        listener = listen(server, STREAMING)
        await listener.say(ONE, TWO)
        await listener.finish()
        first, second = (event.request_id for event in listener.finals)
        before = listener.events[: listener.events.index(listener.finals[0])]
        assert second not in [event.request_id for event in before if event.type is Kind.PREFLIGHT_TRANSCRIPT]
        assert first in [event.request_id for event in before if event.type is Kind.PREFLIGHT_TRANSCRIPT]


@pytest.mark.parametrize("model", [SERVER, STREAMING])
async def test_a_leading_space_is_no_part_of_the_text(listen, model):
    async with Emulator(script(), knobs=Knobs(transcription_latency=0.02, leading_space=True)) as server:
        listener = listen(server, model)
        await listener.say(ONE)
        await listener.finish()
        texts = [event.alternatives[0].text for event in listener.events if event.alternatives]
        assert [text for text in texts if text != text.strip()] == []


async def test_text_that_stops_before_the_commit_is_complete_in_the_final(listen):
    knobs = Knobs(transcription_latency=0.02, deltas_stop_after=1)
    async with Emulator(script(), knobs=knobs) as server:
        listener = listen(server, STREAMING)
        await listener.say(ONE)
        await listener.finish()
        assert listener.texts() == [ONE]


# -- times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_times_are_seconds_of_the_stream_where_the_speech_was(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        spoken = (await listener.say(ONE, TWO, before=1.0, pause=0.9)).spoken
        await listener.finish()
        for final, (start, end) in zip(listener.finals, spoken, strict=True):
            assert end_of(final) == pytest.approx(end, abs=NEAR[model])
            early = 0.0 if model == STREAMING else PADDING
            assert start - early - NEAR[model] < start_of(final) < start + NEAR[model]


@pytest.mark.parametrize("model", MODELS)
async def test_segments_do_not_overlap(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await listener.say(ONE, TWO, THREE, after=1.2)
        await listener.finish()
        ends = [0.0]
        for final in listener.of(Kind.FINAL_TRANSCRIPT):
            assert start_of(final) >= ends[-1] - 0.001, (listener.texts(), start_of(final), ends)
            ends.append(end_of(final))


async def test_padding_that_is_configured_away_leaves_the_exact_start(listen):
    exact = {"type": "server_vad", "prefix_padding_ms": 0, "silence_duration_ms": 200}
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, turn_detection=exact)
        spoken = (await listener.say(ONE, TWO, before=0.5)).spoken
        await listener.finish()
        assert [start_of(final) for final in listener.finals] == pytest.approx([s for s, _ in spoken], abs=0.1)
        assert [end_of(final) for final in listener.finals] == pytest.approx([e for _, e in spoken], abs=0.1)


@pytest.mark.parametrize("model", MODELS)
async def test_the_offset_of_the_stream_is_added_to_all_times(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        listener.stream.start_time_offset = 100.0
        ((_, end),) = (await listener.say(ONE, before=0.7)).spoken
        await listener.finish()
        assert end_of(listener.finals[0]) == pytest.approx(100 + end, abs=NEAR[model])
        assert 100.0 <= start_of(listener.finals[0]) < 101.0
        assert listener.stream.start_time_offset == 100.0


async def test_an_offset_below_zero_is_refused_by_its_name(listen):
    async with Emulator() as server:
        listener = listen(server)
        with pytest.raises(ValueError, match="start_time_offset"):
            listener.stream.start_time_offset = -1.0


@pytest.mark.parametrize("model", [SERVER, STREAMING])
async def test_times_do_not_move_when_the_connection_changes(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        first = await listener.say(ONE, before=0.5)
        await listener.until(lambda: len(listener.finals) == 1)
        await server.drop()
        second = await listener.say(TWO, before=0.8)
        await listener.finish()
        assert len(server.sessions) == 2
        ends = [first.spoken[0][1], first.seconds + second.spoken[0][1]]
        assert [end_of(final) for final in listener.finals] == pytest.approx(ends, abs=NEAR[model])


@pytest.mark.parametrize("model", [SERVER, STREAMING])
async def test_speech_began_and_ended_at_times_of_the_wall_clock(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await server.wait_sent("session.updated")
        started = time.time()
        (spoken,) = (await listener.say(ONE, pace=1)).spoken
        await listener.until(lambda: listener.of(Kind.END_OF_SPEECH) != [])
        (start,), (end,) = listener.of(Kind.START_OF_SPEECH), listener.of(Kind.END_OF_SPEECH)
        early = 0.0 if model == STREAMING else PADDING
        assert spoken[0] - early - NEAR[model] < start.speech_start_time - started < spoken[0] + NEAR[model]
        assert end.speech_end_time - started == pytest.approx(spoken[1], abs=NEAR[model])


# -- languages, confidence, usage ----------------------------------------------------------------------------------


async def test_the_languages_that_the_model_heard_come_with_the_final_the_main_one_first(listen):
    turns = (Turn(heard=ONE, languages=("pt", "en")), Turn(heard=TWO, languages=()))
    async with Emulator(script(*turns), knobs=QUICK_SERVER) as server:
        listener = listen(server, language=["en", "pt"])
        await listener.say(ONE, TWO)
        await listener.finish()
        (mixed,), (unsure,) = (event.alternatives for event in listener.finals)
        assert (mixed.language, mixed.source_languages) == ("pt", ["pt", "en"])
        assert (unsure.language, unsure.source_languages) == ("", None)


@pytest.mark.parametrize("model", [STREAMING, OLD])
async def test_a_model_that_tells_no_language_gets_the_one_that_was_named(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        named, detecting = listen(server, model, language="de"), listen(server, model, detect_language=True)
        for listener, language in ((named, "de"), (detecting, "")):
            await listener.say(ONE)
            await listener.finish()
            assert {event.alternatives[0].language for event in listener.events if event.alternatives} == {language}
        told = [event["session"]["audio"]["input"]["transcription"] for event in server.received("session.update")]
        assert [bool(settings.keys() & {"language", "languages"}) for settings in told] == [True, False]


async def test_confidence_is_the_mean_log_probability_when_it_was_asked_for(listen):
    turns = (Turn(heard="well said", logprobs=(-0.1, -0.5)), Turn(heard=TWO))
    async with Emulator(script(*turns), knobs=QUICK_SERVER) as server:
        listener = listen(server, OLD, include_logprobs=True)
        await listener.say("well said")
        await listener.finish()
        assert listener.finals[0].alternatives[0].confidence == pytest.approx(math.exp(-0.3))
        (update,) = server.received("session.update")
        assert update["session"]["include"] == ["item.input_audio_transcription.logprobs"]


@pytest.mark.parametrize("model", MODELS)
async def test_no_confidence_is_made_up(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await listener.say(ONE)
        await listener.finish()
        assert {event.alternatives[0].confidence for event in listener.events if event.alternatives} == {0.0}
        (update,) = server.received("session.update")
        assert not update["session"].get("include")


@pytest.mark.parametrize("model", MODELS)
async def test_every_item_is_billed_once_as_the_server_says(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        recording = await listener.say(ONE, TWO, after=1.2)
        await listener.finish()
        bills = listener.of(Kind.RECOGNITION_USAGE)
        done = server.sent("conversation.item.input_audio_transcription.completed")
        assert [bill.request_id for bill in bills] == [event["item_id"] for event in done]
        for bill, event in zip(bills, done, strict=True):
            told, usage = event["usage"], bill.recognition_usage
            if told["type"] == "duration":
                assert (usage.audio_duration, usage.input_tokens, usage.output_tokens) == (told["seconds"], 0, 0)
            else:
                assert (usage.input_tokens, usage.output_tokens) == (told["input_tokens"], told["output_tokens"])
        if model == OLD:  # tokens: how long the audio was is known here
            assert sum(bill.recognition_usage.audio_duration for bill in bills) <= recording.seconds + 0.01
        billed = [m for m in listener.metrics if m.audio_duration or m.input_tokens]
        assert [m.request_id for m in billed] == [bill.request_id for bill in bills]


async def test_a_final_that_is_sent_twice_is_told_and_billed_once(listen):
    from livekit_plugins_openai_ga.emulator.faults import RepeatOn

    fault = RepeatOn("conversation.item.input_audio_transcription.completed", times=2)
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[fault]) as server:
        listener = listen(server)
        await listener.say(ONE, TWO, after=0.4)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        ids = [bill.request_id for bill in listener.of(Kind.RECOGNITION_USAGE)]
        assert len(ids) == len(set(ids))


async def test_usage_of_an_unknown_kind_is_not_guessed(listen):
    odd = AlterOn("conversation.item.input_audio_transcription.completed", {"usage": {"type": "bananas", "count": 3}})
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[odd]) as server:
        listener = listen(server)
        await listener.say(ONE, after=0.4)
        await listener.until(lambda: listener.finals != [])
        assert listener.of(Kind.RECOGNITION_USAGE) == []


# -- the end, and flush ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_the_end_of_input_commits_what_is_left_and_waits_for_its_text(listen, model):
    async with Emulator(script(), knobs=Knobs(transcription_latency=0.2)) as server:
        listener = listen(server, model)
        await listener.say(ONE, after=0.0)  # no pause that would end the segment
        await listener.finish()
        assert listener.texts() == [ONE]
        kinds = listener.kinds()
        assert kinds.count("end_of_speech") == 1
        kinds.remove("end_of_speech")  # a detector on a busy machine tells of it late
        assert kinds[-2:] == ["final_transcript", "recognition_usage"]
        assert len(server.received("input_audio_buffer.commit")) == 1
        assert server.sent("error") == []


@pytest.mark.parametrize("model", MODELS)
async def test_the_last_word_may_be_shorter_than_a_frame(listen, model):
    """20 ms frames of 44.1 kHz leave a rest in the resampler; it belongs to the sentence."""
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        recording = type(await listener.say())(ONE, after=0.0)
        await listener.push(recording, rate=44100, ms=30)
        await listener.finish()
        assert listener.texts() == [ONE]
        received = sum(len(event["audio"]) for event in server.received("input_audio_buffer.append")) * 3 / 4 / 48000
        assert received == pytest.approx(recording.seconds, abs=0.01)


@pytest.mark.parametrize("model", MODELS)
async def test_a_tail_too_short_for_the_server_is_not_committed(listen, model):
    async with Emulator(knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await listener.say(before=0.09)
        await listener.finish(1.0)
        assert listener.events == []
        assert server.received("input_audio_buffer.commit") == []
        assert listener.errors == []


@pytest.mark.parametrize("model", MODELS)
async def test_a_stream_without_any_audio_ends_at_once(listen, model):
    async with Emulator() as server:
        listener = listen(server, model)
        await listener.finish(1.0)
        assert (listener.events, listener.errors) == ([], [])
        assert server.received("input_audio_buffer.commit") == []


async def test_nothing_can_be_pushed_after_the_end(listen, recording):
    async with Emulator() as server:
        listener = listen(server)
        listener.stream.end_input()
        with pytest.raises(RuntimeError):
            listener.stream.push_frame(next(recording(before=0.02).frames()))
        await listener.ended()


@pytest.mark.parametrize("end", ["end_input", "aclose"])
async def test_nothing_can_be_pushed_after_the_end_of_a_stream_that_was_listened_to(listen, recording, end):
    """A microphone's frames go past LiveKit's channel, which would refuse them."""
    async with Emulator() as server:
        listener = listen(server)
        frames = recording(before=1.0).frames()
        for _ in range(3):
            listener.stream.push_frame(next(frames))
            await asyncio.sleep(0.01)
        over = asyncio.ensure_future(_ended(listener.stream, end))
        while not over.done():
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError):
                listener.stream.push_frame(next(frames))
        await over
        with pytest.raises(RuntimeError):
            listener.stream.push_frame(next(frames))
        await listener.ended()


async def _ended(stream, how):
    if how == "aclose":
        await stream.aclose()
    else:
        stream.end_input()
        for _ in range(5):  # the listener takes the end out of its channel meanwhile
            await asyncio.sleep(0)


async def test_the_end_does_not_wait_for_ever_for_a_text_that_never_comes(listen, monkeypatch):
    monkeypatch.setattr(segments, "FINAL_TIMEOUT_S", 0.3)
    async with Emulator(script(), faults=[DelayTranscription(math.inf)]) as server:
        listener = listen(server)
        await listener.say(ONE, after=0.0)
        await listener.finish(2.0)
        assert listener.texts() == []
        (error,) = listener.errors
        assert "transcription_overdue" in str(error.error)
        assert error.recoverable


async def test_one_text_that_never_comes_does_not_hold_up_the_next_for_long(listen, monkeypatch):
    monkeypatch.setattr(segments, "OVERTAKEN_TIMEOUT_S", 0.2)
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[DelayTranscription(math.inf, nth=1)]) as server:
        listener = listen(server)
        await listener.say(ONE, TWO)
        await listener.finish(2.0)
        assert listener.texts() == [TWO]
        assert ["transcription_overdue" in str(error.error) for error in listener.errors] == [True]


@pytest.mark.parametrize("model", MODELS)
async def test_a_partial_text_whose_end_never_comes_is_still_a_final(listen, monkeypatch, model):
    monkeypatch.setattr(segments, "FINAL_TIMEOUT_S", 0.3)
    fault = SwallowOn("conversation.item.input_audio_transcription.completed", times=2)
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[fault]) as server:
        listener = listen(server, model)
        await listener.say(ONE, after=0.0)
        await listener.finish(3.0)
        assert listener.texts() == [ONE]
        assert listener.finals[0].alternatives[0].metadata == {"incomplete": True, "code": "transcription_overdue"}


@pytest.mark.parametrize("model", MODELS)
async def test_flush_ends_a_segment_in_the_middle_of_the_stream(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        await listener.say(ONE, after=0.05)
        listener.stream.flush()
        await listener.heard(ONE)
        # A detector here goes by the sound alone, and that has no pause.
        assert listener.kinds().count("end_of_speech") == (0 if model == STREAMING else 1)
        await listener.say(TWO, after=0.05)
        listener.stream.flush()
        await listener.heard(ONE, TWO)
        listener.stream.flush()  # nothing new: nothing happens
        await listener.finish()
        assert len(server.received("input_audio_buffer.commit")) == 2
        assert listener.errors == []


@pytest.mark.parametrize("model", [SERVER, STREAMING, OLD])
async def test_without_a_detector_the_caller_ends_segments(listen, model):
    options = {"vad": None} if model == STREAMING else {"vad": None, "turn_detection": None}
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model, **options)
        await listener.say(ONE, TWO)  # pauses end nothing
        listener.stream.flush()
        await listener.heard(ONE)
        assert listener.kinds()[0] == "start_of_speech" or model != STREAMING
        assert len(server.received("input_audio_buffer.commit")) == 1
        assert listener.stt.capabilities.manual_flush
        assert server.received("session.update")[0]["session"]["audio"]["input"]["turn_detection"] is None


@pytest.mark.parametrize("model", MODELS)
async def test_long_speech_is_cut_into_segments_and_loses_nothing(listen, model):
    """Two seconds is the shortest limit; the speech goes on without a pause that would end a segment."""
    words = " ".join(["alpha bravo charlie delta"] * 4)
    async with Emulator(script(*["part"] * 9), knobs=QUICK_SERVER) as server:
        listener = listen(server, model, max_segment_length=2.0)
        recording = await listener.say(words, after=0.0, pace=20)
        await listener.finish()
        assert recording.seconds > 4.2
        assert len(listener.finals) >= 3
        assert listener.kinds().count("start_of_speech") == 1
        assert listener.kinds().count("end_of_speech") == 1
        ends = [0.0]
        for final in listener.finals:
            assert end_of(final) - start_of(final) < 2.3
            assert start_of(final) == pytest.approx(ends[-1], abs=0.15)
            ends.append(end_of(final))


# -- formats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (8000, 1), (44100, 1), (16000, 2)])
@pytest.mark.parametrize("model", [SERVER, STREAMING])
async def test_audio_of_any_rate_and_channels_is_heard_at_its_true_length(
    listen, recording, sent_audio, model, rate, channels
):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, model)
        spoken = recording(ONE)
        await listener.push(spoken, rate=rate, channels=channels)
        await listener.finish()
        assert listener.texts() == [ONE]
        assert len(sent_audio(server.sessions[0])) / 48000 == pytest.approx(spoken.seconds, abs=0.01)


async def test_the_rate_may_not_change_within_a_stream(listen, recording):
    async with Emulator() as server:
        listener = listen(server)
        await listener.push(recording(before=0.1))
        with pytest.raises(ValueError, match="sample rate"):
            await listener.push(recording(before=0.1), rate=48000)


async def test_audio_of_24_khz_reaches_the_server_byte_for_byte(listen, sent_audio):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server)
        spoken = await listener.say(ONE, TWO)
        await listener.finish()
        assert sent_audio(server.sessions[0]) == spoken.pcm


async def test_a_message_carries_as_much_audio_as_was_asked_for(listen, recording):
    async with Emulator() as server:
        listener = listen(server, input_chunk_ms=40)
        await listener.push(recording(before=0.2))  # frames of 20 ms
        await server.wait_received("input_audio_buffer.append", count=5)
        sent = server.received("input_audio_buffer.append")
        assert [len(base64.b64decode(event["audio"])) for event in sent] == [1920] * 5


async def test_a_microphone_is_heard_in_the_step_in_which_it_pushes(listen, recording):
    async with Emulator() as server:
        listener = listen(server)
        await server.wait_sent("session.updated")
        first, *others = recording(before=0.2).frames(ms=20)
        listener.stream.push_frame(first)  # LiveKit's own way: the rate of the stream is not known yet
        await server.wait_received("input_audio_buffer.append")
        for number, frame in enumerate(others, 2):
            listener.stream.push_frame(frame)
            assert listener.stream.info.audio_sent == pytest.approx(0.02 * number)


async def test_what_is_pushed_behind_a_flush_stays_behind_it(listen, recording):
    async with Emulator(script(ONE), knobs=QUICK_SERVER) as server:
        listener = listen(server, vad=None, turn_detection=None)
        await server.wait_sent("session.updated")
        frames = list(recording(before=0.6).frames(ms=200))
        listener.stream.push_frame(frames[0])
        await server.wait_received("input_audio_buffer.append", count=2)
        listener.stream.push_frame(frames[1])
        listener.stream.flush()
        listener.stream.push_frame(frames[2])
        await server.wait_received("input_audio_buffer.append", count=6)
        received = [event["type"] for event in server.sessions[0].received]
        kinds = [kind.split(".")[1] for kind in received if kind.startswith("input_audio_buffer")]
        assert kinds == ["append"] * 4 + ["commit"] + ["append"] * 2


# -- failures of single items --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [SERVER, OLD])
async def test_a_sentence_that_fails_is_reported_once_and_the_stream_goes_on(listen, model):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[FailTranscription(nth=2)]) as server:
        listener = listen(server, model)
        await listener.say(ONE, TWO, THREE, after=0.4)
        await listener.finish()
        assert listener.texts() == [ONE, THREE]
        (problem,) = listener.errors
        assert problem.recoverable
        assert "audio_unintelligible" in str(problem.error)
        assert len(server.sessions) == 1
        failed = server.sent("conversation.item.input_audio_transcription.failed")[0]["item_id"]
        assert failed not in [event.request_id for event in listener.events if event.alternatives]


async def test_what_came_of_a_sentence_before_it_failed_is_told_as_incomplete(listen):
    faults = [FailTranscription(nth=1)]
    async with Emulator(
        script(), knobs=Knobs(transcription_latency=0.02, seconds_per_word=0.2), faults=faults
    ) as server:
        listener = listen(server, STREAMING)
        await listener.say(ONE, TWO)
        await listener.finish()
        first, second = listener.finals
        assert ONE.startswith(first.alternatives[0].text)
        assert first.alternatives[0].metadata == {"incomplete": True, "code": "audio_unintelligible"}
        assert (second.alternatives[0].text, second.alternatives[0].metadata) == (TWO, None)
        assert listener.errors == []  # a final or a failure, never both
