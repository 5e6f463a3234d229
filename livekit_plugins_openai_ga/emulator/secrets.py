"""`POST .../client_secrets`: short-lived keys (`ek_...`) that carry a session's configuration.

A key opens any number of sessions until it expires; those that are open then go on. The configuration is what such a
session begins with; the client may change it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from . import asked
from .actions import Event
from .conversation import Refused
from .front_door import HttpRequest, HttpResponse
from .gate import AZURE, EPHEMERAL, check_request
from .grammar import Number, Object, Text, anything
from .knobs import Knobs

PATH = "/v1/realtime/client_secrets"
TRANSLATIONS_PATH = "/v1/realtime/translations/client_secrets"
DEFAULT_SECONDS = 600

_EXPIRES_AFTER = Object({"anchor": Text(choices=("created_at",)), "seconds": Number(10, 7200)})
_REQUEST = Object({"session": anything, "expires_after": _EXPIRES_AFTER})
_TRANSLATION_REQUEST = Object({"session": anything, "expires_after": _EXPIRES_AFTER}, ("session",))


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """One key: `expires_at` in s since 1970, `config` as the server keeps a session of its kind."""

    value: str = field(repr=False)
    expires_at: int
    config: Event


class Secrets:
    """All keys given out so far, in order (`issued`). `clock` gives s since 1970."""

    def __init__(self, knobs: Knobs, clock: Callable[[], float] = time.time) -> None:
        self._knobs = knobs
        self.clock = clock
        self._expired = 0
        self.issued: list[ClientSecret] = []

    def find(self, key: str) -> ClientSecret | None:
        """The secret of this value, while it is valid."""
        now = self.clock()
        valid = (secret for secret in self.issued[self._expired :] if secret.expires_at > now)
        return next((secret for secret in valid if secret.value == key), None)

    def expire(self) -> None:
        """Let all keys given out so far expire now."""
        self._expired = len(self.issued)

    def mint(self, session: Event, seconds: int = DEFAULT_SECONDS, value: str = "") -> ClientSecret:
        """Give a key out for a realtime or transcription session. `value`: "" makes one up. Raises `HttpRefused`."""
        return self._give(asked.session(session, self._knobs), seconds, value)

    def _give(self, config: Event, seconds: int, value: str = "") -> ClientSecret:
        secret = ClientSecret(value or f"{EPHEMERAL}{uuid.uuid4().hex}", int(self.clock()) + seconds, config)
        self.issued.append(secret)
        return secret

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to a request for a key; None when it is something else. Raises `HttpRefused`."""
        if request.path.removeprefix(AZURE) not in (PATH, TRANSLATIONS_PATH):
            return None
        path = check_request(request, self._knobs)
        given = asked.body(request)
        translates = path == TRANSLATIONS_PATH
        try:
            (_TRANSLATION_REQUEST if translates else _REQUEST)(given, "")
        except Refused as refusal:
            raise asked.http_refused(refusal) from None
        wanted = given.get("session", {"type": "realtime"})
        config = asked.translation(wanted) if translates else asked.session(wanted, self._knobs)
        secret = self._give(config, given.get("expires_after", {}).get("seconds", DEFAULT_SECONDS))
        told = {**config, "id": f"sess_{len(self.issued):x}"}
        answer = {"value": secret.value, "expires_at": secret.expires_at, "session": told}
        return HttpResponse(HTTPStatus.OK, json.dumps(answer).encode())
