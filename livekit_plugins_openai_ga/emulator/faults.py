"""Things that go wrong, on purpose, so that a client can be shown to survive them.

Most faults watch for an event by name (`on`, client or server events alike, "*" for any) and strike at its `nth`
occurrence and `times - 1` more, counted over all sessions of an emulator. A server event that a fault strikes is sent
first; a client event is not acted on any more. `Emulator(faults=[...])` takes them in any number.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import actions
from .actions import Action, Event, Postpone, Send, SendRaw
from .conversation import Refused


@dataclass(frozen=True, slots=True)
class DropOn:
    """Break the TCP connection (the client sees 1006)."""

    on: str
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class FreezeOn:
    """Leave the connection up and dead: no data, no pongs, no pings. What a frozen session makes is lost."""

    on: str
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class CloseOn:
    """Close with a code and a reason, after an `error` event when `error` names a (code, message)."""

    on: str
    code: int
    reason: str = ""
    error: tuple[str, str] | None = None
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class DelayOn:
    """Hold the event, and everything after it, for so many seconds."""

    on: str
    seconds: float
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class InjectOn:
    """Send something in front of the event: text or bytes as they are, a mapping as a JSON event."""

    on: str
    data: str | bytes | Mapping[str, Any]
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class SwallowOn:
    """Lose the event: a server event is not sent, a client event not acted on."""

    on: str
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class RepeatOn:
    """Send the server event twice."""

    on: str
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class PostponeOn:
    """Send the server event behind the next one, or alone when none comes at once."""

    on: str
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class AlterOn:
    """Change top-level fields of the server event; `without` takes fields out."""

    on: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    without: Sequence[str] = ()
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class RejectOn:
    """Answer the client event with an `error` and nothing else."""

    on: str
    code: str | None
    message: str
    param: str | None = None
    error_type: str = "invalid_request_error"
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class FailResponse:
    """End the next response as failed, before any output and without taking a turn of the script."""

    code: str = "server_error"
    message: str = "The server had an error while processing your request. Sorry about that!"
    error_type: str = "server_error"
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class FailToolList:
    """Let the next MCP server that is asked for its tools not answer."""

    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class FailTranscription:
    """Answer the nth turn to be transcribed with `input_audio_transcription.failed`."""

    code: str = "audio_unintelligible"
    message: str = "The audio could not be transcribed."
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class DelayTranscription:
    """Report the nth turn to be transcribed so many seconds later than usual (infinity: never), behind those after it.

    `deltas_first`: its deltas come in time and only the end is late. Transcription uploads count too.
    """

    seconds: float
    deltas_first: bool = False
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class ExpireAfter:
    """Let the next session expire after so many seconds, whatever its `expires_at` says."""

    seconds: float
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class RefuseHandshake:
    """Answer the next upgrade request, or upload, with an HTTP status instead of the 101, or transcript."""

    status: int
    body: str = ""
    retry_after: float | None = None
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class RejectHandshake:
    """Accept the next upgrade, then send an `error` and close, as GA does for a bad key or model."""

    code: str = "invalid_model"
    message: str = "The model is not supported in realtime mode."
    close_code: int = 4000
    error_type: str = "invalid_request_error"
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class After:
    """Do what the fault does so many seconds after the next session began, whatever event comes; its `on` is not asked.

    Only a fault that needs no event for it: not one that loses, repeats, alters or refuses one.
    """

    seconds: float
    fault: DropOn | FreezeOn | CloseOn | DelayOn | InjectOn
    nth: int = 1
    times: int = 1


EventFault = DropOn | FreezeOn | CloseOn | DelayOn | InjectOn | SwallowOn | RepeatOn | PostponeOn | AlterOn | RejectOn
Fault = (
    EventFault
    | After
    | FailResponse
    | FailToolList
    | FailTranscription
    | DelayTranscription
    | ExpireAfter
    | RefuseHandshake
    | RejectHandshake
)
_WATCHING = (DropOn, FreezeOn, CloseOn, DelayOn, InjectOn, SwallowOn, RepeatOn, PostponeOn, AlterOn, RejectOn)
_LAST = (DropOn, FreezeOn, CloseOn)
_F = TypeVar(
    "_F",
    FailResponse,
    FailToolList,
    FailTranscription,
    DelayTranscription,
    ExpireAfter,
    RefuseHandshake,
    RejectHandshake,
)


class FaultPlan:
    """The faults still to come. Sessions ask it about every event; it counts.

    `struck` is called with each fault that strikes.
    """

    def __init__(self, faults: Sequence[Fault] = (), *, struck: Callable[[Fault], None] = lambda _: None) -> None:
        self._armed: list[_Armed] = [_Armed(fault) for fault in faults]
        self._struck = struck

    def add(self, fault: Fault) -> None:
        """Arm one more; it counts from now on."""
        self._armed.append(_Armed(fault))

    def on_send(self, event: Event) -> list[Action]:
        """What is done instead of just sending this server event."""
        struck = self._strike(event["type"])
        for fault in struck:
            if isinstance(fault, AlterOn):
                event = _altered(event, fault)
        copies = 1 + sum(isinstance(fault, RepeatOn) for fault in struck)
        if any(isinstance(fault, SwallowOn) for fault in struck):
            copies = 0
        before = [effect for fault in struck if isinstance(fault, (DelayOn, InjectOn)) for effect in _effects(fault)]
        after = [effect for fault in struck if isinstance(fault, _LAST) for effect in _effects(fault)]
        send = Postpone if any(isinstance(fault, PostponeOn) for fault in struck) else Send
        return [*before, *[send(event)] * copies, *after]

    def on_receive(self, event: Event) -> tuple[list[Action], Refused | None, bool]:
        """What a client event sets off, its refusal, and whether it is lost."""
        result: list[Action] = []
        refusal, lost = None, False
        for fault in self._strike(event.get("type")):
            if isinstance(fault, RejectOn):
                refusal = Refused(fault.code, fault.message, fault.param, fault.error_type)
            elif isinstance(fault, SwallowOn):
                lost = True
            else:
                result += _effects(fault)
        return result, refusal, lost

    def response_failure(self) -> tuple[str, str, str] | None:
        """The (type, code, message) that the response being created fails with."""
        fault = self._next(FailResponse)
        return (fault.error_type, fault.code, fault.message) if fault else None

    def list_failure(self) -> bool:
        """Whether the MCP server that was just asked for its tools does not answer."""
        return self._next(FailToolList) is not None

    def transcription_error(self) -> Event | None:
        """The error of the turn just committed."""
        fault = self._next(FailTranscription)
        if fault is None:
            return None
        return {"type": "transcription_error", "code": fault.code, "message": fault.message, "param": None}

    def transcription_delay(self) -> DelayTranscription | None:
        """How much later than usual the turn just committed is reported."""
        return self._next(DelayTranscription)

    def alarms(self) -> list[tuple[float, Callable[[], list[Action]]]]:
        """What is done to the session that starts now, and how many seconds from now."""
        struck = [armed.fault for armed in self._armed if isinstance(armed.fault, After) and armed.strikes()]
        return [(fault.seconds, functools.partial(self._alarm, fault)) for fault in struck]

    def _alarm(self, fault: After) -> list[Action]:
        self._struck(fault)
        return _effects(fault.fault)

    def lifetime(self, planned: float) -> float:
        """The lifetime of a session that starts now, in seconds."""
        fault = self._next(ExpireAfter)
        return fault.seconds if fault else planned

    def handshake_refusal(self) -> RefuseHandshake | None:
        """The HTTP answer to the upgrade request just read."""
        return self._next(RefuseHandshake)

    def handshake_rejection(self) -> RejectHandshake | None:
        """The error that the connection just accepted is closed with."""
        return self._next(RejectHandshake)

    def _strike(self, event_type: object) -> list[EventFault]:
        struck: list[EventFault] = []
        for armed in self._armed:
            fault = armed.fault
            if isinstance(fault, _WATCHING) and fault.on in (event_type, "*") and armed.strikes():
                struck.append(fault)
                self._struck(fault)
        return struck

    def _next(self, kind: type[_F]) -> _F | None:
        # Every armed fault of the kind counts this occurrence; the first that strikes is the one that shows.
        struck = [armed.fault for armed in self._armed if isinstance(armed.fault, kind) and armed.strikes()]
        if not struck:
            return None
        self._struck(struck[0])
        return struck[0]


class _Armed:
    """A fault and how often its occasion came."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._seen = 0

    def strikes(self) -> bool:
        self._seen += 1
        return self.fault.nth <= self._seen < self.fault.nth + self.fault.times


def _altered(event: Event, fault: AlterOn) -> Event:
    changed = {**copy.deepcopy(event), **fault.changes}
    for name in fault.without:
        changed.pop(name, None)
    return changed


def _effects(fault: EventFault) -> list[Action]:
    if isinstance(fault, DropOn):
        return [actions.Drop()]
    if isinstance(fault, FreezeOn):
        return [actions.Freeze()]
    if isinstance(fault, DelayOn):
        return [actions.Wait(fault.seconds)]
    if isinstance(fault, InjectOn):
        return [Send(dict(fault.data)) if isinstance(fault.data, Mapping) else SendRaw(fault.data)]
    if isinstance(fault, CloseOn):
        first = [Send(error_event(*fault.error))] if fault.error else []
        return [*first, actions.Close(fault.code, fault.reason)]
    return []


def error_event(code: str | None, message: str, error_type: str = "invalid_request_error") -> Event:
    """An `error` event that answers no client event."""
    error = {"type": error_type, "code": code, "message": message, "param": None, "event_id": None}
    return {"type": "error", "event_id": "event_fault", "error": error}
