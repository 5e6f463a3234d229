"""Source audio in the steps that a translation session takes, with silence where the source sends nothing.

A microphone that is muted sends no frames, and without audio the model's time stands still: the end of a sentence
would stay unsaid. So silence is filled in when nothing came for a while, one step after the other at the pace of a
clock. What comes late is sent at once, all of it.

`now` is seconds of any steady clock.
"""

from __future__ import annotations

from ..wire.translation import ENGINE_FRAME_BYTES, ENGINE_FRAME_MS

STEP_S = ENGINE_FRAME_MS / 1000

PATIENCE_S = 0.5
"""A source that sent nothing for this long is silent. Less would cut words of one whose frames come unevenly."""

_SILENCE = bytes(ENGINE_FRAME_BYTES)
"""One for all: what is sent is kept for a reconnect, and a source that is muted sends nothing else."""

STALL_S = 0.1
"""Who held the clock up held the frames up, too: so much later they are there."""


class Pacing:
    """Holds less than one step of audio. Every chunk that comes out is one step long: 9,600 bytes."""

    __slots__ = ("_held", "_stalled", "due")

    def __init__(self) -> None:
        self._held = b""
        self._stalled = False  # the clock was late last time
        self.due: float | None = None
        """When silence is filled in, unless audio comes before; None: never, as things are."""

    def begin(self, now: float) -> None:
        """There is a session that wants audio from now on."""
        self.due = now + STEP_S

    def end(self) -> None:
        """There is no session any more. Silence need not be made up for."""
        self.due = None

    def push(self, pcm: bytes, now: float) -> list[bytes]:
        """The source sends: int16 mono PCM at 24 kHz of any length, also none. Returns the steps that are complete."""
        if self.due is not None:
            self.due = now + PATIENCE_S
        held = self._held + pcm if self._held else pcm
        whole = len(held) // ENGINE_FRAME_BYTES * ENGINE_FRAME_BYTES
        self._held = held[whole:]
        return [held[start : start + ENGINE_FRAME_BYTES] for start in range(0, whole, ENGINE_FRAME_BYTES)]

    def fill(self, rest: bytes, now: float) -> list[bytes]:
        """It is due: `rest`, what is left of the source's audio, and a step with silence in it.

        A clock that comes a step too late, or more, was held up, and is asked to come again. Then it gets one step,
        too: silence is not made up for.
        """
        late = 0.0 if self.due is None else now - self.due
        self._stalled = late >= STEP_S and not self._stalled
        if self._stalled:
            steps = self.push(rest, now)
            self.due = now + STALL_S
            return steps
        steps = self.flush(rest) or [_SILENCE]
        self.due = now + STEP_S - (late if late < STEP_S else 0.0)
        return steps

    def flush(self, rest: bytes) -> list[bytes]:
        """What is held, and `rest`, made whole with silence; nothing when there is nothing."""
        held, self._held = self._held + rest, b""
        held += bytes(-len(held) % ENGINE_FRAME_BYTES)
        return [held[start : start + ENGINE_FRAME_BYTES] for start in range(0, len(held), ENGINE_FRAME_BYTES)]
