"""Translation sessions: a stream without turns."""

from __future__ import annotations

import base64
import json

import pytest
from openai.types.realtime.realtime_translation_server_event import RealtimeTranslationServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import connect

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.translating import TranslationSession
from livekit_plugins_openai_ga.emulator.voice import synthetic

SAID = "Buenos dias y bienvenidos a todos ustedes"


class Stream:
    """A translation session in virtual time."""

    def __init__(self, *turns):
        self.session = TranslationSession(Script(turns), knobs=Knobs(speak=synthetic))
        self.now = 0.0
        self.session.start(0.0)

    def __call__(self, event_type, **fields):
        before = len(self.session.sent)
        self.session.receive(json.dumps({"type": event_type, **fields}), self.now)
        return self.session.sent[before:]

    def append(self, pcm):
        return self("session.input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

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


def audio(events):
    return [base64.b64decode(e["delta"]) for e in events if e["type"] == "session.output_audio.delta"]


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
    ]
    for session, param in refused:
        (answer,) = stream("session.update", session=session)
        assert answer["error"]["param"] == param
    (answer,) = stream("session.update")
    assert answer["error"]["message"] == "Missing required parameter: 'session'."


@pytest.mark.parametrize("event", ["response.create", "input_audio_buffer.commit", "conversation.item.create"])
def test_there_are_no_turns_to_act_on(stream, event):
    assert stream(event)[0]["error"]["param"] == "type"


def test_speech_comes_back_as_400_ms_deltas_and_text(stream, speech):
    stream.append(speech(after_ms=1000))
    events = stream.run(5)
    assert {e["type"] for e in events} == {"session.output_transcript.delta", "session.output_audio.delta"}
    assert b"".join(audio(events)) == synthetic(SAID)
    assert {len(chunk) for chunk in audio(events)[:-1]} == {19_200}
    elapsed = [e["elapsed_ms"] for e in events if e["type"] == "session.output_audio.delta"]
    assert elapsed == [200 * n for n in range(len(elapsed))]
    assert "".join(e["delta"] for e in events if "transcript" in e["type"]) == SAID


def test_the_source_text_comes_when_asked_for(stream, speech):
    stream("session.update", session={"audio": {"input": {"transcription": {"model": "gpt-realtime-whisper"}}}})
    stream.append(speech(after_ms=1000))
    heard = [e["delta"] for e in stream.run(5) if e["type"] == "session.input_transcript.delta"]
    assert "".join(heard) == "Good morning"


def test_close_flushes_what_is_being_said_and_then_ends(stream, speech):
    stream.append(speech(after_ms=0))
    assert stream.run(1) == []
    stream("session.close")
    assert stream.append(speech())[0]["type"] == "error"
    events = stream.run(10)
    assert b"".join(audio(events)) == synthetic(SAID)
    assert events[-1]["type"] == "session.closed"
    assert stream.session.closed.code == 1000


def test_close_without_speech_ends_at_once(stream):
    assert [e["type"] for e in stream("session.close")] == ["session.closed"]


def test_every_frame_validates(stream, speech):
    adapter = TypeAdapter(RealtimeTranslationServerEvent)
    stream("session.update", session={"audio": {"input": {"transcription": {"model": "gpt-realtime-whisper"}}}})
    stream.append(speech(after_ms=1000))
    stream("nonsense")
    stream.run(5)
    stream("session.close")
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
