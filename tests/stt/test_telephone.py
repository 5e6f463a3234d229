"""Speech to text of telephone audio: sent as G.711, placed, detected and sent again as 24 kHz PCM is."""

from __future__ import annotations

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import inference

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import DropOn
from livekit_plugins_openai_ga.formats import PCMA, PCMU

ONE, TWO = "Good morning.", "What is the weather like today?"
QUICK_SERVER = Knobs(transcription_latency=0.02)
G711 = pytest.mark.parametrize("form", [PCMU, PCMA], ids=lambda form: form.name)


def script() -> Script:
    return Script([Turn(heard=ONE, say=""), Turn(heard=TWO, say="")])


@G711
async def test_sentences_are_heard_in_their_places(listen, recording, sent_audio, form):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, input_audio_format=form.name)
        said = recording(ONE, TWO, before=1.0, pause=1.5, after=1.0)
        await listener.push(said, rate=8000)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        for final, (start, end) in zip(listener.finals, said.spoken, strict=True):
            assert final.alternatives[0].start_time == pytest.approx(start, abs=0.1)
            assert final.alternatives[0].end_time == pytest.approx(end, abs=0.1)
        every = b"".join(bytes(frame.data) for frame in said.frames(rate=8000))
        assert sent_audio(server.sessions[0]) == form.encode(np.frombuffer(every, np.int16))


async def test_audio_without_a_text_is_sent_again(listen, recording, sent_audio):
    fault = DropOn("input_audio_buffer.append", nth=70)
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[fault]) as server:
        listener = listen(server, input_audio_format="pcmu")
        said = recording(ONE, TWO, before=1.0, pause=1.5, after=1.0)
        await listener.push(said, rate=8000)
        await listener.finish()
        assert listener.texts() == [ONE, TWO]
        for final, (start, _) in zip(listener.finals, said.spoken, strict=True):
            assert final.alternatives[0].start_time == pytest.approx(start, abs=0.1)
        every = b"".join(bytes(frame.data) for frame in said.frames(rate=8000))
        assert PCMU.encode(np.frombuffer(every, np.int16)).endswith(sent_audio(server.sessions[1]))


async def test_a_detector_here_hears_frames_of_8_khz(listen, recording):
    heard: list[rtc.AudioFrame] = []

    class Curious(inference.VAD):
        def stream(self, **how):
            stream = super().stream(**how)
            push = stream.push_frame
            stream.push_frame = lambda frame: (heard.append(frame), push(frame))[1]
            return stream

    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        listener = listen(server, "gpt-live-transcribe", input_audio_format="pcmu", vad=Curious(model="silero"))
        await listener.push(recording(ONE, after=1.5), rate=8000)
        await listener.finish()
        assert {(frame.sample_rate, frame.num_channels) for frame in heard} == {(8000, 1)}
        assert listener.texts() == [ONE]


async def test_a_whole_utterance_goes_over_the_socket_in_the_format(make_stt, recording, sent_audio):
    async with Emulator(Script([Turn(heard=ONE, say="")]), knobs=QUICK_SERVER) as server:
        stt = make_stt(server, input_audio_format="pcma")
        frames = list(recording(ONE).frames(rate=8000))
        event = await stt.recognize(frames)
        assert event.alternatives[0].text == ONE
        every = b"".join(bytes(frame.data) for frame in frames)
        assert sent_audio(server.sessions[0]) == PCMA.encode(np.frombuffer(every, np.int16))
