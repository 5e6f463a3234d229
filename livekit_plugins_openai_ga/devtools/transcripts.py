"""What `listen` makes of transcripts: lines of text, a live terminal, JSON Lines, SubRip, WebVTT.

A writer is told what was recognized and hands finished characters to `write`; it opens and flushes nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from livekit.agents import stt

from .captions import VTT_HEADER, Captioner, Cue
from .display import LiveLine, clean, stamp, width, wrap

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Transcript:
    """Words of one committed piece of speech. Times in seconds of the audio; None: not known (yet)."""

    item_id: str
    text: str
    start: float | None
    end: float | None
    language: str | None
    confidence: float | None

    @classmethod
    def of(cls, event: stt.SpeechEvent) -> Transcript:
        """Read an INTERIM_TRANSCRIPT or FINAL_TRANSCRIPT; an event without alternatives has no text."""
        if not event.alternatives:
            return cls(event.request_id, "", None, None, None, None)
        best = event.alternatives[0]
        timed = best.end_time > 0
        return cls(
            item_id=event.request_id,
            text=clean(best.text),
            start=round(best.start_time, 3) if timed or best.start_time > 0 else None,
            end=round(best.end_time, 3) if timed else None,
            language=str(best.language) or None,
            # LiveKit has no word for "not known"; a model that is not sure of anything never says exactly 0.
            confidence=round(best.confidence, 4) or None,
        )


class Writer:
    """Takes everything and writes nothing; the formats say what they need."""

    def interim(self, transcript: Transcript) -> None:
        """What is recognized of an item so far; it may still change."""

    def final(self, transcript: Transcript) -> None:
        """An item is finished. Its text is "" when it was silence."""

    def usage(self, item_id: str, usage: stt.RecognitionUsage) -> None:
        """What the server bills for an item."""

    def failed(self, message: str) -> None:
        """An item or a connection failed, and the work goes on."""

    def close(self) -> None:
        """Nothing more will come."""

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Something else is written to the same screen inside."""
        yield


class TextWriter(Writer):
    """One line for each final transcript: `[00:03.2] text`, with the language whenever it changes."""

    def __init__(self, write: Write, *, language: str = "") -> None:
        """`language`: what is expected; it is not mentioned until another one is heard."""
        self._write = write
        self._language = language

    def final(self, transcript: Transcript) -> None:
        """Write the line; silence has none."""
        if transcript.text:
            self._write(self._lead(transcript) + transcript.text + "\n")

    def _lead(self, transcript: Transcript) -> str:
        lead = f"{stamp(transcript.start or 0)} "
        if transcript.language and transcript.language != self._language:
            self._language = transcript.language
            lead += f"({transcript.language}) "
        return lead


class TerminalWriter(TextWriter):
    """The same on a terminal: what is still being said is redrawn in the last line, until its final takes it."""

    def __init__(self, write: Write, columns: Callable[[], int], *, language: str = "") -> None:
        """`columns`: how wide the terminal is now."""
        super().__init__(write, language=language)
        self._columns = columns
        self._line = LiveLine()
        self._open: dict[str, Transcript] = {}

    def interim(self, transcript: Transcript) -> None:
        """Show the words among those that wait for their final."""
        self._open[transcript.item_id] = transcript
        self._draw()

    def final(self, transcript: Transcript) -> None:
        """Replace the live line by the final text, wrapped, and begin a new one."""
        # Finals come in the order of the audio: an item before this one that is still open has failed.
        if transcript.item_id in self._open:
            while next(iter(self._open)) != transcript.item_id:
                del self._open[next(iter(self._open))]
            del self._open[transcript.item_id]
        if transcript.text:
            self._write(self._line.erase() + self._wrapped(self._lead(transcript), transcript.text))
        self._draw()

    def failed(self, message: str) -> None:
        """Take the live words away: they failed, or are heard again as another item after a lost connection."""
        self._open.clear()
        self._draw()

    def close(self) -> None:
        """Take away what never became final."""
        self._open.clear()
        self._draw()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Lift the live line, and put it back."""
        self._write(self._line.lift())
        yield
        self._draw()

    def _draw(self) -> None:
        shown = [transcript for transcript in self._open.values() if transcript.text]
        if not shown:
            self._write(self._line.erase())
            return
        lead = "" if shown[0].start is None else f"{stamp(shown[0].start)} "
        text = " ".join(transcript.text for transcript in shown)
        self._write(self._line.draw(lead, text, self._columns()))

    def _wrapped(self, lead: str, text: str) -> str:
        indent = width(lead)
        # Beside a lead that fills the terminal nothing can be wrapped: the terminal does what it can.
        room = self._columns() - 1 - indent
        lines = wrap(text, room) if room >= indent else [text]
        return "".join(f"{' ' * indent if number else lead}{line}\n" for number, line in enumerate(lines))


class JsonWriter(Writer):
    """JSON Lines: one object for each event, with null for what is not known."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def interim(self, transcript: Transcript) -> None:
        """`{"type": "interim", ...}` with the fields of `Transcript`."""
        self._line("interim", **asdict(transcript))

    def final(self, transcript: Transcript) -> None:
        """`{"type": "final", ...}` with the fields of `Transcript`; silence is told, too."""
        self._line("final", **asdict(transcript))

    def usage(self, item_id: str, usage: stt.RecognitionUsage) -> None:
        """`{"type": "usage", ...}`: seconds of audio, or tokens, as the model is billed."""
        tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        self._line("usage", item_id=item_id, audio_seconds=usage.audio_duration, **tokens)

    def failed(self, message: str) -> None:
        """`{"type": "error", "message": ...}`."""
        self._line("error", message=clean(message))

    def _line(self, kind: str, **fields: object) -> None:
        self._write(json.dumps({"type": kind, **fields}, ensure_ascii=False) + "\n")


class CaptionWriter(Writer):
    """Subtitles, cue by cue as the finals come."""

    def __init__(self, write: Write, cue: Callable[[Cue], str], *, header: str = "") -> None:
        self._write = write
        self._cue = cue
        self._captioner = Captioner()
        write(header)

    def final(self, transcript: Transcript) -> None:
        """Write the cues of the transcript."""
        start, end = transcript.start or 0.0, transcript.end or 0.0
        for cue in self._captioner.add(start, end, transcript.text):
            self._write(self._cue(cue))


FORMATS: dict[str, Callable[[Write], Writer]] = {
    "json": JsonWriter,
    "srt": lambda write: CaptionWriter(write, Cue.srt),
    "vtt": lambda write: CaptionWriter(write, Cue.vtt, header=VTT_HEADER),
}
"""What the options --json, --srt and --vtt write."""
