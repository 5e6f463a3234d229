"""Speech to text over any number of connections: audio progress and server events in, captions out.

Who ends a segment of speech is one of three: the server's turn detection, a detector here (LiveKit's VAD), or the
caller, who flushes. Whoever it is, a segment that grows too long is committed, and the tail is committed at the end.

All places are ms of the audio that was ever put into the stream; `place` turns the server's count, which begins anew
with each connection, into that. `now` is seconds of any steady clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import errors
from ..errors import Failure, Kind
from ..wire import client_events
from ..wire import server_events as ev
from ..wire.session import Payload
from . import effects as fx
from . import passing
from .effects import Effects
from .segments import Commit, Ending, Segment, Segments, patience
from .setup import Phase, Setup, failure_of
from .turns import confidence
from .usage import transcription_usage

MIN_COMMIT_MS = 100.0
"""The server refuses to make an item of less."""

KEPT_SILENCE_MS = 1000.0
"""When long silence is cleared, this much stays: a word may have begun that no detector has told of yet."""

RESUME_S = 2.0
"""Speech cut by a long segment or a reconnect goes on without a new start when it is heard again in this time."""


class Hearing:
    """One stream of speech. `wanted` is the first `session` payload; `max_segment_ms` None sets no limit."""

    def __init__(
        self,
        wanted: Payload,
        *,
        server_turns: bool,
        local_vad: bool,
        max_segment_ms: float | None,
        place: Callable[[float], float],
    ) -> None:
        self.setup = Setup(wanted, self._event_id)
        self._server_turns = server_turns
        self._local_vad = local_vad
        self._max_segment_ms = max_segment_ms
        self._place = place
        self._serial = 0
        self._segments = Segments()
        self._commits: list[Commit] = []  # oldest first; an empty deque takes 0.6 KiB
        self._put_ms = 0.0
        self._claimed_ms = 0.0  # up to here the audio belongs to segments
        self._speaking = False  # as told
        self._began_ms: float | None = None  # where the speech that goes on began
        self._server_hears: str | None = None  # the item of the speech the server hears
        self._resume_by: float | None = None
        self._ended_ms = 0.0  # where the last speech ended whose end was told
        self._now = 0.0  # when something was last heard of
        self._window = (0.0, 0.0)  # ms of padding and of silence that the server's turn detection adds to speech
        self._cleared_ms = 0.0  # up to here silence was cleared
        self._again_ms = 0.0  # up to here speech without a text is sent again
        self._finishing = False
        self._finished = False

    @property
    def quiet(self) -> bool:
        """Nobody speaks and no text is awaited: nothing is lost by a change of connection now."""
        return not self._speaking and self._server_hears is None and not self.behind

    @property
    def detects(self) -> bool:
        """Whether anybody, here or at the server, detects speech."""
        return self._server_turns or self._local_vad

    @property
    def behind(self) -> bool:
        """Whether a text is awaited."""
        return bool(self._commits) or bool(self._segments)

    # -- the connection ------------------------------------------------------------------------------------------

    def opened(self, now: float, told: dict[str, Any] | None = None) -> Effects:
        """A new connection has a session; sends the configuration, or what it was not `told` of it ahead."""
        return self.setup.opened(told)

    def configure(self, wanted: Payload, key: str) -> Effects:
        """Change the configuration; `key` is settled when the server answers."""
        return self.setup.configure(wanted, key)

    def detect(self, *, server_turns: bool, local_vad: bool) -> Effects:
        """Say who ends segments from now on."""
        handed_over, listened = self._server_turns and not server_turns, self._local_vad
        # A detector that is listened to no more will not tell of the end.
        effects = self._tell_speech(False, self._put_ms) if self._local_vad and not local_vad else []
        self._server_turns = server_turns
        self._local_vad = local_vad
        # Speech that the server has not ended, or that is sent again, has no end that anybody here knows of.
        if handed_over and (self._speaking or self._claimed_ms < self._again_ms):
            effects += self._commit(cut=True)
        if handed_over and self._speaking and not listened:
            self._resume_by = self._now + RESUME_S  # the detector here may have begun too late to hear it
        if handed_over:
            self._server_hears = None
        return effects

    @property
    def phase(self) -> Phase:
        """How far the current connection is."""
        return self.setup.phase

    def receive(self, event: ev.ServerEvent, now: float) -> Effects:
        """One server event. Never raises, whatever the order of events."""
        self._now = now
        handler = HANDLERS.get(type(event))
        if handler is None or self._finished:
            return []
        effects = handler(self, event, now)
        if any(isinstance(effect, fx.Ready) for effect in effects) and self._speaking and not self._local_vad:
            self._resume_by = now + RESUME_S
        return self._then(effects)

    def sent(self, event_id: str, now: float) -> None:
        """An event of ours left."""
        for commit in self._commits:
            if commit.event_id == event_id:
                commit.sent_at = now

    def closed(self, now: float) -> Effects:
        """The connection is gone. Audio that has no text yet is sent again on the next one, with the commits in it."""
        self.setup.closed()
        if self._segments:
            self._again_ms = self._put_ms
        unanswered, effects = self._segments.lost()
        self._commits[:0] = unanswered
        for commit in self._commits:
            commit.sent_at = None
        self._server_hears = None
        self._resume_by = None
        self._claimed_ms = max([self._segments.told_ms, self._cleared_ms, *(commit.at_ms for commit in self._commits)])
        if self._finishing:
            effects += self._commit(cut=False)
        return self._then(effects)

    # -- the audio -----------------------------------------------------------------------------------------------

    def put(self, until_ms: float, now: float) -> Effects:
        """Audio was put in, up to this place. A segment that has become too long is committed, silence is cleared."""
        self._now = now
        self._put_ms = until_ms
        start = self._claimed_ms
        if self._finished or (self._server_turns and self._server_hears is None):
            return []
        if self._server_turns or (self._local_vad and self._speaking):
            start = max(start, self._began_ms or 0.0)
        if self._max_segment_ms is None or until_ms - start < self._max_segment_ms:
            return []
        if self._server_turns or self._speaking or not self._local_vad or self._segments.whispering:
            return self._commit(cut=True)
        self._claimed_ms = self._cleared_ms = until_ms - KEPT_SILENCE_MS
        return [fx.ClearAudio(client_events.audio_clear(event_id=self._event_id("clear")), KEPT_SILENCE_MS)]

    def speech(self, speaking: bool, at_ms: float, now: float) -> Effects:
        """The detector here heard somebody begin, or stop. Its stop ends a segment, unless the server does that."""
        if self._finished or not self._local_vad:  # a detector may listen before it is asked, or a little after
            return []
        effects = self._tell_speech(speaking, at_ms)
        self._resume_by = None
        if speaking:
            self._began_ms = at_ms
        elif not self._server_turns:
            effects += self._commit(cut=False, end_ms=at_ms)
        return effects

    def flush(self, now: float) -> Effects:
        """End the segment here, whoever else may."""
        return self._commit(cut=False)

    def finish(self, now: float) -> Effects:
        """There will be no more audio: the tail is committed, and `Finished` told when every text has come."""
        self._finishing = True
        stops = self._tell_speech(False, self._put_ms) if self._local_vad else []
        return self._then([*stops, *self._commit(cut=False)])

    # -- time ----------------------------------------------------------------------------------------------------

    def due(self) -> float | None:
        """When `tick` has something to do; None: never, as things are."""
        if self._finished:
            return None
        times = [self._segments.due(), self._resume_by, self._unanswered_at()]
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> Effects:
        """Time has passed."""
        effects = self._segments.tick(now)
        if self._resume_by is not None and now >= self._resume_by:
            self._resume_by = None
            effects += self._tell_speech(False, None)
        if (unanswered := self._unanswered_at()) is not None and now >= unanswered:
            commit = self._commits.pop(0)
            failure = errors.from_server_error("transcription_overdue", None, None)
            effects += [fx.CommitRefused(commit.event_id), fx.SegmentFailed("", failure)]
        return self._then(self._silent_after(effects))

    # -- inside --------------------------------------------------------------------------------------------------

    def _event_id(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}_{self._serial}"

    def _unanswered_at(self) -> float | None:
        sent_at = self._commits[0].sent_at if self._commits else None
        return None if sent_at is None else sent_at + patience(self._commits[0].end_ms - self._commits[0].start_ms)

    def _then(self, effects: Effects) -> Effects:
        if self._finishing and not self._finished and not self.behind:
            self._finished = True
            effects = [*effects, *self._tell_speech(False, None), fx.Finished()]
        return effects

    def _tell_speech(self, speaking: bool, at_ms: float | None, item_id: str = "") -> Effects:
        if speaking == self._speaking:
            return []
        self._speaking = speaking
        if not speaking and at_ms is not None:
            self._ended_ms = at_ms
        return [fx.Speech(speaking, item_id, at_ms)]

    def _commit(self, *, cut: bool, end_ms: float | None = None) -> Effects:
        if self._finished or self._put_ms - self._claimed_ms < MIN_COMMIT_MS:
            return []
        start = max(self._claimed_ms, self._began_ms or 0.0)
        end = self._put_ms if end_ms is None else max(start, end_ms)
        commit = Commit(self._event_id("commit"), self._put_ms, start, end, cut)
        self._commits.append(commit)
        self._claimed_ms = self._put_ms
        return [fx.CommitAudio(client_events.audio_commit(event_id=commit.event_id))]

    def _session_updated(self, event: ev.SessionUpdated, now: float) -> Effects:
        told = _turn_detection(event.session) or _turn_detection(self.setup.config.wanted)
        self._window = (_ms(told, "prefix_padding_ms"), _ms(told, "silence_duration_ms"))
        return self.setup.updated(event)

    def _error(self, event: ev.Error, now: float) -> Effects:
        failure = failure_of(event.error)
        if failure.kind in (Kind.FATAL, Kind.RECONNECT):  # a close follows, or should
            return [fx.Disconnect(failure)]
        if (told := self.setup.refused(failure)) is not None:
            return told
        if (commit := self._refused_commit(failure)) is not None:
            refused = fx.CommitRefused(commit.event_id)
            if failure.kind is Kind.BENIGN:  # turn detection was faster
                return [refused, fx.Noticed("benign error", failure.code)]
            return [refused, fx.SegmentFailed("", failure)]
        return [fx.Noticed("benign error", failure.code) if failure.kind is Kind.BENIGN else fx.Report(failure)]

    def _refused_commit(self, failure: Failure) -> Commit | None:
        for commit in self._commits:
            named = failure.client_event_id == commit.event_id
            if named or (failure.client_event_id is None and failure.code == "input_audio_buffer_commit_empty"):
                self._commits.remove(commit)
                return commit
        return None

    def _speech_started(self, event: ev.SpeechStarted, now: float) -> Effects:
        segment = self._segments.get(event.item_id)
        self._server_hears = event.item_id
        start = self._place(event.audio_start_ms)
        # The padding ends where the segment before it does, or the audio begins; then it may be shorter.
        before = self._segments.until_ms
        cut_off = start <= before or event.audio_start_ms <= 0
        self._began_ms = max(start, before) if cut_off else start + self._window[0]
        self._resume_by = None
        if segment is not None:
            segment.start_ms = self._began_ms
        if self._local_vad or self._began_ms < self._ended_ms:  # sent again after its end was told
            return []
        return self._tell_speech(True, self._began_ms, event.item_id)

    def _speech_stopped(self, event: ev.SpeechStopped, now: float) -> Effects:
        self._server_hears = None
        claimed = self._place(event.audio_end_ms)
        end = max(claimed - self._window[1], self._began_ms or 0.0)
        self._claimed_ms = max(self._claimed_ms, claimed)
        if (segment := self._segments.get(event.item_id)) is not None:
            segment.end_ms, segment.until_ms, segment.taken_ms = end, claimed, event.audio_end_ms
            self._segments.stopped(segment, now)
        if self._local_vad or end <= self._ended_ms:
            return self._tell_speech(False, end, event.item_id) if not self._local_vad else []
        # What was sent again may go on behind the end that was told.
        begins = self._tell_speech(True, max(self._began_ms or 0.0, self._ended_ms), event.item_id)
        return [*begins, *self._tell_speech(False, end, event.item_id)]

    def _audio_committed(self, event: ev.AudioCommitted, now: float) -> Effects:
        segment = self._segments.get(event.item_id)
        if segment is None or segment.committed_at is not None:
            return []
        effects = self._claimed_by_us(segment, now) if segment.taken_ms is None else []
        return [*effects, *self._segments.committed(segment, now)]

    def _claimed_by_us(self, segment: Segment, now: float) -> Effects:
        """The item is of a commit of ours: the oldest that has none yet."""
        segment.commit = commit = self._commits.pop(0) if self._commits else None
        if commit is not None:
            start = max(commit.start_ms, self._segments.until_ms)  # the server may have ended one in between
            segment.start_ms = start if segment.start_ms is None else segment.start_ms
            segment.end_ms, segment.until_ms = commit.end_ms, commit.at_ms
        if self._server_hears != segment.item_id:
            return []
        self._server_hears = None  # the server tells no stop for it
        if self._local_vad:
            return []
        if commit is not None and commit.cut:
            self._resume_by = now + RESUME_S
            return []
        return self._tell_speech(False, segment.end_ms, segment.item_id)

    def _delta(self, event: ev.TranscriptionDelta, now: float) -> Effects:
        segment = self._segments.get(event.item_id)
        if segment is None or segment.ending is not None or not event.delta:
            return []
        begins: Effects = []
        if not self._server_turns and not self._local_vad:  # nobody detects speech: text is the only sign of it
            start = self._claimed_ms if segment.start_ms is None else segment.start_ms
            begins = self._tell_speech(True, start, event.item_id)
            self._resume_by = None
        if segment.start_ms is None:  # until the answer to its commit tells
            open_ms = max(self._claimed_ms, self._began_ms or 0.0)
            segment.about_ms = self._commits[0].start_ms if self._commits else open_ms
        return [*begins, *self._segments.grown(segment, event.delta, now)]

    def _completed(self, event: ev.TranscriptionCompleted, now: float) -> Effects:
        usage = transcription_usage(event.usage)
        segment = self._segments.get(event.item_id)
        if segment is None:
            return self._segments.late_bill(event.item_id, usage)
        if segment.ending is not None:
            return []  # sent twice: told and billed once
        found = (entry.get("code") for entry in event.languages or () if isinstance(entry, Mapping))
        languages = tuple(code for code in found if isinstance(code, str) and code)
        ending = Ending(event.transcript, confidence(event.logprobs), languages, usage=usage)
        return self._end(segment, ending, now)

    def _failed(self, event: ev.TranscriptionFailed, now: float) -> Effects:
        segment = self._segments.get(event.item_id)
        if segment is None or segment.ending is not None:
            return []
        return self._end(segment, Ending(failure=failure_of(event.error)), now)

    def _end(self, segment: Segment, ending: Ending, now: float) -> Effects:
        claimed: Effects = []
        if segment.committed_at is None and segment.taken_ms is None:  # the answer to the commit never came
            claimed = self._claimed_by_us(segment, now)
        return [*claimed, *self._silent_after(self._segments.ended(segment, ending, now))]

    def _silent_after(self, effects: Effects) -> Effects:
        """Where nobody detects speech, it ends with its text."""
        over = any(getattr(effect, "stage", "final") == "final" for effect in effects if isinstance(effect, _ENDS))
        if self._server_turns or self._local_vad or not over:
            return effects
        return [*self._tell_speech(False, None), *effects]


_ENDS = (fx.Caption, fx.SegmentFailed)


def _turn_detection(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The server's turn detection in a `session`; empty when it is off or not told."""
    settings: Any = payload
    for key in ("audio", "input", "turn_detection"):
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    return settings if isinstance(settings, Mapping) else {}


def _ms(settings: Mapping[str, Any], name: str) -> float:
    value = settings.get(name)
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 60_000 else 0.0


HANDLERS: Mapping[type[ev.ServerEvent], Callable[[Hearing, Any, float], Effects]] = {
    ev.SessionUpdated: Hearing._session_updated,
    ev.Error: Hearing._error,
    ev.SpeechStarted: Hearing._speech_started,
    ev.SpeechStopped: Hearing._speech_stopped,
    ev.AudioCommitted: Hearing._audio_committed,
    ev.TranscriptionDelta: Hearing._delta,
    ev.TranscriptionCompleted: Hearing._completed,
    ev.TranscriptionFailed: Hearing._failed,
    **passing.NOTICED,
}
