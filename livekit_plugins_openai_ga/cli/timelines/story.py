"""A recording in, facts out: one table says who is told of which event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ... import models
from ...core.usage import ReplyUsage
from ...recording.entries import Recording
from ...wire.renames import SERVER_EVENTS
from .facts import Facts
from .heard import Heard, Sent
from .hiding import hide_keys
from .network import Network
from .phrases import Phrases
from .replies import Replies
from .spoken import Piece
from .told import Told
from .turns import turns

Handler = Callable[[int, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Story:
    """The facts, and the sound of both sides for a drawing."""

    facts: Facts
    sent: Sent
    played: list[Piece]


def tell(recording: Recording) -> Story:
    """Read a recording from its beginning to its end."""
    told = Told(recording)
    heard, replies, network = Heard(told), Replies(told), Network(told)
    phrases = Phrases(told, heard.sent)
    tables: dict[str, Mapping[str, tuple[Handler, ...]]] = {
        "in": _from_server(told, heard, replies, network, phrases),
        "out": _from_client(heard, replies),
        "note": _notes(replies, network),
    }
    for at, entry in enumerate(recording.entries):
        name = str(entry.event.get("type", ""))
        if entry.direction == "in":
            name = SERVER_EVENTS.get(name, name)
        for handler in tables[entry.direction].get(name, ()):
            handler(at, entry.event)
        if entry.direction == "in":
            network.heard_of(at)
    end_ms = recording.entries[-1].t_ms if recording.entries else 0.0
    made, played = replies.ended(end_ms)
    said = heard.ended()
    last_ms = max([end_ms, *(speech.end_ms for reply in made for speech in reply.speeches)])
    facts = Facts(
        header=recording.header,
        model=told.model,
        duration_ms=max(last_ms, played[-1].start_ms + played[-1].length_ms if played else 0.0),
        entries=len(recording.entries),
        sent_ms=heard.sent.total_ms,
        turns=turns(said, made, [one.at_ms for one in told.moments if one.kind == "timeout"]),
        utterances=said,
        replies=made,
        tools=sorted(replies.tools.values(), key=lambda call: call.start_ms),
        phrases=phrases.ended(),
        connections=network.connections,
        outages=network.outages,
        problems=told.problems,
        moments=told.moments,
    )
    if recording.header.kind == "translation":
        facts.audio_cost_usd = models.cost(ReplyUsage(seconds=heard.sent.total_ms / 1000), told.model).total
    hide_keys(facts)
    return Story(facts, heard.sent, played)


def _from_server(
    told: Told, heard: Heard, replies: Replies, network: Network, phrases: Phrases
) -> dict[str, tuple[Handler, ...]]:
    def configured(at: int, event: Mapping[str, Any]) -> None:
        told.configured(event)

    def translated(at: int, event: Mapping[str, Any]) -> None:
        length, sound = told.output_audio(event.get("delta"))
        replies.playing.came(told.at_ms(at), "", "translation", length, sound)

    spoken = "response.output_audio_transcript"
    transcript = "conversation.item.input_audio_transcription"
    return {
        "session.created": (replies.lost, network.created, heard.connected, configured),
        "session.updated": (network.updated, heard.settled, configured),
        "error": (replies.refused,),
        "input_audio_buffer.speech_started": (heard.started, replies.interrupted),
        "input_audio_buffer.speech_stopped": (heard.stopped,),
        "input_audio_buffer.committed": (heard.committed,),
        "input_audio_buffer.cleared": (heard.cleared,),
        "input_audio_buffer.timeout_triggered": (heard.timeout,),
        "input_audio_buffer.dtmf_event_received": (heard.key_pressed,),
        "conversation.item.added": (heard.added,),
        f"{transcript}.delta": (heard.growing,),
        f"{transcript}.completed": (heard.completed,),
        f"{transcript}.failed": (heard.failed,),
        "response.created": (replies.created,),
        "response.output_item.added": (replies.item_added,),
        "response.output_item.done": (replies.item_done,),
        "response.output_audio.delta": (replies.audio,),
        f"{spoken}.delta": (replies.growing,),
        f"{spoken}.done": (replies.whole,),
        "response.output_text.delta": (replies.growing,),
        "response.output_text.done": (replies.whole,),
        "response.mcp_call.completed": (replies.mcp_ended,),
        "response.mcp_call.failed": (replies.mcp_ended,),
        "output_audio_buffer.started": (replies.buffer,),
        "output_audio_buffer.stopped": (replies.buffer,),
        "output_audio_buffer.cleared": (replies.buffer,),
        "response.done": (replies.done,),
        "session.output_audio.delta": (translated,),
        "session.output_transcript.delta": (phrases.translated,),
        "session.input_transcript.delta": (phrases.source,),
    }


def _from_client(heard: Heard, replies: Replies) -> dict[str, tuple[Handler, ...]]:
    return {
        "input_audio_buffer.append": (heard.appended,),
        "session.input_audio_buffer.append": (heard.appended,),
        "input_audio_buffer.commit": (heard.commit_asked,),
        "conversation.item.create": (heard.created, replies.answered),
        "conversation.item.truncate": (replies.truncated,),
        "response.create": (replies.asked, heard.asked),
        "response.cancel": (replies.interrupted,),
    }


def _notes(replies: Replies, network: Network) -> dict[str, tuple[Handler, ...]]:
    return {
        "opened": (network.opened,),
        "lost": (network.lost, replies.lost),
        "failed": (network.failed,),
        "malformed": (network.malformed,),
        "closed": (network.closed,),
    }
