"""What an emulated translation model hears and says, one engine frame (200 ms of source) at a time.

It does not understand speech: where somebody begins to speak it takes the next turn of the script, and says its
translation `Knobs.translation_lag` later. But the same speech gives the same words at the same places, as it does with
a model: what a lost session has heard is known again by its samples, from wherever it begins.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from .knobs import Interpret, Knobs
from .reply import words
from .script import Script, Turn
from .vad import SpeechDetector, SpeechStarted, level, loud_steps
from .voice import BYTES_PER_MS

FRAME_MS = 200
FRAME_BYTES = FRAME_MS * BYTES_PER_MS
DELTA_MS = 400
DELTA_BYTES = DELTA_MS * BYTES_PER_MS
"""Observed: 400 ms of audio come with each step of 200 ms."""

_DETECTION = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 0, "silence_duration_ms": 500}
_PIECE_BYTES = 10 * BYTES_PER_MS
"""What is known again. Rooms have frames of 10 ms, so sessions that begin at different times cut speech alike."""
_REMEMBERED = 12_000


@dataclass(frozen=True, slots=True)
class Said:
    """What comes of one frame: words of the source, words of the translation, its audio (None: none)."""

    source: tuple[str, ...]
    text: tuple[str, ...]
    pcm: bytes | None


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of speech: the turn it is of, how far into it (ms), and when that is said, from its beginning (ms)."""

    turn: Turn
    place_ms: int
    said_after_ms: int


class Memory:
    """Speech that the sessions of an emulator have heard, by its samples and the language it was translated into."""

    def __init__(self) -> None:
        self._pieces: OrderedDict[tuple[str, bytes], tuple[Callable[[], bool], Heard]] = OrderedDict()

    def note(self, language: str, piece: bytes, live: Callable[[], bool], heard: Heard) -> None:
        """This piece was heard by a session; `live` says whether it goes on."""
        self._pieces.setdefault(_key(language, piece), (live, heard))
        if len(self._pieces) > _REMEMBERED:
            self._pieces.popitem(last=False)

    def find(self, language: str, piece: bytes) -> Heard | None:
        """What is known of a piece that a lost session heard. Of two that go on, each has speech of its own."""
        found = self._pieces.get(_key(language, piece))
        return None if found is None or found[0]() else found[1]


def _key(language: str, piece: bytes) -> tuple[str, bytes]:
    return language, hashlib.blake2b(piece, digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class _Line:
    """One translation on its way: from which place of the source on it is said, 400 ms of it for each frame."""

    language: str
    turn: Turn
    began_ms: int
    said_at_ms: int
    text: tuple[str, ...]
    pieces: tuple[bytes, ...]

    @property
    def over_at_ms(self) -> int:
        return self.said_at_ms + max(1, len(self.pieces)) * FRAME_MS

    def say(self, now_ms: int) -> Said:
        number = (now_ms - self.said_at_ms) // FRAME_MS
        if number:
            return Said((), (), self.pieces[number])
        source = tuple(words(self.turn.heard)) if self.turn.heard else ()
        return Said(source, self.text, self.pieces[0] if self.pieces else None)


_NOTHING = Said((), (), None)


class Interpreter:
    """One session's model. `live` says whether that goes on; `memory` is shared with the others of an emulator."""

    def __init__(self, script: Script, knobs: Knobs, memory: Memory, live: Callable[[], bool]) -> None:
        self._script = script
        self._knobs = knobs
        self._memory = memory
        self._live = live
        self._now_ms = 0
        self._detector = SpeechDetector(_DETECTION)
        self._hearing: _Line | None = None  # the translation of what is being heard
        self._lines: deque[_Line] = deque()
        self._echoes: deque[tuple[int, str, bytes]] = deque()

    @property
    def idle(self) -> bool:
        """Whether there is nothing more to say of what was heard."""
        return not self._lines and not self._echoes

    def hear(self, frame: bytes, language: str) -> Said:
        """Take one frame of source (9,600 bytes; silence after the end), say what is due by now."""
        now, self._now_ms = self._now_ms, self._now_ms + FRAME_MS
        if self._knobs.interpret is not None:
            return self._echo(frame, now, language, self._knobs.interpret)
        was_speaking = self._detector.speaking
        began = any(isinstance(event, SpeechStarted) for event in self._detector.feed(frame))
        if began or (was_speaking and self._hearing is None):
            self._hearing = self._begin(frame, now, language)
            self._lines.append(self._hearing)
        if (line := self._hearing) is not None:
            for at, piece in _loud(frame):
                heard = Heard(line.turn, now + at - line.began_ms, line.said_at_ms - line.began_ms)
                self._memory.note(line.language, piece, self._live, heard)
        if not self._detector.speaking:
            self._hearing = None
        while self._lines and self._lines[0].over_at_ms <= now:
            self._lines.popleft()
        return self._lines[0].say(now) if self._lines and self._lines[0].said_at_ms <= now else _NOTHING

    def _begin(self, frame: bytes, now: int, language: str) -> _Line:
        own = language if language in self._script.translations else ""
        known = [(at, heard) for at, piece in _loud(frame) if (heard := self._memory.find(own, piece))]
        if known:
            at, heard = known[0]
            turn, began_ms = heard.turn, now + at - heard.place_ms
            said_at_ms = began_ms + heard.said_after_ms
        else:
            turn, began_ms = self._script.take_translation(language), now
            lag_ms = round(self._knobs.translation_lag * 1000) // FRAME_MS * FRAME_MS
            said_at_ms = max(now + lag_ms, self._lines[-1].over_at_ms if self._lines else 0)
        spoken = [self._knobs.speak(text, "alloy", 1.0) for text in turn.texts]
        pieces = [pcm[at : at + DELTA_BYTES] for pcm in spoken for at in range(0, len(pcm), DELTA_BYTES)]
        text = [word for text in turn.texts for word in words(text)]
        return _Line(own, turn, began_ms, said_at_ms, tuple(text), tuple(pieces))

    def _echo(self, frame: bytes, now: int, language: str, interpret: Interpret) -> Said:
        if loud_steps(frame, level(0.5)).any():
            text, said = interpret(frame, language)
            due = now + round(self._knobs.translation_lag * 1000)
            self._echoes.append((due, text, said[:DELTA_BYTES]))
            rest = range(DELTA_BYTES, len(said), DELTA_BYTES)
            self._echoes.extend((due, "", said[at : at + DELTA_BYTES]) for at in rest)
        if not self._echoes or self._echoes[0][0] > now:
            return _NOTHING
        _, text, pcm = self._echoes.popleft()
        return Said((), (text,) if text else (), pcm)


def _loud(frame: bytes) -> list[tuple[int, bytes]]:
    """The pieces of a frame that have something to be known by, and where they begin in it (ms)."""
    pieces = [(at // BYTES_PER_MS, frame[at : at + _PIECE_BYTES]) for at in range(0, len(frame), _PIECE_BYTES)]
    return [(at, piece) for at, piece in pieces if len(set(piece)) > 32]
