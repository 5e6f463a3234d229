"""Every frame of several conversations is what the openai SDK's GA types say."""

from __future__ import annotations

import typing

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from livekit_plugins_openai_ga.emulator import Knobs, MCPCall, Script, ToolCall, Turn
from livekit_plugins_openai_ga.emulator.faults import FailResponse, FailToolList, FailTranscription, FaultPlan
from livekit_plugins_openai_ga.emulator.voice import synthetic

ADAPTER = TypeAdapter(RealtimeServerEvent)
# Fields seen on the wire that the SDK's types do not have. `session.created` and `session.updated` are typed as the
# *request* objects, which lack the read-only fields; text deltas carry padding.
EXTRA_FIELDS = {
    "session.created": {"id", "object", "expires_at"},
    "session.updated": {"id", "object", "expires_at"},
    "response.output_text.delta": {"obfuscation"},
    "response.output_audio_transcript.delta": {"obfuscation"},
    "response.function_call_arguments.delta": {"obfuscation"},
}
KINDS = ("protocol_error", "tool_execution_error", "http_error")
NEVER_SENT = {
    "conversation.item.created",
    "conversation.item.input_audio_transcription.segment",
    "input_audio_buffer.dtmf_event_received",
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "output_audio_buffer.cleared",
}


def realtime_conversation(talk, speech):
    script = Script(
        [
            Turn(say="Hello. How can I help?", messages=("Just ask.",)),
            Turn(heard="The weather?", tool=ToolCall("weather", {"city": "Lisbon"})),
            Turn(say="Sunny. " * 20),
            Turn(heard="Stop", say="Fine."),
            Turn(say="Text.", incomplete="content_filter"),
        ]
    )
    knobs = Knobs(speak=synthetic, conversation_created=True)
    t = talk(script, knobs=knobs, faults=FaultPlan([FailResponse(nth=5)]))
    t.configure(
        tools=[{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
        audio={
            "input": {
                "transcription": {"model": "gpt-transcribe"},
                "turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000},
            }
        },
    )
    t("response.create", response={"metadata": {"a": "b"}})
    t.run(3)
    t.hear(speech())
    t.run(3)
    call = next(item for item in t.session.items if item["type"] == "function_call")
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sun"}
    t("conversation.item.create", item=output)
    t("response.create")
    t.run(0.5)
    t.hear(speech())
    t.run(30)
    t("response.create", response={"conversation": "none", "output_modalities": ["text"]})
    t.run(3)
    item_id = t.session.items[0]["id"]
    t("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
    t("conversation.item.retrieve", item_id=item_id)
    t("conversation.item.delete", item_id=item_id)
    t("input_audio_buffer.clear")
    t("nonsense")
    t.run(4000)
    return t.session.sent


def transcription(talk, speech, model, **options):
    t = talk(
        Script([Turn(heard="Hello there friend"), Turn(heard="Second")]),
        session_type="transcription",
        faults=FaultPlan([FailTranscription(nth=2)]),
    )
    t.configure(
        audio={"input": {"transcription": {"model": model, **options}, "turn_detection": None}},
        include=["item.input_audio_transcription.logprobs"],
    )
    for _ in range(2):
        t.hear(speech())
        t("input_audio_buffer.commit")
        t.run(1)
    return t.session.sent


def server_tools(talk, *, in_response):
    calls = (
        MCPCall("shop", "find", {"what": "socks"}, output="3 pairs"),
        *(MCPCall("shop", "find", error=(kind, "No.")) for kind in KINDS),
    )
    script = Script([Turn(mcp=calls), Turn(mcp=(MCPCall("mail", "send", output="sent"),))])
    t = talk(script, knobs=Knobs(mcp_in_response=in_response), faults=FaultPlan([FailToolList(nth=3)]))
    where = {"type": "mcp", "server_url": "https://shop.test/mcp"}
    labels = {"shop": "never", "mail": "always", "lost": "never"}
    t.configure(tools=[{**where, "server_label": label, "require_approval": rule} for label, rule in labels.items()])
    t.run(1)
    for _ in script.turns:
        t("response.create")
        t.run(10)
    (request,) = [item for item in t.session.items if item["type"] == "mcp_approval_request"]
    answer = {"type": "mcp_approval_response", "id": "ok", "approval_request_id": request["id"], "approve": True}
    t("conversation.item.create", item=answer)
    t.run(10)
    return t.session.sent


@pytest.fixture
def frames(talk, speech):
    found = realtime_conversation(talk, speech)
    for in_response in (True, False):
        found += server_tools(talk, in_response=in_response)
    for model in ("gpt-live-transcribe", "gpt-4o-transcribe", "whisper-1"):
        found += transcription(talk, speech, model)
    found += transcription(talk, speech, "gpt-transcribe", languages=["en"])
    return found


def test_every_frame_validates(frames):
    for frame in frames:
        ADAPTER.validate_python(frame)


def test_no_frame_has_a_field_unknown_to_the_types(frames):
    unknown = set()
    for frame in frames:
        _collect_extras(ADAPTER.validate_python(frame), frame["type"], unknown)
    allowed = {(name, field) for name, fields in EXTRA_FIELDS.items() for field in fields}
    assert unknown <= allowed, unknown - allowed


def test_the_conversations_show_every_event_there_is(frames):
    union = typing.get_args(typing.get_args(RealtimeServerEvent)[0])
    names = {typing.get_args(member.model_fields["type"].annotation)[0] for member in union}
    assert {frame["type"] for frame in frames} == names - NEVER_SENT


def _collect_extras(model, event_type, unknown):
    unknown |= {(event_type, name) for name in (model.model_extra or {})}
    for name in model.model_fields_set:
        value = getattr(model, name, None)
        for entry in value if isinstance(value, list) else [value]:
            if hasattr(entry, "model_extra"):
                _collect_extras(entry, event_type, unknown)
