"""What an emulated session asks its server to do with the socket. The session itself never touches one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Send:
    """Send this event as a JSON text frame."""

    event: Event


@dataclass(frozen=True, slots=True)
class Postpone:
    """Send this event behind the next one; the session does that itself, no server sees it."""

    event: Event


@dataclass(frozen=True, slots=True)
class SendRaw:
    """Send these bytes or this text as they are; only faults do."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close with this code and reason; nothing is sent afterwards."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Break the TCP connection without a close frame."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Stop reading and writing, pings included, with TCP left open."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Hold back everything that follows for so many seconds."""

    seconds: float


Action = Send | Postpone | SendRaw | Close | Drop | Freeze | Wait
