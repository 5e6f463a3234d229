"""Between a line and the session it serves: writes what passes, and passes it on.

Without a recorder there is nothing in between. What comes is written before the session sees it, what leaves after the
session's listeners have: each as it is on the wire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, ParamSpec

from ..core.config import TOLD_AHEAD
from ..errors import Failure
from ..transport.line import Peer
from ..transport.link import Link, LinkFailed, Payload
from ..transport.supervisor import Supervised
from ..wire import client_events
from ..wire.client_events import Event
from ..wire.server_events import Malformed
from .recorder import RecordingFile

P = ParamSpec("P")


class RecordedPeer:
    """Implements `transport.line.Peer` for another one."""

    def __init__(self, inner: Peer, file: RecordingFile) -> None:
        self._heard_by = inner
        self._file = file
        self._link: Link | None = None
        self._lost: Failure | None = None

    @property
    def watches_audio(self) -> bool:
        """All that leaves is written."""
        return True

    def link_opened(self, link: Link) -> None:
        """A session is open."""
        self._link = link
        self._file.link += 1
        ids = {"session_id": link.session_id, "request_id": link.request_id, "expires_at": link.expires_at}
        self._note("opened", **ids)
        if link.told is not None:  # it left when the link was made
            self._out(client_events.session_update(link.told, event_id=TOLD_AHEAD))
        self._heard_by.link_opened(link)

    def link_received(self, payload: Payload | Malformed) -> None:
        """A frame came. It is written first: listeners may change it."""
        if isinstance(payload, Malformed):
            self._note("malformed", problem=payload.problem)
        elif not isinstance(payload.get("type"), str):
            self._note("malformed", problem="'type' is missing or not a string")
        else:
            self._file.write("in", payload, self._secrets)
        self._heard_by.link_received(payload)

    def link_sending(self, event: Event) -> bool:
        """An event leaves. It is written last: what listeners change in it leaves, too."""
        stays = self._heard_by.link_sending(event)
        if not stays:
            self._out(event)
        return stays

    def link_lost(self, failure: Failure | None) -> None:
        """The link is gone."""
        self._lost = failure
        if failure is None:
            self._note("lost", planned=True)
        else:
            self._note("lost", **self._told(failure))
        self._heard_by.link_lost(failure)

    def dialling(self, dial: Callable[P, Awaitable[Link]]) -> Callable[P, Awaitable[Link]]:
        """`dial`, whose failures are written down."""

        async def watched(*args: P.args, **kwargs: P.kwargs) -> Link:
            try:
                return await dial(*args, **kwargs)
            except LinkFailed as exc:
                self._failed(exc.failure)
                raise

        return watched

    def over(self, _: object = None) -> None:
        """The session is over. Also as the callback of a task that ends with it."""
        self._file.close()

    @property
    def _secrets(self) -> tuple[str, ...]:
        return () if self._link is None else self._link.secrets

    def _out(self, event: Event) -> None:
        self._file.write("out", event, self._secrets)

    def _note(self, name: str, **fields: Any) -> None:
        self._file.write("note", {"type": name, **fields})

    def _failed(self, failure: Failure) -> None:
        self._note("failed", **self._told(failure), kind=failure.kind.value)

    def _told(self, failure: Failure) -> dict[str, str]:
        if self._file.redacts:  # the server's own words may quote those of others
            failure = replace(failure, message="", close_reason="")
        return {"code": failure.label, "sentence": failure.sentence()}


class RecordedSession(RecordedPeer):
    """Implements `transport.supervisor.Supervised` for another one."""

    def __init__(self, inner: Supervised, file: RecordingFile) -> None:
        super().__init__(inner, file)
        self._served = inner

    def instead(self, failure: Failure) -> bool:
        """A failure that no retry can mend."""
        goes_on = self._served.instead(failure)
        if goes_on:
            self._failed(failure)
        return goes_on

    def will_retry(self, failure: Failure, delay: float) -> None:
        """The next attempt comes after `delay` seconds."""
        if failure is not self._lost:
            self._failed(failure)
        self._note("retry", delay_ms=round(delay * 1000, 3))
        self._served.will_retry(failure, delay)

    def gave_up(self, failure: Failure) -> None:
        """There will be no further attempt."""
        self._failed(failure)
        self._served.gave_up(failure)
