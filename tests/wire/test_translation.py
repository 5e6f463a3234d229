"""Translation sessions on the wire; the openai SDK's types are the witness."""

from __future__ import annotations

import pytest
from openai.types.realtime import (
    RealtimeTranslationClientEvent,
)
from openai.types.realtime import (
    realtime_translation_session_update_request_param as update_param,
)
from openai.types.realtime.realtime_translation_server_event import RealtimeTranslationServerEvent
from pydantic import TypeAdapter

from livekit_plugins_openai_ga.wire import client_events, server_events, translation
from livekit_plugins_openai_ga.wire.server_events import Malformed, SessionUpdated, Unknown
from livekit_plugins_openai_ga.wire.session import difference, merge

PAYLOAD = translation.session_payload(
    target_language="de", source_model="gpt-realtime-whisper", noise_reduction={"type": "near_field"}
)


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (
            {"type": "session.output_audio.delta", "delta": "AAAA", "elapsed_ms": 400, "sample_rate": 24000},
            translation.OutputAudioDelta("AAAA", 400),
        ),
        ({"type": "session.output_audio.delta", "delta": "AAAA"}, translation.OutputAudioDelta("AAAA", None)),
        (
            {"type": "session.output_audio.delta", "delta": "AAAA", "elapsed_ms": "soon"},
            translation.OutputAudioDelta("AAAA", None),
        ),
        (
            {"type": "session.output_transcript.delta", "delta": " hallo", "elapsed_ms": 200},
            translation.OutputTranscriptDelta(" hallo", 200),
        ),
        (
            {"type": "session.input_transcript.delta", "delta": " hello", "elapsed_ms": 0},
            translation.InputTranscriptDelta(" hello", 0),
        ),
        ({"type": "session.closed"}, translation.SessionClosed()),
        ({"type": "session.updated", "session": {}}, SessionUpdated({})),
        ({"type": "session.output_audio.done"}, Unknown("session.output_audio.done")),
        ({"type": "session.output_audio.delta"}, Malformed("session.output_audio.delta", "'delta' is missing")),
        ({"type": 7}, Malformed("", "'type' is missing or not a string")),
    ],
)
def test_events_are_read(payload, event):
    assert translation.from_payload(payload) == event


def test_every_event_that_the_sdk_knows_is_known_here():
    types = [
        variant.model_fields["type"].annotation.__args__[0]
        for variant in RealtimeTranslationServerEvent.__args__[0].__args__
    ]
    assert len(types) == 7
    for name in types:
        assert not isinstance(translation.from_payload({"type": name}), Unknown), name


@pytest.mark.parametrize(
    "event",
    [
        client_events.session_update(PAYLOAD, event_id="session_1"),
        translation.AUDIO_APPEND.event(b"\0\0\0"),
        translation.session_close(event_id="close_1"),
    ],
)
def test_the_sdk_takes_what_is_sent(event):
    made = TypeAdapter(RealtimeTranslationClientEvent).validate_python(event)
    assert made.model_dump(exclude_unset=True) == event


def test_an_append_is_written_without_its_event():
    written = translation.AUDIO_APPEND.head + b"AAAA" + client_events.APPEND_TAIL
    assert written == client_events.text(translation.AUDIO_APPEND.event(b"\0\0\0"))
    assert written == b'{"type":"session.input_audio_buffer.append","audio":"AAAA"}'


def test_a_session_has_what_can_be_updated_and_neither_type_nor_model():
    assert set(PAYLOAD) == set(update_param.RealtimeTranslationSessionUpdateRequestParam.__annotations__)
    assert set(PAYLOAD["audio"]["input"]) == set(update_param.AudioInput.__annotations__)
    assert set(PAYLOAD["audio"]["output"]) == set(update_param.AudioOutput.__annotations__)


def test_a_change_of_language_is_sent_alone():
    other = merge(PAYLOAD, {"audio": {"output": {"language": "fr"}}})
    assert difference(PAYLOAD, other) == {"audio": {"output": {"language": "fr"}}}


def test_what_is_off_is_said_to_be_off():
    made = translation.session_payload(target_language="de", source_model=None, noise_reduction=None)
    assert made["audio"]["input"] == {"transcription": None, "noise_reduction": None}


def test_a_conversation_knows_none_of_its_events():
    assert isinstance(server_events.from_payload({"type": "session.closed"}), Unknown)
