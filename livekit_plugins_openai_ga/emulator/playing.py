"""What the server of a call plays to the caller: replies, made faster than they are heard, in a row."""

from __future__ import annotations

from dataclasses import dataclass, field

from .channel import Channel
from .voice import BYTES_PER_MS


@dataclass(slots=True)
class _Speech:
    """One message of a reply: what is left to play of it, and what was played."""

    response_id: str
    item_id: str
    left: bytearray = field(default_factory=bytearray)
    played: int = 0


class Playing:
    """The output buffer of a call. It tells when a reply begins to be heard, and when it ends."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._row: list[_Speech] = []
        self._current: str | None = None  # the response that is heard
        self._made: set[str] = set()  # responses of which there is no more to come

    def put(self, response_id: str, item_id: str, pcm: bytes) -> None:
        """More speech: 24 kHz int16 mono PCM."""
        if not self._row or self._row[-1].item_id != item_id:
            self._row.append(_Speech(response_id, item_id))
        self._row[-1].left += pcm

    def complete(self, response_id: str) -> None:
        """There is no more to come of this response."""
        if any(speech.response_id == response_id for speech in self._row) or self._current == response_id:
            self._made.add(response_id)

    def take(self, size: int) -> bytes:
        """The next `size` bytes that the caller hears; silence where there is nothing to say."""
        heard = bytearray()
        while self._row and len(heard) < size:
            speech = self._row[0]
            self._begin(speech.response_id)
            piece = speech.left[: size - len(heard)]
            del speech.left[: len(piece)]
            speech.played += len(piece)
            heard += piece
            if speech.left or not self._over(speech):
                break
            self._row.pop(0)
            self._end(speech.response_id)
        return bytes(heard).ljust(size, b"\0")

    def _over(self, speech: _Speech) -> bool:
        return speech.response_id in self._made or speech is not self._row[-1]

    def _begin(self, response_id: str) -> None:
        if self._current != response_id:
            self._current = response_id
            self._channel.emit("output_audio_buffer.started", response_id=response_id)

    def _end(self, response_id: str) -> None:
        if not any(speech.response_id == response_id for speech in self._row):
            self._made.discard(response_id)
            self._current = None
            self._channel.emit("output_audio_buffer.stopped", response_id=response_id)

    def clear(self) -> None:
        """Play nothing more of what there is. What was not heard of it leaves the conversation."""
        row, self._row, response_id, self._current = self._row, [], self._current, None
        self._made.clear()
        if response_id is None:
            return
        self._channel.emit("output_audio_buffer.cleared", response_id=response_id)
        for speech in row:
            heard = speech.played // BYTES_PER_MS
            item = self._channel.conversation.find(speech.item_id)
            if item is not None and 0 < heard < item.audio_ms:
                self._channel.conversation.truncate(item.id, 0, heard)
                self._channel.emit("conversation.item.truncated", item_id=item.id, content_index=0, audio_end_ms=heard)
