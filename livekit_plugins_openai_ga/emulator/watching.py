"""What happens at an emulator, told to whoever watches: `Emulator(watch=print)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .actions import Event

What = Literal["connected", "turned_away", "request", "received", "refused", "sent", "fault", "ended"]


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened. `session` counts from 1, in the order of connections; 0 where there is none.

    `detail`, by `what`:
      connected    {id, type, model}
      turned_away  {path, code, message}: an upgrade that led to no session; `code` is the HTTP status or the error's
      request      {method, path, status, code, message}: an HTTP request, its answer, and why that refuses
      received     the client event as it came
      refused      {event, error}: a client event, None for what is no event, and the `error` it was answered with
      sent         the server event
      fault        {fault}: the one that struck
      ended        {code, reason}: how the connection closed, 1006 for one that broke
    """

    what: What
    session: int
    detail: Event


Watch = Callable[[Happening], None]
