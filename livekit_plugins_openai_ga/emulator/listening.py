"""The user's side of an emulated session: audio in, turns and transcripts out."""

from __future__ import annotations

from collections.abc import Callable

from .actions import Event
from .channel import Channel
from .conversation import Item
from .hearing import Hearing
from .input_buffer import InputBuffer
from .transcribing import PREFIX
from .vad import SpeechStarted


class Listening:
    """Appends, commits, voice activity and input transcription.

    `on_speech` is called when the user starts to speak, `on_turn` when the detector has ended a turn.
    """

    def __init__(self, channel: Channel, *, on_speech: Callable[[], None], on_turn: Callable[[], None]) -> None:
        self._channel = channel
        self._on_speech = on_speech
        self._on_turn = on_turn
        self.buffer = InputBuffer(channel.turn_detection or None)
        self._item_id = ""
        self._last_committed_id: str | None = None
        self._hearing = Hearing(channel)
        self._held: list[Callable[[], None]] = []

    def configure(self) -> None:
        """Follow a changed configuration."""
        self.buffer.configure(self._channel.turn_detection or None)

    def append(self, event: Event) -> None:
        """`input_audio_buffer.append`; the only event without an answer."""
        self._heard(self.buffer.append(event["audio"], self._channel.config["audio"]["input"]["format"]))

    def hear(self, pcm: bytes) -> None:
        """Audio that came another way than by an event: 24 kHz int16 mono PCM."""
        self.buffer.keep(pcm)
        self._heard(pcm)

    def _heard(self, pcm: bytes) -> None:
        channel = self._channel
        if not channel.turn_detection:
            self._tell(self._hearing.follow(pcm))
        for found in self.buffer.detect(pcm):
            if isinstance(found, SpeechStarted):
                self._item_id = channel.new_id("item")
                channel.emit(
                    "input_audio_buffer.speech_started", audio_start_ms=found.audio_start_ms, item_id=self._item_id
                )
                self._on_speech()
            else:
                item_id = self._claim_item_id()
                channel.emit("input_audio_buffer.speech_stopped", audio_end_ms=found.audio_end_ms, item_id=item_id)
                self._commit_audio(item_id, self.buffer.take_turn(found.audio_end_ms))
                self._on_turn()

    def commit(self, _event: Event) -> None:
        """`input_audio_buffer.commit`; never creates a response."""
        pcm = self.buffer.take_all()
        self._commit_audio(self._claim_item_id(), pcm)

    def clear(self, _event: Event) -> None:
        """`input_audio_buffer.clear`."""
        self.buffer.clear()
        self._item_id = ""
        self._hearing.forget()
        self._hearing = Hearing(self._channel)
        self._channel.emit("input_audio_buffer.cleared")

    def time_out(self, idle_ms: int) -> None:
        """Commit the silence of a user who does not answer, as `idle_timeout_ms` asks."""
        end = self.buffer.end_ms
        item_id = self._channel.new_id("item")
        self._channel.emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=max(0, end - idle_ms),
            audio_end_ms=end,
            item_id=item_id,
        )
        self._commit_audio(item_id, self.buffer.take_turn(end))
        self._on_turn()

    def report_held_transcripts(self) -> None:
        """Send the transcripts that a knob ties to the reply."""
        held, self._held = self._held, []
        for report in held:
            report()

    def _claim_item_id(self) -> str:
        item_id, self._item_id = self._item_id or self._channel.new_id("item"), ""
        return item_id

    def _commit_audio(self, item_id: str, pcm: bytes) -> None:
        channel = self._channel
        previous = self._last_committed_id if channel.is_transcription else channel.conversation.last_id
        channel.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        self._last_committed_id = item_id
        content = [{"type": "input_audio", "transcript": None}]
        item = Item(item_id, "message", "completed", {"role": "user", "content": content}, bytearray(pcm))
        channel.conversation.add(item)
        for event_type in ("conversation.item.added", "conversation.item.done"):
            channel.emit(event_type, item=item.payload(), previous_item_id=previous)
        hearing, self._hearing = self._hearing, Hearing(channel)
        report = hearing.commit(item, pcm)
        if report is None:
            return
        if not channel.is_transcription and channel.knobs.transcripts != "async":
            self._held.append(report)
        else:
            channel.after(channel.knobs.transcription_latency, report)

    def _tell(self, deltas: list[Event]) -> None:
        for delta in deltas:
            # The item these deltas name is the one that the commit will make.
            self._item_id = self._item_id or self._channel.new_id("item")
            self._channel.emit(f"{PREFIX}.delta", item_id=self._item_id, content_index=0, **delta)
