"""Everything the core may ask its shell to do. Values only: an effect says what, the shell knows how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Failure
from ..wire.items import Item
from ..wire.server_events import RateLimit
from ..wire.values import value
from .record import Record
from .usage import ReplyUsage, TranscriptionUsage


@value
class Effect:
    """Base of all effects."""


Effects = list[Effect]
"""What a call into the core returns: to be carried out in this order."""


@value
class Send(Effect):
    """Put a client event on the wire.

    `in_turn` says that it must not overtake user audio that was pushed before it (a reply asked for after a commit).
    """

    event: dict[str, Any]
    in_turn: bool = False


@value
class Ready(Effect):
    """The server confirmed the configuration: audio and replies may leave. `again` after a reconnect."""

    again: bool


@value
class Settled(Effect):
    """The request `key` is over: done when `failure` is None."""

    key: str
    failure: Failure | None = None


@value
class ConfigDiffers(Effect):
    """The server confirmed an update but keeps other values than asked: dotted path -> (asked, kept)."""

    differences: Mapping[str, tuple[Any, Any]]


@value
class ConfigRefused(Effect):
    """The server refused an update; what is wanted fell back to what it has, or lost the part that was to blame."""


@value
class Report(Effect):
    """The server refused something that no request waits for. The session goes on."""

    failure: Failure


@value
class Disconnect(Effect):
    """This connection is of no use any more; `failure.kind` says whether another one may be."""

    failure: Failure


@value
class Noticed(Effect):
    """Something worth counting, and one log line of its kind: unknown, malformed, benign."""

    what: str
    detail: str


@value
class ItemPlaced(Effect):
    """An item entered the conversation (one that a reconnect brought back is not told again)."""

    previous_item_id: str | None
    record: Record


@value
class ToolsListed(Effect):
    """An MCP server was asked for its tools, and has these."""

    label: str
    tools: tuple[str, ...]


@value
class ApprovalRequested(Effect):
    """A call of an MCP server's tool waits until it is approved or denied. `item` says which."""

    item: Item


@value
class SpeechStarted(Effect):
    """Server turn detection heard the user."""

    item_id: str


@value
class SpeechStopped(Effect):
    """The user fell silent, or the turn was committed in the middle of speech."""

    item_id: str


@value
class AudioTaken(Effect):
    """User audio is in an item, and is not to be sent again.

    It is the audio up to `until_ms` of this connection's, or (None) up to the oldest commit on its way. What lies
    behind `since_ms` is the item `item_id`, when that is named.
    """

    until_ms: int | None
    item_id: str = ""
    since_ms: int = 0


@value
class InputTimeout(Effect):
    """Nobody spoke for long, and the silence becomes the item `item_id`. Times in this connection's audio."""

    item_id: str
    start_ms: int
    end_ms: int


@value
class RateLimits(Effect):
    """What is left of the server's limits."""

    limits: tuple[RateLimit, ...]


@value
class Transcript(Effect):
    """Text of a user's turn so far (`final` False, cumulative) or altogether.

    `confidence` is exp(mean logprob), None unless the session asked for logprobs. `started_at` is wall-clock seconds.
    """

    item_id: str
    text: str
    final: bool
    confidence: float | None = None
    started_at: float | None = None


@value
class TranscriptionFailed(Effect):
    """A user's turn got no transcript."""

    item_id: str
    failure: Failure


@value
class TranscriptionBilled(Effect):
    """What a transcript cost; None: the server did not say. `event_id` is the server's."""

    event_id: str
    usage: TranscriptionUsage | None


@value
class CommitAudio(Effect):
    """Commit the audio before this point."""

    event: dict[str, Any]


@value
class CommitRefused(Effect):
    """The server refused this commit; its audio is still unclaimed."""

    event_id: str


@value
class ClearAudio(Effect):
    """Forget audio that no commit has claimed, but for the newest `keep_ms`."""

    event: dict[str, Any]
    keep_ms: float


@value
class Speech(Effect):
    """Somebody began (or stopped) to speak, at `at_ms` of the stream's audio; None: not known."""

    speaking: bool
    item_id: str = ""
    at_ms: float | None = None


@value
class Caption(Effect):
    """What was said in one segment of speech. Times are ms of the stream's audio; None: not known.

    `stage` is `interim` (more will come behind it), `preflight` (the segment has ended; some of its end may be missing)
    or `final`. `languages` are the codes the model detected. `failure` is set when a final text is only the part that
    came before the transcription failed.
    """

    item_id: str
    text: str
    stage: str
    start_ms: float | None = None
    end_ms: float | None = None
    confidence: float | None = None
    languages: tuple[str, ...] = ()
    failure: Failure | None = None


@value
class SegmentFailed(Effect):
    """A segment of speech got no text at all. `item_id` is "" when the server never made an item of it."""

    item_id: str
    failure: Failure


@value
class SegmentBilled(Effect):
    """What a segment cost; None: the server did not say. `audio_ms` is its length, 0 when not known."""

    item_id: str
    usage: TranscriptionUsage | None
    audio_ms: float


@value
class Finished(Effect):
    """There will be no more audio, and everything that was heard has been told."""


@value
class Withdraw(Effect):
    """Take back the event with this id, if it has not left."""

    event_id: str


@value
class ReplyAgain(Effect):
    """A reply that had begun is asked for again, since nothing of it was told: now (`delay` 0), or in `delay` seconds.

    `key` is its request's. Whoever has the reply keeps it: what comes is told under the same response id.
    """

    key: str
    reason: str
    delay: float = 0.0


@value
class ReplyResumed(Effect):
    """A reply that was asked for again has begun."""

    response_id: str
    key: str


@value
class ReplyStarted(Effect):
    """A reply began. `key` names our request, None when the server began it. `aside` marks an out-of-band reply."""

    response_id: str
    key: str | None
    aside: bool


@value
class MessageStarted(Effect):
    """There is something to hear or to read of a message. `spoken`: audio with a transcript; else text only."""

    response_id: str
    item_id: str
    spoken: bool


@value
class MessageText(Effect):
    """More text of a message. `start_time` in seconds of its audio, when the server tells."""

    response_id: str
    item_id: str
    delta: str
    start_time: float | None = None


@value
class MessageAudio(Effect):
    """More speech, in the format that the session was told to speak in."""

    response_id: str
    item_id: str
    audio: bytes


@value
class Played(Effect):
    """The server plays a reply to a caller (`playing`), or no longer does."""

    response_id: str
    playing: bool


@value
class MessageEnded(Effect):
    """A message is complete."""

    response_id: str
    item_id: str


@value
class FunctionCalled(Effect):
    """The model calls a function; the arguments are complete."""

    response_id: str
    item: Item


@value
class ReplyBilled(Effect):
    """What the server made for a reply is billed: also what nobody heard, because it failed, or was given up.

    Comes once per `response.done`, before the reply's end is told. None: the server did not say what was used. One that
    failed or was cancelled without a word of it, and of which nothing came, is not billed.
    """

    usage: ReplyUsage | None


@value
class ReplyEnded(Effect):
    """A reply is over, whatever way. Comes exactly once per `ReplyStarted`.

    `status` is `completed`, `cancelled`, `incomplete`, `failed`, or `lost` when the connection went first. Times are
    wall-clock seconds; `first_output_at` is None when nothing was said or written. `failure` is set for `failed`.
    """

    response_id: str
    status: str
    reason: str
    started_at: float
    first_output_at: float | None
    ended_at: float
    usage: ReplyUsage | None
    failure: Failure | None
