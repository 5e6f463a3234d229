"""The user's side of an emulated session: audio in, turns and transcripts out."""

from __future__ import annotations

from collections.abc import Callable

from .actions import Event
from .channel import Channel
from .conversation import Item
from .input_buffer import InputBuffer
from .transcribing import PREFIX, Transcriber
from .vad import SpeechStarted, speech_ms
from .voice import BYTES_PER_MS


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
        self._stream = _Stream()
        self._held: list[Callable[[], None]] = []

    def configure(self) -> None:
        """Follow a changed configuration."""
        self.buffer.configure(self._channel.turn_detection or None)

    def append(self, event: Event) -> None:
        """`input_audio_buffer.append`; the only event without an answer."""
        channel = self._channel
        pcm = self.buffer.append(event["audio"], channel.config["audio"]["input"]["format"])
        if not channel.turn_detection:
            self._stream_transcript(pcm)
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
        self._stream = _Stream()
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

    @property
    def _transcriber(self) -> Transcriber | None:
        config = self._channel.config
        settings = config["audio"]["input"]["transcription"]
        return Transcriber(settings, config["include"]) if settings else None

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
        stream, self._stream = self._stream, _Stream()
        text = self._hear(pcm, stream)
        if (transcriber := self._transcriber) is not None:
            self._transcribe(transcriber, item, text, len(stream.told), len(pcm) / BYTES_PER_MS)

    def _hear(self, pcm: bytes, stream: _Stream) -> str:
        if stream.text is None and not speech_ms(pcm):
            return ""
        channel = self._channel
        text = channel.script.hear() if stream.text is None else stream.text
        channel.user_was_heard = True
        if channel.is_transcription:
            channel.script.take(heard=True)
        return text

    def _stream_transcript(self, pcm: bytes) -> None:
        transcriber, stream, channel = self._transcriber, self._stream, self._channel
        if transcriber is None or not transcriber.streams:
            return
        stream.speech_ms += speech_ms(pcm)
        if not stream.speech_ms:
            return
        if stream.text is None:
            stream.text = channel.script.hear()
        # The item these deltas name is the one that the commit will make.
        self._item_id = self._item_id or channel.new_id("item")
        due = int(stream.speech_ms / 1000 / channel.knobs.seconds_per_word)
        for delta in transcriber.deltas(stream.text)[len(stream.told) : due]:
            stream.told.append(delta["delta"])
            channel.emit(f"{PREFIX}.delta", item_id=self._item_id, content_index=0, **delta)

    def _transcribe(self, transcriber: Transcriber, item: Item, text: str, told: int, audio_ms: float) -> None:
        channel = self._channel

        def report() -> None:
            place = {"item_id": item.id, "content_index": 0}
            if error := channel.faults.transcription_error():
                channel.emit(f"{PREFIX}.failed", **place, error=error)
                return
            for delta in transcriber.deltas(text)[told:]:
                channel.emit(f"{PREFIX}.delta", **place, **delta)
            item.fields["content"][0]["transcript"] = text
            channel.emit(f"{PREFIX}.completed", **place, **transcriber.completed(text, audio_ms))

        if not channel.is_transcription and channel.knobs.transcripts != "async":
            self._held.append(report)
        else:
            channel.after(channel.knobs.transcription_latency, report)


class _Stream:
    """A transcript told while its turn is still being spoken."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.told: list[str] = []
        self.speech_ms = 0
