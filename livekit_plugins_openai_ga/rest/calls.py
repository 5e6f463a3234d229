"""WebRTC and SIP calls that run directly on OpenAI: make, accept, reject, refer, hang up.

The sound of such a call never comes here. `RealtimeModel(call_id=...)` attaches an agent to one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from livekit.agents import APIConnectOptions
from livekit.agents.types import NOT_GIVEN, NotGivenOr

from ..connection import KeyProvider
from ..post import Answer
from ..redaction import secrets_in
from ..session_fields import number
from ..wire.endpoint import Service, checked_call_id, is_ephemeral
from . import requested
from .asking import Request, Sent, ask

DECLINE = 603
"""SIP's "Decline", which is what OpenAI answers by default."""

_JSON = "application/json"
_SDP = "application/sdp"
_TARGET = re.compile(r"(?:tel|sips?):[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Call:
    """A WebRTC call that was made.

    Attributes:
        call_id: Its `rtc_...` id; "" when the server named none.
        sdp: The server's answer to the offer, for the peer connection.
    """

    call_id: str
    sdp: str = field(repr=False)


class Calls:
    """The calls of a project."""

    def __init__(
        self,
        model: requested.Model | None = None,
        *,
        base_url: NotGivenOr[str] = NOT_GIVEN,
        api_key: str | KeyProvider | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str] | None = None,
        allow_insecure: bool = False,
        conn_options: NotGivenOr[APIConnectOptions] = NOT_GIVEN,
        http_session: aiohttp.ClientSession | None = None,
    ) -> None:
        """Check where the calls are; nothing is sent.

        Args:
            model: whose sessions the calls are, by default, and whose server and key.
            base_url: another server; default that of the model, else as in `RealtimeModel`.
            api_key: another key, or a function that gives one. A client secret can only `create`.
            extra_headers, extra_query, allow_insecure: as in `RealtimeModel`.
            conn_options: attempts, seconds between them, and seconds one may take; default that of the model. A request
                is repeated only when nothing came of it for certain.
            http_session: default the job's, or one for each request.

        Raises:
            ValueError: a missing key or an address that cannot be used; names the parameter and what to do.
        """
        self._model = model
        self._http = http_session
        self._connection = requested.connection_for(
            model,
            base_url=base_url,
            api_key=api_key,
            extra_headers=extra_headers,
            extra_query=extra_query,
            allow_insecure=allow_insecure,
            conn_options=conn_options,
        )

    async def create(
        self,
        sdp: str,
        session: requested.Session | None = None,
        *,
        instructions: str | None = None,
        translation: bool = False,
    ) -> Call:
        """Make a WebRTC call from a peer's offer: `POST /realtime/calls`, or `/realtime/translations/calls`.

        With a standard key, `session` (default that of the model) says what the call is; with a client secret, which
        has a session, the offer goes alone. Calls that translate are made with a client secret for translation.

        Raises:
            ValueError: something is missing, or does not go together; names the parameter.
            APIError: the server refused, or could not be reached.
        """
        if not isinstance(sdp, str) or not sdp.startswith("v=0"):
            raise ValueError("sdp is not a session description: pass the text of the peer's offer, from 'v=0' on.")

        def body(key: str) -> Sent:
            # A gateway's client secrets may look like anything, but not like a key.
            unnamed = not self._connection.is_native and not key.startswith("sk-")
            if is_ephemeral(key) or (unnamed and session is None and self._model is None):
                if session is not None or instructions is not None:
                    raise ValueError("session has no meaning with a client secret, which has its own: leave it out.")
                return aiohttp.StringPayload(sdp, content_type=_SDP), ()
            if translation:
                raise ValueError("translation=True needs a client secret as api_key: see `create_client_secret`.")
            told = self._session(session, instructions)
            form = aiohttp.FormData()
            form.add_field("sdp", sdp, content_type=_SDP)
            form.add_field("session", json.dumps(told), content_type=_JSON)
            return form, secrets_in(told)

        service = Service.TRANSLATION_CALLS if translation else Service.CALLS
        return _made(await ask(self._connection, Request(service, body), self._http))

    async def accept(
        self, call_id: str, session: requested.Session | None = None, *, instructions: str | None = None
    ) -> None:
        """Answer an incoming SIP call: OpenAI picks up and talks, with this session (default that of the model).

        `instructions` are what the agent begins with; a model has none itself.

        Raises:
            ValueError: not the id of a call, or no session for one; names the parameter.
            APIError: the call is gone, the session was refused, or the server could not be reached.
        """
        await self._act(call_id, "accept", self._session(session, instructions))

    async def reject(self, call_id: str, status_code: int = DECLINE) -> None:
        """Do not answer an incoming SIP call; the caller gets this SIP status, 400 to 699. Raises as `accept` does."""
        if isinstance(status_code, bool) or not isinstance(status_code, int):
            raise ValueError(f"status_code={status_code!r} is not supported: use a SIP status such as 486 or 603.")
        await self._act(call_id, "reject", {"status_code": number("status_code", status_code, 400, 699)})

    async def refer(self, call_id: str, target_uri: str) -> None:
        """Hand a SIP call over to somebody else: `tel:+14155550123` or `sip:agent@example.com`. Raises as `accept`."""
        if not isinstance(target_uri, str) or not _TARGET.fullmatch(target_uri):
            raise ValueError("target_uri is not supported: use tel:+14155550123 or sip:agent@example.com.")
        await self._act(call_id, "refer", {"target_uri": target_uri})

    async def hangup(self, call_id: str) -> None:
        """End a call, of either kind. Raises as `accept` does."""
        await self._act(call_id, "hangup", None)

    async def _act(self, call_id: str, action: str, told: dict[str, Any] | None) -> None:
        def body(key: str) -> Sent:
            if is_ephemeral(key):
                raise ValueError("api_key is a client secret, which can only make calls: use a standard key.")
            return None if told is None else aiohttp.JsonPayload(told), secrets_in(told)

        request = Request(Service.CALLS, body, checked_call_id(call_id), action, absent="call_id_not_found")
        await ask(self._connection, request, self._http)

    def _session(self, session: requested.Session | None, instructions: str | None) -> dict[str, Any]:
        wanted = self._model if session is None else session
        if wanted is None:
            raise ValueError("session is missing: pass a dict or a RealtimeModel, or make Calls(model).")
        made = requested.payload(wanted, instructions=instructions)
        if made["type"] != "realtime":
            raise ValueError(f"session.type={made['type']!r} does not hold a call: use a 'realtime' session.")
        if requested.options_of(wanted) is not None:
            for box in made["audio"].values():
                box.pop("format", None)  # that of a socket: the ends of a call agree on theirs
        return made


def _made(answer: Answer) -> Call:
    place = answer.headers.get("Location", "").partition("?")[0].rstrip("/").rpartition("/")[2]
    try:
        call_id = checked_call_id(place)
    except ValueError:
        call_id = ""
    return Call(call_id, answer.body.decode("utf-8", "replace"))
