"""One emulated GA session: client frames in, actions for the socket out.

A pure state machine. It owns no socket, no clock and no task: time comes in as `now` (seconds on any clock that only
goes forward), and `next_deadline` says when `tick` has something to do, so the same object runs behind a real
WebSocket and in a test with virtual time.
"""

from __future__ import annotations

import base64
import heapq
import itertools
import json
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

from . import config, schema
from .actions import Action, Close, Event, Send
from .conversation import Conversation, Item, Refused, audio_tokens, text_tokens
from .faults import FaultPlan
from .hearing import InputBuffer
from .knobs import Knobs
from .reply import Brief, Reply
from .script import Script, Turn
from .transcribing import PREFIX, Transcriber
from .vad import SpeechStarted, speech_ms
from .voice import BYTES_PER_MS

SESSION_EXPIRED = "Your session hit the maximum duration of 60 minutes."
_session_numbers = itertools.count(1)


class EmulatorSession:
    """A `realtime` or `transcription` session.

    `received` are the client's events and `sent` the server's, as parsed JSON, in order. `closed` is the close code
    and reason once the session has ended itself.
    """

    def __init__(
        self,
        script: Script,
        *,
        model: str = "gpt-realtime-2.1",
        session_type: Literal["realtime", "transcription"] = "realtime",
        knobs: Knobs | None = None,
        faults: FaultPlan | None = None,
        now: float = 0.0,
        created_at: int = 1_789_000_000,
    ) -> None:
        self.knobs = knobs or Knobs()
        self.script = script
        self.received: list[Event] = []
        self.sent: list[Event] = []
        self.closed: Close | None = None
        self._faults = faults or FaultPlan()
        self._number = next(_session_numbers)
        self._ids = itertools.count(1)
        self._now = now
        self._actions: list[Action] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self.id = self.new_id("sess")
        expires_at = created_at + int(self.knobs.lifetime)
        self.config: Event = (
            config.transcription(self.id, expires_at, self.knobs)
            if session_type == "transcription"
            else config.realtime(model, self.id, expires_at, self.knobs)
        )
        self.type = session_type
        self.conversation = Conversation(self.new_id("conv"))
        self.buffer = InputBuffer(self.config["audio"]["input"]["turn_detection"])
        self._voice_locked = False
        self._reply: Reply | None = None
        self._out_of_band: list[Reply] = []
        self._reply_is_due = False
        self._user_was_heard = False
        self._spoken_item_id = ""
        self._last_committed_id: str | None = None
        self._streamed: list[str] = []
        self._streamed_text: str | None = None
        self._streamed_speech_ms = 0
        self._after_reply: list[Callable[[], None]] = []
        self._idle_token = 0
        self._billed_input = (0, 0, 0)
        self._limit_left = 15_000_000

    @property
    def items(self) -> list[Event]:
        """The conversation as the server would send it, in order."""
        return [item.payload() for item in self.conversation]

    @property
    def active_reply(self) -> Reply | None:
        """The response under way in the default conversation."""
        return self._reply

    # In and out.

    def start(self, now: float) -> list[Action]:
        """What a healthy handshake is followed by."""
        self._now = now
        self._after(self.knobs.lifetime, self.expire)
        self.emit("session.created", session=self.config)
        if self.knobs.conversation_created:
            conversation = {"id": self.conversation.id, "object": "realtime.conversation"}
            self.emit("conversation.created", conversation=conversation)
        return self._flush()

    def receive(self, frame: str | bytes, now: float) -> list[Action]:
        """Take one frame from the client."""
        self._run_timers(now)
        self._now = max(now, self._now)
        if self.closed is None:
            self._take(frame)
        return self._flush()

    def tick(self, now: float) -> list[Action]:
        """Do what is due by `now`."""
        self._run_timers(now)
        self._now = max(now, self._now)
        return self._flush()

    def next_deadline(self) -> float | None:
        """When `tick` is next needed; None when nothing is pending."""
        return self._timers[0][0] if self._timers and self.closed is None else None

    def emit(self, event_type: str, **fields: Any) -> None:
        """Send a server event, or what the fault plan makes of it."""
        if self.closed is not None:
            return
        event = {"type": event_type, "event_id": self.new_id("event"), **fields}
        # A snapshot: the configuration and the items in it go on changing.
        event = json.loads(json.dumps(event))
        for action in self._faults.on_send(event):
            self._do(action)

    def new_id(self, prefix: str) -> str:
        """An id as short and as opaque as the server's, unique over all sessions of the process."""
        return f"{prefix}_{self._number:06x}{next(self._ids):010x}"

    def close(self, code: int, reason: str) -> list[Action]:
        """End the session from the server's side."""
        self._do(Close(code, reason))
        return self._flush()

    def expire(self) -> None:
        """End the session as the server does at `expires_at`."""
        self._error(Refused("session_expired", SESSION_EXPIRED), None)
        self._do(Close(1001, SESSION_EXPIRED))

    def _do(self, action: Action) -> None:
        if self.closed is not None:
            return
        if isinstance(action, Send):
            self.sent.append(action.event)
        elif isinstance(action, Close):
            self.closed = action
        self._actions.append(action)

    def _flush(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions

    def _after(self, seconds: float, do: Callable[[], None]) -> None:
        if math.isfinite(seconds):
            heapq.heappush(self._timers, (self._now + seconds, next(self._timer_numbers), do))

    def _run_timers(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now and self.closed is None:
            due, _, do = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            do()

    def _take(self, frame: str | bytes) -> None:
        event_id = None
        try:
            event = _parse(frame)
            if isinstance(event, dict):
                self.received.append(event)
                given = event.get("event_id")
                event_id = given if isinstance(given, str) else None
                actions, swallowed = self._faults.on_receive(event)
                for action in actions:
                    self._do(action)
                if refusal := self._faults.refusal(event):
                    raise refusal
                if swallowed:
                    return
            schema.check(event, self.type)
            _HANDLERS[event["type"]](self, event)
        except Refused as refusal:
            self._error(refusal, event_id)

    def _error(self, refusal: Refused, event_id: str | None) -> None:
        self.emit(
            "error",
            error={
                "type": refusal.error_type,
                "code": refusal.code,
                "message": refusal.message,
                "param": refusal.param,
                "event_id": event_id,
            },
        )

    # Session.

    def _session_update(self, event: Event) -> None:
        self.config = config.updated(self.config, event["session"], self.knobs, voice_locked=self._voice_locked)
        self.buffer.configure(self._turn_detection)
        self.emit("session.updated", session=self.config)

    @property
    def _turn_detection(self) -> Event | None:
        return self.config["audio"]["input"]["turn_detection"]  # type: ignore[no-any-return]

    @property
    def _transcriber(self) -> Transcriber | None:
        settings = self.config["audio"]["input"]["transcription"]
        return Transcriber(settings, self.config["include"]) if settings else None

    # User audio.

    def _append(self, event: Event) -> None:
        pcm = self.buffer.append(event["audio"], self.config["audio"]["input"]["format"])
        if self._turn_detection is None:
            self._stream_transcript(pcm)
        for found in self.buffer.detect(pcm):
            if isinstance(found, SpeechStarted):
                self._speech_started(found.audio_start_ms)
            else:
                item_id = self._claim_item_id()
                self.emit("input_audio_buffer.speech_stopped", audio_end_ms=found.audio_end_ms, item_id=item_id)
                self._commit_audio(item_id, self.buffer.take_turn(found.audio_end_ms))
                self._answer_turn()

    def _speech_started(self, audio_start_ms: int) -> None:
        self._idle_token += 1
        self._spoken_item_id = self.new_id("item")
        self.emit("input_audio_buffer.speech_started", audio_start_ms=audio_start_ms, item_id=self._spoken_item_id)
        if self._reply and self._turn_detection and self._turn_detection.get("interrupt_response"):
            self._reply.stop("cancelled", {"type": "cancelled", "reason": "turn_detected"})

    def _claim_item_id(self) -> str:
        item_id, self._spoken_item_id = self._spoken_item_id or self.new_id("item"), ""
        return item_id

    def _commit(self, _event: Event) -> None:
        pcm = self.buffer.take_all()
        self._commit_audio(self._claim_item_id(), pcm)

    def _commit_audio(self, item_id: str, pcm: bytes) -> None:
        self.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=self._previous_for_commit())
        self._last_committed_id = item_id
        content = [{"type": "input_audio", "transcript": None}]
        item = Item(item_id, "message", "completed", {"role": "user", "content": content}, bytearray(pcm))
        self.conversation.add(item)
        self._announce(item)
        text = self._hear(pcm)
        if (transcriber := self._transcriber) is not None:
            self._transcribe(transcriber, item, text, len(pcm) / BYTES_PER_MS)

    def _previous_for_commit(self) -> str | None:
        if self.type == "transcription":
            return self._last_committed_id
        return next((item.id for item in reversed(list(self.conversation))), None)

    def _hear(self, pcm: bytes) -> str:
        if self._streamed_text is not None:
            text, self._streamed_text = self._streamed_text, None
        elif speech_ms(pcm):
            text = self.script.hear()
        else:
            return ""
        self._user_was_heard = True
        if self.type == "transcription":
            self.script.take(heard=True)
        return text

    def _clear(self, _event: Event) -> None:
        self.buffer.clear()
        self._spoken_item_id = ""
        self._streamed, self._streamed_text, self._streamed_speech_ms = [], None, 0
        self.emit("input_audio_buffer.cleared")

    def _answer_turn(self) -> None:
        if self.type == "realtime" and self._turn_detection and self._turn_detection["create_response"]:
            if self._reply:
                self._reply_is_due = True
            else:
                self._reply_to({})

    # Transcripts.

    def _stream_transcript(self, pcm: bytes) -> None:
        transcriber = self._transcriber
        if transcriber is None or not transcriber.streams:
            return
        self._streamed_speech_ms += speech_ms(pcm)
        if self._streamed_text is None:
            if not self._streamed_speech_ms:
                return
            self._streamed_text = self.script.hear()
        self._spoken_item_id = self._spoken_item_id or self.new_id("item")
        fields = transcriber.deltas(self._streamed_text)
        due = int(self._streamed_speech_ms / 1000 / self.knobs.seconds_per_word)
        for delta in fields[len(self._streamed) : due]:
            self._streamed.append(delta["delta"])
            self.emit(f"{PREFIX}.delta", item_id=self._spoken_item_id, content_index=0, **delta)

    def _transcribe(self, transcriber: Transcriber, item: Item, text: str, audio_ms: float) -> None:
        told, self._streamed, self._streamed_speech_ms = len(self._streamed), [], 0

        def report() -> None:
            for delta in transcriber.deltas(text)[told:]:
                self.emit(f"{PREFIX}.delta", item_id=item.id, content_index=0, **delta)
            item.fields["content"][0]["transcript"] = text
            self.emit(f"{PREFIX}.completed", item_id=item.id, content_index=0, **transcriber.completed(text, audio_ms))

        if self.type == "realtime" and self.knobs.transcripts != "async":
            self._after_reply.append(report)
        else:
            self._after(self.knobs.transcription_latency, report)

    def _report_held_transcripts(self) -> None:
        held, self._after_reply = self._after_reply, []
        for report in held:
            report()

    # Items.

    def _announce(self, item: Item) -> None:
        previous = self.conversation.previous_id(item.id)
        for event_type in ("conversation.item.added", "conversation.item.done"):
            self.emit(event_type, item=item.payload(), previous_item_id=previous)

    def _item_create(self, event: Event) -> None:
        item = _item_from(event["item"], self.new_id)
        self.conversation.add(item, event.get("previous_item_id"))
        if item.fields.get("role") == "user":
            self._user_was_heard = True
        self._announce(item)

    def _item_delete(self, event: Event) -> None:
        self.conversation.delete(event["item_id"])
        self.emit("conversation.item.deleted", item_id=event["item_id"])

    def _item_retrieve(self, event: Event) -> None:
        self.emit("conversation.item.retrieved", item=self.conversation.retrieve(event["item_id"]))

    def _item_truncate(self, event: Event) -> None:
        place = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
        self.conversation.truncate(**place)
        self.emit("conversation.item.truncated", **place)

    # Responses.

    def _response_create(self, event: Event) -> None:
        options = event.get("response") or {}
        if options.get("conversation") != "none" and self._reply:
            raise Refused(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._reply.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        self._reply_to(options)

    def _reply_to(self, options: Event) -> None:
        brief = self._brief(options)
        turn = self._next_turn(brief)
        reply = Reply(self, brief, turn, self._usage, self.new_id("resp"))
        if brief.in_conversation:
            self._reply = reply
            self._idle_token += 1
        else:
            self._out_of_band.append(reply)
        self._continue(reply, reply.steps())

    def _next_turn(self, brief: Brief) -> Turn:
        if not brief.in_conversation:
            return self.script.take_out_of_band()
        heard, self._user_was_heard = self._user_was_heard, False
        return self.script.take(heard=heard)

    def _brief(self, options: Event) -> Brief:
        own = {**self.config, **options}
        given = (options.get("audio") or {}).get("output") or {}
        output = {**self.config["audio"]["output"], **given}
        if self._voice_locked and output["voice"] != self.config["audio"]["output"]["voice"]:
            raise Refused("cannot_update_voice", config.VOICE_IS_LOCKED)
        return Brief(
            modality=own["output_modalities"][0],
            voice=output["voice"],
            format=output["format"],
            speed=output["speed"],
            tools=frozenset(tool["name"] for tool in own["tools"] if tool["type"] == "function"),
            tool_choice=own["tool_choice"],
            max_output_tokens=own["max_output_tokens"],
            metadata=options.get("metadata"),
            in_conversation=options.get("conversation") != "none",
        )

    def _continue(self, reply: Reply, steps: Iterator[float]) -> None:
        if reply.ended:
            return
        wait = next(steps, None)
        if wait is not None and not reply.ended:
            self._after(wait, lambda: self._continue(reply, steps))

    def _response_cancel(self, event: Event) -> None:
        wanted = event.get("response_id")
        active = [reply for reply in (self._reply, *self._out_of_band) if reply]
        found = next((reply for reply in active if reply.id == wanted), None) if wanted else self._reply
        if found is None:
            raise Refused("response_cancel_not_active", "Cancellation failed: no active response found")
        found.stop("cancelled", {"type": "cancelled", "reason": "client_cancelled"})

    def audio_was_spoken(self) -> None:
        """The first audio locks the voice."""
        self._voice_locked = True

    def reply_began(self) -> None:
        """A response was created."""
        if self.knobs.rate_limits == "before":
            self._rate_limits()

    def reply_ending(self) -> None:
        """A response is about to be done."""
        if self.knobs.transcripts == "before_done":
            self._report_held_transcripts()

    def reply_ended(self, reply: Reply) -> None:
        """A response is done: the next one may start."""
        if self.knobs.rate_limits == "after":
            self._after(self.knobs.rate_limit_latency, self._rate_limits)
        if reply is not self._reply:
            self._out_of_band.remove(reply)
            return
        self._reply = None
        self._report_held_transcripts()
        self._await_idle_user(reply.produced.audio_ms / 1000 * (1 - 1 / self.knobs.pace))
        if self._reply_is_due:
            self._reply_is_due = False
            self._after(0.0, self._answer_turn)

    def _rate_limits(self) -> None:
        limit = {"name": "tokens", "limit": 15_000_000, "remaining": self._limit_left, "reset_seconds": 0.001}
        self.emit("rate_limits.updated", rate_limits=[limit])

    def _await_idle_user(self, playback_left: float) -> None:
        idle_ms = (self._turn_detection or {}).get("idle_timeout_ms")
        if idle_ms is None:
            return
        self._idle_token += 1
        token = self._idle_token

        def give_up() -> None:
            if token != self._idle_token or self._reply or self.buffer.speaking:
                return
            end = self.buffer.end_ms
            start = max(0, end - idle_ms)
            item_id = self.new_id("item")
            self.emit("input_audio_buffer.timeout_triggered", audio_start_ms=start, audio_end_ms=end, item_id=item_id)
            self._commit_audio(item_id, self.buffer.take_turn(end))
            self._answer_turn()

        self._after(playback_left + idle_ms / 1000, give_up)

    def _usage(self, reply: Reply) -> Event:
        text, audio, image = text_tokens(self.config["instructions"]), 0, 0
        for item in self.conversation:
            if item not in reply.output:
                more = item.tokens()
                text, audio, image = text + more[0], audio + more[1], image + more[2]
        cached = tuple(min(now, before) for now, before in zip((text, audio, image), self._billed_input, strict=True))
        self._billed_input = (text, audio, image)
        heard, spoken = text + audio + image, reply.produced.text + reply.produced.audio
        self._limit_left = max(0, self._limit_left - heard - spoken)
        return {
            "total_tokens": heard + spoken,
            "input_tokens": heard,
            "output_tokens": spoken,
            "input_token_details": {
                "text_tokens": text,
                "audio_tokens": audio,
                "image_tokens": image,
                "cached_tokens": sum(cached),
                "cached_tokens_details": dict(
                    zip(("text_tokens", "audio_tokens", "image_tokens"), cached, strict=True)
                ),
            },
            "output_token_details": {"text_tokens": reply.produced.text, "audio_tokens": reply.produced.audio},
        }


_HANDLERS: dict[str, Callable[[EmulatorSession, Event], None]] = {
    "session.update": EmulatorSession._session_update,
    "input_audio_buffer.append": EmulatorSession._append,
    "input_audio_buffer.commit": EmulatorSession._commit,
    "input_audio_buffer.clear": EmulatorSession._clear,
    "conversation.item.create": EmulatorSession._item_create,
    "conversation.item.delete": EmulatorSession._item_delete,
    "conversation.item.retrieve": EmulatorSession._item_retrieve,
    "conversation.item.truncate": EmulatorSession._item_truncate,
    "response.create": EmulatorSession._response_create,
    "response.cancel": EmulatorSession._response_cancel,
}


def _parse(frame: str | bytes) -> Any:
    if isinstance(frame, bytes):
        message = "Expected a text WebSocket message; binary frames are not supported."
        raise Refused("invalid_event", message)
    try:
        return json.loads(frame)
    except ValueError as exc:
        raise Refused("invalid_json", f"Invalid event: failed to parse JSON value. {exc}") from None


def _item_from(given: Event, new_id: Callable[[str], str]) -> Item:
    """The client's item as the server keeps it: ids filled in, audio apart from what goes on the wire."""
    fields = {key: value for key, value in given.items() if key not in ("id", "type", "status", "object")}
    audio = bytearray()
    if "content" in fields:
        parts = []
        for part in fields["content"]:
            if part["type"] == "input_audio":
                audio += base64.b64decode(part["audio"])
                part = {"type": "input_audio", "transcript": part.get("transcript")}
            parts.append(part)
        fields["content"] = parts
    if given["type"] == "function_call":
        fields.setdefault("call_id", new_id("call"))
    return Item(given.get("id") or new_id("item"), given["type"], "completed", fields, audio)
