"""Translation sessions: a stream without turns."""

from __future__ import annotations

import base64
import json

import pytest
from openai import AsyncOpenAI
from openai.types.realtime.realtime_translation_server_event import RealtimeTranslationServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import connect

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.interpreter import Memory
from livekit_plugins_openai_ga.emulator.translating import TranslationSession
from livekit_plugins_openai_ga.emulator.voice import synthetic

SAID = "Buenos dias y bienvenidos a todos ustedes"
TRANSCRIBE = {"audio": {"input": {"transcription": {"model": "gpt-realtime-whisper"}}}}
FRAME = 9_600


class Stream:
    """A translation session in virtual time."""

    def __init__(self, *turns, memory=None, script=None, **knobs):
        script = script or Script(turns)
        knobs = Knobs(**{"speak": synthetic, **knobs})
        self.session = TranslationSession(script, knobs=knobs, memory=memory)
        self.now = 0.0
        self.session.start(0.0)

    def __call__(self, event_type, **fields):
        before = len(self.session.sent)
        self.session.receive(json.dumps({"type": event_type, **fields}), self.now)
        return self.session.sent[before:]

    def append(self, pcm):
        return self("session.input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    def speak(self, pcm):
        """In real time, in steps of 200 ms."""
        before = len(self.session.sent)
        for start in range(0, len(pcm), FRAME):
            self.append(pcm[start : start + FRAME].ljust(FRAME, b"\0"))
            self.run(0.2)
        return self.session.sent[before:]

    def run(self, seconds):
        before, end = len(self.session.sent), self.now + seconds
        while (due := self.session.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.session.tick(self.now)
        self.now = end
        return self.session.sent[before:]


@pytest.fixture
def stream():
    return Stream(Turn(heard="Good morning", say=SAID), Turn(heard="Bye", say="Adios"))


def of(events, kind):
    return [e for e in events if e["type"] == f"session.{kind}.delta"]


def audio(events):
    return [base64.b64decode(e["delta"]) for e in of(events, "output_audio")]


def spoken(events):
    """The speech in the audio, without the silence around it."""
    return b"".join(audio(events)).strip(b"\0")


def text(events, kind="output_transcript"):
    return "".join(e["delta"] for e in of(events, kind))


def test_a_fresh_session_translates_into_spanish(stream):
    (created,) = stream.session.sent
    assert created["session"]["type"] == "translation"
    assert created["session"]["audio"] == {
        "input": {"transcription": None, "noise_reduction": None},
        "output": {"language": "es"},
    }


def test_updates_take_audio_only(stream):
    box = {"input": {"transcription": {"model": "gpt-realtime-whisper"}}, "output": {"language": "ru"}}
    (updated,) = stream("session.update", session={"audio": box})
    assert updated["session"]["audio"]["output"] == {"language": "ru"}
    assert updated["session"]["audio"]["input"]["noise_reduction"] is None
    refused = [
        ({"type": "translation"}, "session.type"),
        ({"audio": {"input": {"language": "en"}}}, "session.audio.input.language"),
        ({"audio": {"output": {"language": "zho"}}}, "session.audio.output.language"),
        ({"audio": {"output": {"language": None}}}, "session.audio.output.language"),
        ({"audio": {"output": {"voice": "marin"}}}, "session.audio.output.voice"),
        ({"audio": {"input": {"transcription": {}}}}, "session.audio.input.transcription.model"),
        (
            {"audio": {"input": {"transcription": {"model": "gpt-realtime-2.1"}}}},
            "session.audio.input.transcription.model",
        ),
        ({"audio": {"input": {"turn_detection": None}}}, "session.audio.input.turn_detection"),
        ({"model": "gpt-realtime-translate"}, "session.model"),
    ]
    for session, param in refused:
        (answer,) = stream("session.update", session=session)
        assert answer["error"]["param"] == param
    (answer,) = stream("session.update")
    assert answer["error"]["message"] == "Missing required parameter: 'session'."


@pytest.mark.parametrize("event", ["response.create", "input_audio_buffer.commit", "conversation.item.create"])
def test_there_are_no_turns_to_act_on(stream, event):
    assert stream(event)[0]["error"]["param"] == "type"


def test_each_step_of_source_gives_400_ms_of_audio_and_moves_elapsed_ms_by_200(stream, speech):
    pcm = speech(after_ms=1000)
    events = stream.speak(pcm)
    assert {len(chunk) for chunk in audio(events)} == {19_200}
    steps = -(-len(pcm) // FRAME)
    assert [e["elapsed_ms"] for e in of(events, "output_audio")] == [200 * n for n in range(steps)]
    assert {(e["sample_rate"], e["channels"], e["format"]) for e in of(events, "output_audio")} == {(24000, 1, "pcm16")}


def test_the_translation_comes_behind_the_speech_and_several_words_at_one_place(stream, speech):
    events = stream.speak(speech(before_ms=400, after_ms=8000))
    assert text(events) == SAID
    assert spoken(events) == synthetic(SAID).strip(b"\0")
    assert {e["elapsed_ms"] for e in of(events, "output_transcript")} == {400 + 1000}


def test_only_speech_comes_where_silence_is_left_out(speech):
    stream = Stream(Turn(heard="Good morning", say=SAID), translation_silence=False)
    events = stream.speak(speech(after_ms=8000))
    assert b"".join(audio(events)) == synthetic(SAID)


def test_the_source_text_comes_when_asked_for(stream, speech):
    stream("session.update", session=TRANSCRIBE)
    assert text(stream.speak(speech(after_ms=3000)), "input_transcript") == "Good morning"


def test_without_audio_the_models_time_stands_still(stream, speech):
    stream.speak(speech(before_ms=0, after_ms=0)[:FRAME])
    assert stream.run(60) == []
    assert stream.session.elapsed_ms == stream.session.source_ms == 200


def test_appends_of_any_size_are_cut_into_steps_and_taken_faster_than_they_were_spoken(stream):
    first = stream.append(bytes(FRAME * 12 + 2))
    assert len(audio(first)) == 1
    assert len(audio(stream.run(1.01))) == 11
    assert len(audio(stream.append(bytes(FRAME - 2)))) == 1
    assert stream.session.source_ms == 2600


@pytest.mark.parametrize("encoded", ["", "AAA", "###", base64.b64encode(b"odd").decode()])
def test_audio_that_is_none_is_refused(stream, encoded):
    (answer,) = stream("session.input_audio_buffer.append", audio=encoded)
    assert (answer["error"]["code"], answer["error"]["param"]) == ("invalid_value", "audio")


def test_another_language_counts_from_the_next_speech_on(speech):
    script = Script(translations={"de": [Turn(heard="a", say="Guten Morgen")], "fr": [Turn(heard="b", say="Bonjour")]})
    stream = Stream(script=script)
    for language, said in (("de", "Guten Morgen"), ("fr", "Bonjour")):
        stream("session.update", session={"audio": {"output": {"language": language}}})
        assert text(stream.speak(speech(after_ms=5000))) == said


def test_close_tells_the_rest_faster_than_it_is_spoken_and_then_ends(stream, speech):
    before = stream.speak(speech(after_ms=0))
    rest = stream("session.close")
    assert stream.append(speech())[0]["type"] == "error"
    assert stream("session.close")[0]["type"] == "error"
    rest += stream.run(2)
    assert spoken(before + rest) == synthetic(SAID).strip(b"\0")
    assert len(audio(rest)) > len(audio(before))
    assert rest[-1]["type"] == "session.closed"
    assert stream.session.closed.code == 1000


def test_the_same_speech_is_translated_the_same_in_another_session_from_wherever_it_begins(speech):
    pcm = speech("The same speech as before, from the middle on", before_ms=0, after_ms=6000)
    turns = Script([Turn(heard="Good morning", say=SAID), Turn(heard="Bye", say="Adios")])
    memory = Memory()
    lost = Stream(script=turns, memory=memory)
    first = lost.speak(pcm)
    lost.session.connection_lost(1006, "")
    again = Stream(script=turns, memory=memory).speak(pcm[FRAME * 7 :])
    assert audio(again) == audio(first)[7:]
    assert text(again) == ""  # it was said before
    assert text(Stream(script=turns, memory=memory).speak(speech("What else?", after_ms=3000))) == "Adios"


def test_a_function_can_stand_in_for_the_script(speech):
    stream = Stream(interpret=lambda frame, language: (language, frame), translation_lag=0.4)
    pcm = speech(before_ms=0, after_ms=0)[: FRAME * 3]
    events = stream.speak(pcm + bytes(FRAME * 3))
    assert b"".join(chunk[:FRAME] for chunk in audio(events)[2:5]) == pcm
    assert [(e["delta"], e["elapsed_ms"]) for e in of(events, "output_transcript")] == [
        ("es", 400),
        ("es", 600),
        ("es", 800),
    ]


def test_close_without_speech_ends_at_once(stream):
    assert [e["type"] for e in stream("session.close")] == ["session.closed"]


def test_every_frame_validates(stream, speech):
    adapter = TypeAdapter(RealtimeTranslationServerEvent)
    stream("session.update", session=TRANSCRIBE)
    stream.append(speech(after_ms=1000))
    stream("nonsense")
    stream("session.close")
    stream.run(5)
    assert len({adapter.validate_python(frame).type for frame in stream.session.sent}) == 7


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("?model=gpt-realtime-translate", "session.created"),
        ("?model=gpt-realtime-2.1", "error"),
        ("", "error"),
    ],
)
async def test_the_endpoint_wants_a_translation_model(query, first):
    async with Emulator() as server:
        url = server.base_url.replace("http://", "ws://") + "/realtime/translations" + query
        async with connect(url, additional_headers={"Authorization": "Bearer sk-test"}) as client:
            assert json.loads(await client.recv())["type"] == first


def test_what_is_said_depends_on_the_language_that_the_session_has_now():
    script = Script([Turn(heard="Hi", say="Hola")], translations={"de": [Turn(heard="Hi", say="Hallo")]})
    stream = Stream()
    stream.session = TranslationSession(script, knobs=Knobs(speak=synthetic))
    stream.session.start(0.0)
    said = []
    for language in ("de", "fr"):
        stream("session.update", session={"audio": {"output": {"language": language}}})
        stream.append(synthetic("Hi", "alloy", 1.0) + bytes(48_000))
        said += [e["delta"] for e in stream.run(5) if e["type"] == "session.output_transcript.delta"]
    assert said == ["Hallo", "Hola"]


async def test_openais_own_client_has_speech_translated(speech):
    async with Emulator(Script([Turn(heard="Good morning", say=SAID)]), knobs=Knobs(speak=synthetic)) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key="sk-test")
        client.websocket_base_url = server.base_url.replace("http://", "ws://")
        async with client.realtime.translations.connect(model="gpt-realtime-translate") as connection:
            await connection.send({"type": "session.update", "session": {"audio": {"output": {"language": "de"}}}})
            pcm = base64.b64encode(speech(after_ms=1000)).decode()
            await connection.send({"type": "session.input_audio_buffer.append", "audio": pcm})
            await connection.send({"type": "session.close"})
            events = []
            async for event in connection:
                events.append(event)
                if event.type == "session.closed":
                    break
        assert [event.type for event in events][:2] == ["session.created", "session.updated"]
        assert "".join(e.delta for e in events if e.type == "session.output_transcript.delta") == SAID
