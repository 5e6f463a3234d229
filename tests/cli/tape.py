"""A recording written by hand, entry by entry."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from livekit_plugins_openai_ga.cli.timelines.facts import Facts
from livekit_plugins_openai_ga.cli.timelines.story import tell
from livekit_plugins_openai_ga.recording.entries import Entry, Header, Recording

USAGE = {
    "total_tokens": 150,
    "input_tokens": 100,
    "output_tokens": 50,
    "input_token_details": {
        "audio_tokens": 60,
        "text_tokens": 40,
        "cached_tokens": 30,
        "cached_tokens_details": {"audio_tokens": 10, "text_tokens": 20},
    },
    "output_token_details": {"audio_tokens": 40, "text_tokens": 10},
}


def silence(ms: int) -> str:
    return base64.b64encode(bytes(48 * ms)).decode()


def tone(ms: int) -> str:
    samples = np.sin(np.arange(ms * 24) * 0.1) * 9000
    return base64.b64encode(samples.astype("<i2").tobytes()).decode()


class Tape:
    """Entries at times in ms; `link` is the connection that they are of."""

    def __init__(self, **header: Any) -> None:
        self.header = Header(**{"model": "gpt-realtime-2.1", **header})
        self.entries: list[Entry] = []
        self.link = 1

    def server(self, at: float, type: str, **fields: Any) -> Tape:
        self.entries.append(Entry(at, self.link, "in", {"type": type, "event_id": f"e{len(self.entries)}", **fields}))
        return self

    def client(self, at: float, type: str, **fields: Any) -> Tape:
        self.entries.append(Entry(at, self.link, "out", {"type": type, **fields}))
        return self

    def note(self, at: float, type: str, **fields: Any) -> Tape:
        self.entries.append(Entry(at, self.link, "note", {"type": type, **fields}))
        return self

    def opened(self, at: float = 0, *, silence_ms: int | None = 500, **session: Any) -> Tape:
        detection = None if silence_ms is None else {"type": "server_vad", "silence_duration_ms": silence_ms}
        audio = {"input": {"turn_detection": detection, "transcription": {"model": "gpt-transcribe"}}}
        name = f"sess_{self.link}"
        self.note(at, "opened", session_id=name)
        return self.server(at, "session.created", session={"id": name, "audio": audio, **session})

    def listens(self, start: float, end: float, audio: Any = None) -> Tape:
        """User audio in steps of 100 ms, each sent when it was spoken."""
        for at in np.arange(start + 100, end + 1, 100):
            self.client(float(at), "input_audio_buffer.append", audio=audio or {"bytes": 4800, "ms": 100.0})
        return self

    def says(self, item: str, start: float, end: float, text: str = "") -> Tape:
        """The user speaks; the server's places count from 0 on."""
        buffer = "input_audio_buffer"
        self.server(start + 60, f"{buffer}.speech_started", item_id=item, audio_start_ms=int(start))
        self.server(end + 500, f"{buffer}.speech_stopped", item_id=item, audio_end_ms=int(end + 500))
        self.server(end + 501, f"{buffer}.committed", item_id=item, previous_item_id=None)
        if text:
            kind = "conversation.item.input_audio_transcription.completed"
            self.server(end + 600, kind, item_id=item, transcript=text, usage={"type": "duration", "seconds": 2})
        return self

    def begins(self, reply: str, at: float, **response: Any) -> Tape:
        made = {"id": reply, "status": "in_progress", "conversation_id": "conv_1", "metadata": None, **response}
        return self.server(at, "response.created", response=made)

    def speaks(self, reply: str, at: float, *pieces_ms: int, every: float = 50, text: str = "", item: str = "") -> Tape:
        """Audio of a reply: pieces of so many ms, one each `every` ms."""
        names = {"response_id": reply, "item_id": item or f"item_{reply}", "output_index": 0, "content_index": 0}
        if text:
            self.server(at, "response.output_audio_transcript.delta", delta=text, **names)
        for number, ms in enumerate(pieces_ms):
            self.server(at + number * every, "response.output_audio.delta", delta={"bytes": 48 * ms, "ms": ms}, **names)
        return self

    def ends(self, reply: str, at: float, status: str = "completed", **response: Any) -> Tape:
        made = {"id": reply, "status": status, "status_details": None, "usage": USAGE, **response}
        return self.server(at, "response.done", response=made)

    def recording(self) -> Recording:
        return Recording(self.header, tuple(sorted(self.entries, key=lambda entry: entry.t_ms)))

    def facts(self) -> Facts:
        return tell(self.recording()).facts

    def write(self, path: Path) -> Path:
        rows = [json.dumps(asdict(self.header))]
        for entry in self.recording().entries:
            rows.append(json.dumps({"t": entry.t_ms, "link": entry.link, entry.direction: dict(entry.event)}))
        path.write_text("\n".join(rows) + "\n")
        return path


def weather_call(**header: Any) -> Tape:
    """A greeting; a question that needs a tool; the answer to it, interrupted; the connection lost in between."""
    tape = Tape(**{"at": 1_790_000_000.0, "host": "api.openai.com", **header}).opened()
    tape.client(10, "response.create", response={"metadata": {"client_event_id": "a"}})
    tape.begins("r0", 30, metadata={"client_event_id": "a"}).speaks("r0", 300, 400, 400, text="Good morning.")
    tape.ends("r0", 400).listens(0, 9000).says("u1", 1500, 3000, "What is the weather in Lisbon?")
    tape.begins("r1", 3510)
    call = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Lisbon"}'}
    tape.server(3700, "response.output_item.done", response_id="r1", item=call).ends("r1", 3710)
    output = {"type": "function_call_output", "call_id": "call_1", "output": "18 C"}
    tape.client(4200, "conversation.item.create", item=output)
    tape.client(4210, "response.create").begins("r2", 4230)
    tape.speaks("r2", 4600, 1000, 1000, 1000, 1000, text="It is eighteen degrees, and it stays dry.").ends("r2", 4800)
    tape.says("u2", 5900, 6800, "Thank you.")
    tape.client(6000, "conversation.item.truncate", item_id="item_r2", content_index=0, audio_end_ms=1400)
    tape.note(7800, "lost", code="close_1006", sentence="The connection was lost.")
    tape.link = 2
    return tape.opened(8300).note(9000, "closed")
