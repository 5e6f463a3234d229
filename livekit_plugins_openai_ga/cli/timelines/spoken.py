"""The agent's side, as it was played.

Audio comes faster than it is played, and nobody records when it is heard. So it is laid out as a player does: each
piece begins when it came, or when what came before it has been played. What was cut ends where
`conversation.item.truncate` says, else where the user began to speak or the client cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .facts import Speech
from .sound import Levels

# Less than that is a rounding, not a cut.
_SEAM_MS = 1.0


@dataclass(slots=True)
class Piece:
    """Audio of one delta: when it is played (ms), and its levels (None: not kept)."""

    start_ms: float
    length_ms: float
    levels: Levels | None


@dataclass(slots=True)
class _Said:
    """One message: its pieces, how much of it was heard (None: all), whether the server itself cut it."""

    item: str
    reply: str
    pieces: list[Piece] = field(default_factory=list)
    heard_ms: float | None = None
    cleared: bool = False
    events: list[int] = field(default_factory=list)

    @property
    def made_ms(self) -> float:
        return sum(piece.length_ms for piece in self.pieces)

    def heard(self) -> list[Piece]:
        """The pieces that were played, the last one as far as it was."""
        left = self.made_ms if self.heard_ms is None else self.heard_ms
        played: list[Piece] = []
        for piece in self.pieces:
            if left <= 0:
                break
            played.append(Piece(piece.start_ms, min(piece.length_ms, left), piece.levels))
            left -= piece.length_ms
        return played

    def played_by(self, at_ms: float) -> float:
        """How much of it is played at a time."""
        return sum(min(piece.length_ms, max(0.0, at_ms - piece.start_ms)) for piece in self.pieces)


class Playing:
    """What is played, one message after the other."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}
        self._free_ms = 0.0  # when all that came so far is played
        self._buffers: dict[str, Piece] = {}  # played by the server itself (WebRTC, SIP), by response

    def came(self, at_ms: float, reply: str, item: str, length_ms: float, heard: Levels | None) -> None:
        """A piece of a message came."""
        said = self._said.setdefault(item, _Said(item, reply))
        piece = Piece(max(at_ms, self._free_ms), length_ms, heard)
        said.pieces.append(piece)
        # What comes of a message that was cut is thrown away.
        if said.heard_ms is None:
            self._free_ms = piece.start_ms + length_ms

    def truncated(self, at_ms: float, item: str, heard_ms: float, event: int) -> None:
        """The client says how much of it was heard. What was queued behind it was not heard at all."""
        said = self._said.get(item)
        if said is None:
            return
        said.heard_ms = min(heard_ms, said.made_ms)
        said.events.append(event)
        begun = said.pieces[0].start_ms if said.pieces else at_ms
        for other in self._said.values():
            if other.heard_ms is None and other.pieces and other.pieces[0].start_ms > begun:
                other.heard_ms = 0.0
        self._free_ms = min(self._free_ms, at_ms)

    def stopped(self, at_ms: float, reply: str) -> None:
        """A reply was cancelled: no more of it is played from now on, unless the client says otherwise."""
        for said in self._said.values():
            if said.reply == reply and said.heard_ms is None and said.played_by(at_ms) < said.made_ms:
                said.heard_ms = said.played_by(at_ms)
                self._free_ms = min(self._free_ms, at_ms)

    def buffer_started(self, at_ms: float, reply: str) -> None:
        """output_audio_buffer.started: the server plays it."""
        self._buffers[reply] = Piece(at_ms, 0.0, None)

    def buffer_ended(self, at_ms: float, reply: str, *, cleared: bool) -> None:
        """output_audio_buffer.stopped or cleared."""
        piece = self._buffers.pop(reply, None)
        if piece is None:
            return
        piece.length_ms = max(0.0, at_ms - piece.start_ms)
        self._said[reply] = _Said(reply, reply, [piece], cleared=cleared)

    def ended(self, at_ms: float) -> tuple[list[Speech], list[Piece]]:
        """What was played, and its pieces; `at_ms` is the end of the recording."""
        for reply in list(self._buffers):
            self.buffer_ended(at_ms, reply, cleared=False)
        speeches, pieces = [], []
        for said in self._said.values():
            heard = said.heard()
            pieces += heard
            start = said.pieces[0].start_ms
            end = heard[-1].start_ms + heard[-1].length_ms if heard else start
            made = said.made_ms
            heard_ms = made if said.heard_ms is None else said.heard_ms
            cut = said.cleared or heard_ms < made - _SEAM_MS
            speeches.append(Speech(said.item, said.reply, start, end, made, heard_ms, cut=cut, events=said.events))
        return sorted(speeches, key=lambda one: one.start_ms), sorted(pieces, key=lambda one: one.start_ms)
