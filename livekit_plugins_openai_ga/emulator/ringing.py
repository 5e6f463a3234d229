"""How the application learns of a phone call: a signed webhook, as OpenAI sends it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass, field

import aiohttp

from .calls import Call

_TIMEOUT = aiohttp.ClientTimeout(total=10.0)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook, as it is sent; sent again as it is, it is a replay."""

    url: str
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)

    async def send(self) -> int:
        """POST it. Returns the status of the answer; raises aiohttp.ClientError when nobody is there."""
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as http,
            http.post(self.url, data=self.body, headers=self.headers) as answer,
        ):
            return answer.status


def incoming(call: Call, url: str, secret: str, *, media_security: str, sent_at: float | None = None) -> Delivery:
    """The webhook that tells of `call`, signed with `secret` (`whsec_...`) at `sent_at` (s since 1970, default now)."""
    sent_at = time.time() if sent_at is None else sent_at
    headers = [{"name": name, "value": value} for name, value in call.sip_headers]
    event = {
        "object": "event",
        "id": f"evt_{uuid.uuid4().hex}",
        "type": "realtime.call.incoming",
        "created_at": int(sent_at),
        "data": {"call_id": call.id, "sip_headers": headers, "sip_media_security": media_security},
    }
    body = json.dumps(event).encode()
    webhook_id, timestamp = f"wh_{uuid.uuid4().hex}", str(int(sent_at))
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.new(key, b".".join([webhook_id.encode(), timestamp.encode(), body]), hashlib.sha256).digest()
    signed = {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    return Delivery(url, body, signed)
