"""Webhooks from OpenAI: who sent this, when, and was it here before?

OpenAI signs by the Standard Webhooks rules: HMAC-SHA256 over `id.timestamp.body`, in `webhook-signature` next to
`webhook-id` and `webhook-timestamp`. The signature is over the bytes as they came, so the body must not be parsed and
written anew before it is looked at here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..redaction import Secret

DEFAULT_TOLERANCE = 300.0
"""Seconds that the sender's clock and ours may differ, as the openai SDK has it."""

INCOMING_CALL = "realtime.call.incoming"
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_PREFIX = "whsec_"
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_MAX_ID = 256
_SHORTEST_KEY = 16
"""Bytes. Standard Webhooks asks for 24 to 64; whoever knows the key can make calls ring here."""


class WebhookRefused(Exception):
    """This is no webhook of OpenAI's, or not a fresh one: answer it with 400. The message says why."""


class WebhookReplayed(WebhookRefused):
    """It came before, and was genuine: do nothing. Answer 200, or OpenAI goes on sending it."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """Something OpenAI tells.

    Attributes:
        type: `realtime.call.incoming`, `response.completed`, ...
        id: The event's id.
        created_at: When it happened, in s since 1970.
        webhook_id: The id of the delivery, the same each time it is sent.
        data: What it is about; `{}` when there is nothing.
    """

    type: str
    id: str
    created_at: float
    webhook_id: str
    data: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class IncomingCall(WebhookEvent):
    """A phone call that rings at OpenAI: accept or reject it with `Calls`.

    Attributes:
        call_id: Its `rtc_...` id.
        sip_headers: Names and values of the INVITE, in order. Whoever called wrote them: they prove nothing.
        media_security: `srtp`, `rtp` (not encrypted), or "" when it is not known.
    """

    call_id: str
    sip_headers: tuple[tuple[str, str], ...] = field(repr=False)
    media_security: str = ""

    def header(self, name: str) -> str | None:
        """The first SIP header of this name, such as `From`; None without one."""
        return next((value for key, value in self.sip_headers if key.lower() == name.lower()), None)


class Webhooks:
    """Checks webhooks, and remembers those that came, in this process, for as long as their signature is good."""

    def __init__(
        self,
        secret: str | None = None,
        *,
        tolerance: float = DEFAULT_TOLERANCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the signing secret.

        Args:
            secret: as OpenAI showed it when the webhook was made (`whsec_...`); default `$OPENAI_WEBHOOK_SECRET`.
            tolerance: seconds that a webhook may be old, or ahead of our clock.
            clock: the time in s since 1970.

        Raises:
            ValueError: there is no secret, it is none, or it is too short to be one.
        """
        given = (secret or os.environ.get("OPENAI_WEBHOOK_SECRET") or "").strip()
        if not given:
            raise ValueError(
                "secret is missing: pass secret='whsec_...' or set the OPENAI_WEBHOOK_SECRET environment variable."
            )
        if not tolerance > 0:
            raise ValueError(f"tolerance={tolerance!r} is not supported: use a number of seconds above 0.")
        self._secret = Secret(given)
        _key(self._secret)
        self._tolerance = tolerance
        self._clock = clock
        self._seen: dict[str, float] = {}  # webhook id -> when it is too old anyway

    def unwrap(self, body: bytes | str, headers: Mapping[str, str]) -> IncomingCall | WebhookEvent:
        """What a webhook says, if it is OpenAI's. `body`: exactly as it came. Header names are compared without case.

        Raises `WebhookRefused`, and `WebhookReplayed` for one that came before.
        """
        told = {name.lower(): value for name, value in headers.items()}
        webhook_id, timestamp, signatures = (told.get(name, "") for name in _HEADERS)
        if not webhook_id or len(webhook_id) > _MAX_ID or not signatures or not _TIMESTAMP.fullmatch(timestamp):
            raise WebhookRefused(f"The webhook lacks {', '.join(_HEADERS)}, or they are malformed: it is not OpenAI's.")
        raw = _bytes(body) if isinstance(body, str) else body
        now, sent = self._clock(), float(timestamp)
        if now - sent > self._tolerance:
            raise WebhookRefused(f"The webhook is {now - sent:.0f} s old: it is a replay, or our clock is wrong.")
        if sent - now > self._tolerance:
            raise WebhookRefused(f"The webhook comes {sent - now:.0f} s too soon: our clock is wrong.")
        if not self._signed(_bytes(f"{webhook_id}.{timestamp}.") + raw, signatures):
            raise WebhookRefused("The webhook's signature is wrong: check the secret, and that the body is as it came.")
        self._remember(webhook_id, max(now, sent) + self._tolerance, now)
        return _event(raw, webhook_id)

    def forget(self, event: WebhookEvent) -> None:
        """It could not be dealt with: take it when OpenAI sends it again."""
        self._seen.pop(event.webhook_id, None)

    def _signed(self, signed: bytes, signatures: str) -> bool:
        digest = hmac.new(_key(self._secret), signed, hashlib.sha256).digest()
        expected = base64.b64encode(digest)
        return any(hmac.compare_digest(expected, _bytes(given)) for given in _versions(signatures))

    def _remember(self, webhook_id: str, until: float, now: float) -> None:
        for old in [known for known, end in self._seen.items() if end < now]:
            del self._seen[old]
        if webhook_id in self._seen:
            raise WebhookReplayed("The webhook came before: answer 200 and do nothing.")
        self._seen[webhook_id] = until


def _bytes(text: str) -> bytes:
    """`text` as UTF-8. Servers hand on bytes of a header that are no UTF-8 as surrogates."""
    return text.encode("utf-8", "surrogatepass")


def _versions(signatures: str) -> Iterator[str]:
    """The signatures of the kind we know: there may be several while a secret is changed."""
    for entry in signatures.split():
        version, comma, value = entry.partition(",")
        if version == "v1" and comma:
            yield value


def _key(secret: str) -> bytes:
    key = _bytes(secret)
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except ValueError:
            key = b""  # raised below: the exception knows the secret
        if not key:
            raise ValueError("secret begins with whsec_ and is no base64 after it: copy it whole.")
    if len(key) < _SHORTEST_KEY:
        raise ValueError(f"secret is shorter than {_SHORTEST_KEY} bytes, which can be guessed: copy it whole.")
    return key


def _event(raw: bytes, webhook_id: str) -> IncomingCall | WebhookEvent:
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("type"), str):
        raise WebhookRefused("The webhook is signed and says nothing that can be read: it is no event.")
    given = told.get("data")
    data: dict[str, Any] = given if isinstance(given, dict) else {}
    created = told.get("created_at")
    common: dict[str, Any] = {
        "type": told["type"],
        "id": str(told.get("id") or ""),
        "created_at": created if isinstance(created, (int, float)) else 0.0,
        "webhook_id": webhook_id,
        "data": data,
    }
    if told["type"] != INCOMING_CALL:
        return WebhookEvent(**common)
    if not isinstance(data.get("call_id"), str) or not data["call_id"]:
        raise WebhookRefused("The webhook tells of a call and does not name it: there is no data.call_id.")
    security = data.get("sip_media_security")
    return IncomingCall(
        **common,
        call_id=data["call_id"],
        sip_headers=tuple(_sip_headers(data.get("sip_headers"))),
        media_security=security if isinstance(security, str) else "",
    )


def _sip_headers(given: Any) -> Iterator[tuple[str, str]]:
    for entry in given if isinstance(given, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            yield entry["name"], str(entry.get("value") or "")
