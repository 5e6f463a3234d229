"""What the parts of a story share: the entries, what the session was configured to be, and what belongs to no part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...recording.entries import Recording, audio_ms
from .facts import Lane, Moment, Problem
from .sound import Levels, levels
from .texts import number

_LONGEST_MS = 3_600_000.0
"""Of the audio of one event: OpenAI takes and sends far less."""


class Told:
    """A recording that is being read. `at` is the place of an entry in it."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.problems: list[Problem] = []
        self.moments: list[Moment] = []
        self.model = recording.header.model
        self.listener = "" if recording.header.kind == "realtime" else recording.header.model
        """The model that transcribes."""
        self.silence_ms = 0.0
        """What the server's detector waits for at the end of speech; 0.0: not known."""
        self._input = recording.header.input_format
        self._output = recording.header.output_format

    def at_ms(self, at: int) -> float:
        """When the entry was."""
        return self.recording.entries[at].t_ms

    def link(self, at: int) -> int:
        """The connection that it was on."""
        return self.recording.entries[at].link

    def type_of(self, at: int) -> str:
        """The type of its event."""
        return str(self.recording.entries[at].event.get("type", ""))

    def configured(self, event: Mapping[str, Any]) -> None:
        """session.created or session.updated: what the server has."""
        session = event.get("session")
        if not isinstance(session, Mapping):
            return
        if isinstance(session.get("model"), str):
            self.model = session["model"]
        heard, spoken = (_inside(session, "audio", side) for side in ("input", "output"))
        self._input = str(_inside(heard, "format").get("type") or self._input)
        self._output = str(_inside(spoken, "format").get("type") or self._output)
        if isinstance(heard, Mapping) and "turn_detection" in heard:
            self.silence_ms = number(_inside(heard, "turn_detection").get("silence_duration_ms")) or 0.0
        listener = _inside(heard, "transcription").get("model")
        if isinstance(listener, str):
            self.listener = listener

    def input_audio(self, audio: object) -> tuple[float, Levels | None]:
        """Length (ms) and levels of audio that was sent."""
        return _length_ms(audio, self._input), levels(audio, self._input)

    def output_audio(self, audio: object) -> tuple[float, Levels | None]:
        """Length (ms) and levels of audio that came."""
        return _length_ms(audio, self._output), levels(audio, self._output)

    def problem(self, at: int, lane: Lane, error: object) -> Problem:
        """Note an error: `{code, message}`, or a note's `{code, sentence}`."""
        found: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
        text = found.get("sentence") or found.get("message") or "an error without a message"
        problem = Problem(self.at_ms(at), lane, str(found.get("code") or found.get("type") or ""), str(text), [at])
        self.problems.append(problem)
        return problem


def _length_ms(audio: object, form: str) -> float:
    length = number(audio.get("ms")) if isinstance(audio, Mapping) else audio_ms(audio, form)
    return min(max(0.0, length or 0.0), _LONGEST_MS)


def _inside(value: Any, *names: str) -> Mapping[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}
