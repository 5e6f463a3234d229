"""The calls there are, by their `rtc_...` id: what each was asked to be, how far it is, and how it ended.

A call rings (SIP), is live, and ends. `Calls` knows nothing of sound: whoever carries a call's media, and whoever
serves its sockets, puts a function into `watchers` and is told of every change, in the step in which it happens.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal

from . import asked
from .actions import Event
from .conversation import Refused
from .front_door import HttpRequest, HttpResponse
from .gate import AZURE, HttpRefused, check_request, refused
from .grammar import Number, Object, Text
from .knobs import Knobs

PATH = "/v1/realtime/calls"
Kind = Literal["webrtc", "sip"]
State = Literal["ringing", "live", "ended"]

_REJECT = Object({"status_code": Number(300, 699)})
_REFER = Object({"target_uri": Text()}, ("target_uri",))


@dataclass(eq=False, slots=True)
class Call:
    """One call.

    Attributes:
        id: `rtc_...`.
        kind: Where its sound runs.
        config: The session it was made or accepted with, as the server keeps it; `{}` while it rings.
        state: How far it is.
        outcome: How it ended: `hangup`, `rejected 603`, `referred to tel:+1...`, or what the one who ended it says.
        sip_headers: Names and values of the INVITE, in order.
    """

    id: str
    kind: Kind
    config: Event = field(default_factory=dict)
    state: State = "ringing"
    outcome: str = ""
    sip_headers: Sequence[tuple[str, str]] = ()


class Calls:
    """All calls so far, in order."""

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs
        self._numbers = itertools.count(1)
        self._calls: dict[str, Call] = {}
        self.watchers: list[Callable[[Call], None]] = []

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    def __len__(self) -> int:
        return len(self._calls)

    def ring(self, sip_headers: Sequence[tuple[str, str]] = ()) -> Call:
        """A SIP call comes in."""
        return self._add(Call(self._new_id(), "sip", sip_headers=tuple(sip_headers)))

    def create(self, config: Event) -> Call:
        """A WebRTC call with this session (see `asked.session`) begins: it is live at once."""
        return self._add(Call(self._new_id(), "webrtc", config, "live"))

    def live(self, call_id: str) -> Call | None:
        """The call of this id, if it goes on."""
        call = self._calls.get(call_id)
        return call if call is not None and call.state == "live" else None

    def end(self, call: Call, outcome: str) -> None:
        """The call is over; for one that has ended already, nothing happens."""
        if call.state != "ended":
            call.outcome = outcome
            self._become(call, "ended")

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to `POST .../calls/{id}/{verb}`; None when it is something else. Raises `HttpRefused`."""
        place, _, verb = request.path.rpartition("/")
        folder, _, call_id = place.rpartition("/")
        act = {"accept": self._accept, "reject": self._reject, "refer": self._refer, "hangup": self._hangup}.get(verb)
        if folder.removeprefix(AZURE) != PATH or act is None:
            return None
        check_request(request, self._knobs)
        call = self._calls.get(call_id)
        if call is None:
            raise no_such_call(call_id)
        act(call, asked.body(request))
        return HttpResponse(HTTPStatus.OK, b"")

    def _accept(self, call: Call, given: Event) -> None:
        config = asked.session(given, self._knobs, where="")
        if config["type"] != "realtime":
            raise refused(HTTPStatus.BAD_REQUEST, "invalid_value", "A call takes a realtime session.", "type")
        self._must_be(call, "ringing")
        call.config = config
        self._become(call, "live")

    def _reject(self, call: Call, given: Event) -> None:
        _check(_REJECT, given)
        self._must_be(call, "ringing")
        self.end(call, f"rejected {given.get('status_code', 603)}")

    def _refer(self, call: Call, given: Event) -> None:
        _check(_REFER, given)
        if not given["target_uri"].startswith(("tel:", "sip:", "sips:")):
            raise refused(HTTPStatus.BAD_REQUEST, "invalid_value", "Invalid 'target_uri'.", "target_uri")
        self._must_be(call, "live")
        if call.kind != "sip":
            raise refused(HTTPStatus.BAD_REQUEST, "invalid_value", "Only SIP calls can be referred.")
        self.end(call, f"referred to {given['target_uri']}")

    def _hangup(self, call: Call, _given: Event) -> None:
        self._must_be(call, "live")
        self.end(call, "hangup")

    @staticmethod
    def _must_be(call: Call, state: State) -> None:
        if call.state != state:
            raise refused(HTTPStatus.BAD_REQUEST, "invalid_value", f"The call is {call.state}, not {state}.")

    def _new_id(self) -> str:
        return f"rtc_{next(self._numbers):032x}"

    def _add(self, call: Call) -> Call:
        self._calls[call.id] = call
        self._become(call, call.state)
        return call

    def _become(self, call: Call, state: State) -> None:
        call.state = state
        for watcher in list(self.watchers):
            watcher(call)


def no_such_call(call_id: str) -> HttpRefused:
    """What everybody is told who asks for a call that there is not."""
    return refused(HTTPStatus.NOT_FOUND, "call_id_not_found", f"No session found for call_id '{call_id}'.")


def _check(check: Object, given: Event) -> None:
    try:
        check(given, "")
    except Refused as refusal:
        raise asked.http_refused(refusal) from None
