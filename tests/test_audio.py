"""What a listener would notice: pitch, loudness, aliases, clicks, lost samples, late samples."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from livekit import rtc
from numpy.typing import NDArray

from livekit_plugins_openai_ga.audio import SAMPLE_RATE, InputAudio, to_frame
from livekit_plugins_openai_ga.formats import PCMA, PCMU, AudioFormat
from livekit_plugins_openai_ga.wire.session import BYTES_PER_MS

RATES = [8000, 11025, 12000, 16000, 22050, 32000, 44100, 48000, 96000]
ODD_RATES = [44099, 37800, 6000, 192000]


def frame(samples: NDArray[np.int16], rate: int, channels: int = 1) -> rtc.AudioFrame:
    return rtc.AudioFrame(samples.tobytes(), rate, channels, len(samples) // channels)


def tone(hz: float, rate: int, seconds: float = 1.0, amplitude: float = 10000) -> NDArray[np.int16]:
    t = np.arange(round(rate * seconds)) / rate
    return np.rint(amplitude * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def through(audio: InputAudio, frames: list[rtc.AudioFrame]) -> NDArray[np.int16]:
    chunks = [chunk for each in frames for chunk in audio.push(each)] + audio.flush()
    return np.frombuffer(b"".join(chunks), dtype="<i2")


def cut(samples: NDArray[np.int16], rate: int, sizes: list[int]) -> list[rtc.AudioFrame]:
    """`samples` in frames of `sizes`, over and over."""
    frames, at, turn = [], 0, 0
    while at < len(samples):
        size = sizes[turn % len(sizes)]
        frames.append(frame(samples[at : at + size], rate))
        at, turn = at + size, turn + 1
    return frames


def spectrum(samples: NDArray[np.int16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies in Hz and amplitudes of the middle of a signal, without its edges."""
    middle = samples[len(samples) // 10 : -len(samples) // 10].astype(np.float64)
    taper = np.blackman(len(middle))
    padded = len(middle) * 8
    amplitudes = np.abs(np.fft.rfft(middle * taper, padded)) * 2 / taper.sum()
    return np.fft.rfftfreq(padded, 1 / SAMPLE_RATE), amplitudes


class TestSound:
    @pytest.mark.parametrize(
        ("rate", "hz"),
        [(rate, hz) for rate in RATES + ODD_RATES for hz in (440.0, 1000.0, 8000.0) if hz < 0.41 * rate],
    )
    def test_a_tone_keeps_pitch_loudness_and_length(self, rate: int, hz: float) -> None:
        out = through(InputAudio(), cut(tone(hz, rate), rate, [rate // 100]))
        frequencies, amplitudes = spectrum(out)
        peak = int(np.argmax(amplitudes))
        assert frequencies[peak] == pytest.approx(hz, abs=2)
        assert abs(20 * math.log10(amplitudes[peak] / 10000)) < 0.5
        assert abs(len(out) - SAMPLE_RATE) <= SAMPLE_RATE // 1000

    @pytest.mark.parametrize("rate", RATES)
    def test_nothing_but_the_tone_comes_out(self, rate: int) -> None:
        hz = min(rate, SAMPLE_RATE) / 7
        frequencies, amplitudes = spectrum(through(InputAudio(), [frame(tone(hz, rate, 2.0), rate)]))
        elsewhere = amplitudes[np.abs(frequencies - hz) > 20]
        assert 20 * math.log10(elsewhere.max() / 10000) < -70

    @pytest.mark.parametrize("rate", [32000, 44100, 48000, 96000])
    @pytest.mark.parametrize("hz", [12100.0, 13000.0, 15000.0])
    def test_what_24_khz_cannot_carry_does_not_fold_back(self, rate: int, hz: float) -> None:
        out = through(InputAudio(), [frame(tone(hz, rate, amplitude=30000), rate)])
        _, amplitudes = spectrum(out)
        assert 20 * math.log10(amplitudes.max() / 30000) < -60

    @pytest.mark.parametrize("rate", RATES)
    def test_frames_of_changing_size_sound_like_one_frame(self, rate: int) -> None:
        # Frames of one size behind each other, wherever the odd one before them left the filter.
        odd = [random.Random(rate).randint(1, rate // 10) for _ in range(20)]
        sizes = [size for each in odd for size in (each, *[rate // 50] * 3, *[rate // 25] * 2)]
        samples = tone(1000, rate, 3.0)
        whole = through(InputAudio(), [frame(samples, rate)])
        pieces = through(InputAudio(), cut(samples, rate, sizes))
        assert len(pieces) == len(whole)
        # Sums of float32 in another order may round the other way.
        assert int(np.abs(pieces.astype(int) - whole).max()) <= 1

    @pytest.mark.parametrize("rate", RATES)
    def test_a_sound_comes_at_its_time_or_a_little_later_and_never_before(self, rate: int) -> None:
        click = np.zeros(rate, dtype=np.int16)
        click[rate // 2] = 30000
        out = through(InputAudio(), cut(click, rate, [rate // 50]))
        assert not out[: SAMPLE_RATE * (rate // 2) // rate].any()
        narrow = SAMPLE_RATE / min(rate, SAMPLE_RATE)
        assert int(np.argmax(np.abs(out))) / 24 - 500 <= 0.13 * narrow  # ms

    @pytest.mark.parametrize("rate", RATES)
    def test_full_scale_saturates_instead_of_wrapping(self, rate: int) -> None:
        square = np.where(np.sin(2 * np.pi * 100 * np.arange(rate) / rate) >= 0, 32767, -32768).astype(np.int16)
        out = through(InputAudio(), [frame(square, rate)]).astype(int)
        assert out.max() == 32767
        assert out.min() == -32768
        # A wrapped overshoot would be a jump of the whole range between neighbours.
        assert int(np.abs(np.diff(out)).max()) < 60000

    def test_silence_stays_silent(self) -> None:
        assert not through(InputAudio(), [frame(np.zeros(48000, np.int16), 48000)]).any()


class TestMono:
    def test_stereo_becomes_its_mean(self) -> None:
        stereo = np.array([100, 300, -50, 50, 7, 9], dtype=np.int16)
        assert through(InputAudio(), [frame(stereo, SAMPLE_RATE, 2)]).tolist() == [200, 0, 8]

    @pytest.mark.parametrize("channels", [2, 3, 6])
    @pytest.mark.parametrize("value", [32767, -32768])
    def test_loud_channels_do_not_overflow(self, channels: int, value: int) -> None:
        loud = np.full(480 * channels, value, dtype=np.int16)
        assert set(through(InputAudio(), [frame(loud, SAMPLE_RATE, channels)]).tolist()) == {value}

    def test_stereo_at_48_khz_sounds_like_mono_at_48_khz(self) -> None:
        mono = tone(440, 48000, 0.5)
        stereo = np.repeat(mono, 2)
        expected = through(InputAudio(), [frame(mono, 48000)])
        assert np.array_equal(through(InputAudio(), [frame(stereo, 48000, 2)]), expected)


class TestChunks:
    @given(st.lists(st.integers(0, 5000), max_size=30), st.integers(1, 100))
    @settings(deadline=None)
    def test_24_khz_mono_comes_out_byte_for_byte(self, sizes: list[int], chunk_ms: int) -> None:
        samples = np.random.default_rng(1).integers(-32768, 32768, sum(sizes)).astype(np.int16)
        audio, out, at = InputAudio(chunk_ms=chunk_ms), b"", 0
        for size in sizes:
            chunks = audio.push(frame(samples[at : at + size], SAMPLE_RATE))
            at += size
            assert all(min(chunk_ms, 50) <= len(chunk) / BYTES_PER_MS <= 100 for chunk in chunks)
            assert audio.pending_ms < chunk_ms
            out += b"".join(chunks)
        assert out + b"".join(audio.flush()) == samples.tobytes()
        assert audio.pending_ms == 0

    @given(st.sampled_from(RATES), st.integers(1, 3), st.lists(st.integers(0, 3000), max_size=15))
    @settings(deadline=None, max_examples=60)
    def test_no_sample_is_lost_at_any_rate(self, rate: int, channels: int, sizes: list[int]) -> None:
        audio = InputAudio()
        frames = [frame(np.zeros(size * channels, np.int16), rate, channels) for size in sizes]
        assert len(through(audio, frames)) == math.ceil(sum(sizes) * SAMPLE_RATE / rate)

    def test_a_50_ms_frame_goes_out_as_it_came(self) -> None:
        samples = tone(440, SAMPLE_RATE, 0.05)
        assert InputAudio().push(frame(samples, SAMPLE_RATE)) == [samples.tobytes()]

    def test_a_long_frame_goes_out_at_once_in_chunks_of_at_most_100_ms(self) -> None:
        audio = InputAudio()
        chunks = audio.push(frame(tone(440, SAMPLE_RATE, 1.01), SAMPLE_RATE))
        assert sum(map(len, chunks)) == 1010 * BYTES_PER_MS
        assert all(20 <= len(chunk) / BYTES_PER_MS <= 100 and len(chunk) % 2 == 0 for chunk in chunks)
        assert audio.pending_ms == 0

    def test_short_frames_are_gathered(self) -> None:
        audio, ten_ms = InputAudio(chunk_ms=20), frame(tone(440, SAMPLE_RATE, 0.01), SAMPLE_RATE)
        assert audio.push(ten_ms) == []
        assert audio.pending_ms == 10
        assert [len(chunk) for chunk in audio.push(ten_ms)] == [20 * BYTES_PER_MS]

    @pytest.mark.parametrize("rate", [24000, 44100, 48000])
    @pytest.mark.parametrize("frame_ms", [10, 20, 50])
    def test_no_sample_waits_longer_than_50_ms(self, rate: int, frame_ms: int) -> None:
        audio, handed_out, waits = InputAudio(), 0, []
        for i in range(100):
            arrival = i * frame_ms
            chunks = audio.push(frame(np.zeros(rate * frame_ms // 1000, np.int16), rate))
            if chunks:
                arrival_of_oldest = int(handed_out / BYTES_PER_MS) // frame_ms * frame_ms
                waits.append(arrival - arrival_of_oldest)
                handed_out += sum(map(len, chunks))
        assert max(waits) <= 50
        assert audio.pending_ms < 20

    @pytest.mark.parametrize("rate", RATES)
    @pytest.mark.parametrize(("chunk_ms", "wait"), [(1, 0), (10, 0), (20, 10), (35, 30), (100, 90)])
    def test_a_10_ms_frame_waits_for_the_frame_that_completes_the_chunk(
        self, rate: int, chunk_ms: int, wait: int
    ) -> None:
        audio, waits, handed_out = InputAudio(chunk_ms=chunk_ms), [], 0
        ten_ms = frame(np.zeros(rate // 100, np.int16), rate)
        for number in range(200):
            if chunks := audio.push(ten_ms):
                oldest = handed_out * rate // SAMPLE_RATE // ten_ms.samples_per_channel
                waits.append((number - oldest) * 10)
                handed_out += sum(map(len, chunks)) // 2
        assert max(waits) <= (wait if rate % 100 == 0 else wait + 10)

    @given(st.sampled_from(RATES + ODD_RATES), st.lists(st.integers(1, 3000), min_size=1, max_size=15))
    @settings(deadline=None, max_examples=60)
    def test_no_sample_is_withheld_at_any_rate(self, rate: int, sizes: list[int]) -> None:
        audio, pushed, came = InputAudio(chunk_ms=1), 0, 0
        for size in sizes:
            pushed += size
            chunks = [*audio.push(frame(np.zeros(size, np.int16), rate)), *audio.flush()]
            came += sum(map(len, chunks)) // 2
            assert abs(came - pushed * SAMPLE_RATE / rate) <= 1 + pushed / 100_000  # an odd rate has the nearest ratio

    def test_an_empty_frame_is_no_audio(self) -> None:
        audio = InputAudio()
        assert audio.push(frame(np.zeros(0, np.int16), 48000, 2)) == []
        assert audio.flush() == []

    def test_bytes_beyond_a_frames_samples_are_not_audio(self) -> None:
        longer = rtc.AudioFrame(b"\x01\x00" * 2000, SAMPLE_RATE, 1, 1000)
        assert len(through(InputAudio(), [longer])) == 1000

    @pytest.mark.parametrize("chunk_ms", [0, -20, 101])
    def test_a_chunk_length_out_of_range_is_refused(self, chunk_ms: int) -> None:
        with pytest.raises(ValueError, match=f"chunk_ms={chunk_ms} is out of range. Use 1 to 100 milliseconds."):
            InputAudio(chunk_ms=chunk_ms)


class TestChangesMidStream:
    def test_a_new_rate_loses_nothing(self) -> None:
        parts = [(48000, 1), (44100, 1), (24000, 2), (24000, 1), (16000, 2), (48000, 1)]
        audio = InputAudio()
        out = through(audio, [frame(tone(440, rate, 0.25 * channels), rate, channels) for rate, channels in parts])
        assert len(out) == pytest.approx(0.25 * len(parts) * SAMPLE_RATE, abs=len(parts))

    def test_the_old_stream_comes_before_the_new(self) -> None:
        audio = InputAudio()
        first = audio.push(frame(np.full(480, 1000, np.int16), 48000))
        second = audio.push(frame(np.full(2400, -1000, np.int16), SAMPLE_RATE))
        out = np.frombuffer(b"".join(first + second), dtype="<i2")
        assert len(out) == 240 + 2400
        assert int(out[:200].min()) > 0
        assert set(out[240:].tolist()) == {-1000}

    def test_what_waited_comes_also_when_the_new_frame_has_to_wait(self) -> None:
        audio = InputAudio()
        assert audio.push(frame(np.full(240, 1000, np.int16), SAMPLE_RATE)) == []
        assert audio.push(frame(np.full(480, -1000, np.int16), 48000)) == [np.full(240, 1000, "<i2").tobytes()]
        assert audio.pending_ms == 10

    def test_less_than_one_sample_is_no_chunk(self) -> None:
        audio = InputAudio()
        audio.push(frame(np.full(481, 1000, np.int16), 48000))
        assert len(b"".join(audio.flush())) == 2 * 241
        audio.push(frame(np.full(1, 1000, np.int16), 48000))
        assert audio.flush() == []

    @pytest.mark.parametrize("rate", RATES)
    def test_a_flush_in_the_middle_of_a_sound_is_not_heard(self, rate: int) -> None:
        """A commit does not mean silence: the next turn may go on with the same vowel."""
        frames, audio = cut(tone(1000, rate, 0.3), rate, [rate // 100]), InputAudio()
        whole = through(InputAudio(), frames)
        assert audio.push(frames[0]) == []
        first = b"".join(audio.flush())
        assert len(first) == pytest.approx(10 * BYTES_PER_MS, abs=2)
        pieces = np.concatenate([np.frombuffer(first, "<i2"), through(audio, frames[1:])])
        assert len(pieces) == len(whole)
        assert int(np.abs(pieces.astype(int) - whole).max()) <= 1

    @pytest.mark.parametrize("rate", [24000, 48000])
    def test_clear_forgets(self, rate: int) -> None:
        audio = InputAudio()
        for ms in (20, 10):  # what the filter has heard, and what has not come to it yet
            audio.push(frame(np.full(rate * ms // 1000, 20000, np.int16), rate))
        assert audio.pending_ms == pytest.approx(10)
        audio.clear()
        assert audio.pending_ms == 0
        assert audio.flush() == []
        assert not through(audio, [frame(np.zeros(rate, np.int16), rate)]).any()


G711 = pytest.mark.parametrize("form", [PCMU, PCMA], ids=lambda form: form.name)


class TestTelephone:
    @G711
    def test_a_telephones_frame_is_encoded_sample_by_sample(self, form: AudioFormat) -> None:
        sound = tone(440, 8000, 0.02)
        assert InputAudio(form).push(frame(sound, 8000)) == [form.encode(sound)]

    @G711
    @pytest.mark.parametrize("rate", [16000, 24000, 48000])
    def test_any_other_rate_keeps_pitch_loudness_and_length(self, form: AudioFormat, rate: int) -> None:
        chunks = InputAudio(form).push(frame(tone(1000, rate), rate))
        heard = to_frame(b"".join(chunks), form)
        assert (heard.sample_rate, heard.samples_per_channel) == (8000, 8000)
        frequencies, amplitudes = spectrum(np.frombuffer(heard.data, np.int16))
        assert frequencies[amplitudes.argmax()] * 8000 / SAMPLE_RATE == pytest.approx(1000, abs=1)
        assert amplitudes.max() == pytest.approx(10000, rel=0.02)

    @pytest.mark.parametrize("hz", [4500.0, 6000.0, 7000.0])
    def test_what_a_telephone_cannot_carry_does_not_come_back_as_another_pitch(self, hz: float) -> None:
        chunks = InputAudio(PCMU).push(frame(tone(hz, 48000), 48000))
        _, amplitudes = spectrum(np.frombuffer(to_frame(b"".join(chunks), PCMU).data, np.int16))
        assert amplitudes.max() < 10

    @G711
    @pytest.mark.parametrize("chunk_ms", [10, 20, 100])
    def test_messages_are_as_long_as_they_are_of_pcm(self, form: AudioFormat, chunk_ms: int) -> None:
        frames = cut(tone(440, 8000, 0.5), 8000, [80])
        audio = InputAudio(form, chunk_ms=chunk_ms)
        assert {len(chunk) for each in frames for chunk in audio.push(each)} == {8 * chunk_ms}
        assert [len(chunk) for chunk in InputAudio(form).push(frame(tone(440, 8000, 0.25), 8000))] == [666, 667, 667]

    def test_frames_of_a_room_between_those_of_a_telephone_are_encoded_like_them(self) -> None:
        audio = InputAudio(PCMU)
        pushed = [audio.push(frame(tone(440, rate, 0.02), rate)) for rate in (8000, 24000, 8000)]
        assert [[len(chunk) for chunk in chunks] for chunks in pushed] == [[160], [160], [160]]

    def test_two_channels_become_one(self) -> None:
        stereo = np.array([100, 300, 0, 0, -50, 66], np.int16)
        audio = InputAudio(PCMU)
        assert [*audio.push(frame(stereo, 8000, 2)), *audio.flush()] == [PCMU.encode(np.array([200, 0, 8], np.int16))]

    @G711
    def test_silence_is_the_codes_for_nothing(self, form: AudioFormat) -> None:
        (chunk,) = InputAudio(form).push(frame(np.zeros(4800, np.int16), 48000))
        assert to_frame(chunk, form).data.tolist() == to_frame(form.encode(np.zeros(800, np.int16)), form).data.tolist()
        assert abs(to_frame(chunk, form).data[0]) <= 8

    @G711
    def test_what_the_server_says_is_a_frame_of_8_khz(self, form: AudioFormat) -> None:
        made = to_frame(form.encode(tone(440, 8000, 0.02)), form)
        assert (made.sample_rate, made.num_channels, made.samples_per_channel) == (8000, 1, 160)


class TestFrameOfPcm:
    def test_pcm_becomes_a_24_khz_mono_frame(self) -> None:
        made = to_frame(b"\x01\x00\xff\xff")
        assert (made.sample_rate, made.num_channels, made.samples_per_channel) == (24000, 1, 2)
        assert made.data.tolist() == [1, -1]

    def test_half_a_sample_is_left_out(self) -> None:
        made = to_frame(b"\x01\x00\xff")
        assert made.samples_per_channel == 1
        assert made.data.tobytes() == b"\x01\x00"

    def test_no_audio_is_an_empty_frame(self) -> None:
        assert to_frame(b"").samples_per_channel == 0
