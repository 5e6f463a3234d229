"""What a conversation spends, and how far it is on its way to an end when that was enough."""

from __future__ import annotations

from typing import Any

from ..core import effects as fx
from ..errors import Failure
from ..options import Options
from ..spending import Spending, Tell

PATIENCE_S = 60.0
"""How much longer than the grace time a session lives at most, for what is still made or heard."""

MS_PER_TOKEN = 50
"""Speech of the model that is one token (OpenAI's guide on costs)."""


class ConversationSpending(Spending):
    """The bill of a conversation, by the options it begins with. Times are wall-clock seconds."""

    __slots__ = ("_heard_until", "_silent_at", "_until", "refusing")

    def __init__(self, options: Options, tell: Tell) -> None:
        super().__init__(options.prices, options.max_cost, tell)
        self._heard_until = 0.0
        self._silent_at = 0.0
        self._until = 0.0
        self.refusing: Failure | None = None
        """Why no replies are made any more; None: they are."""

    def ended(self, reply: fx.ReplyEnded) -> None:
        """A reply is over here; it was made faster than it is heard."""
        if reply.usage is not None and reply.first_output_at is not None and reply.first_output_at > self._silent_at:
            begins = max(reply.first_output_at, self._heard_until)
            self._heard_until = begins + reply.usage.output_audio * MS_PER_TOKEN / 1000

    def silent(self, now: float) -> None:
        """What had begun by now was cut short: nothing more of it is heard."""
        self._silent_at = now
        self._heard_until = min(self._heard_until, now)

    def silenced(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The session as it is told to the server: at the limit, it answers no turn by itself any more.

        That holds for as long as the session does, whatever else is changed, and on the next connection.
        """
        audio = payload.get("audio") or {}
        detection = (audio.get("input") or {}).get("turn_detection")
        if self.bill.reached != "limit" or not detection:
            return payload
        silent = {**audio["input"], "turn_detection": {**detection, "create_response": False}}
        return {**payload, "audio": {**audio, "input": silent}}

    def begin_to_end(self, now: float, grace: float) -> None:
        """The limit was reached; `grace` s are left for what the application wants to say."""
        self._until = now + grace + PATIENCE_S

    def refuse(self, failure: Failure) -> None:
        """From now on no replies are made."""
        self.refusing = failure

    def is_heard_out(self, now: float, *, busy: bool) -> bool:
        """Whether nothing is made (`busy`) or played any more; after a while, it is taken for granted."""
        return now >= self._until or (now >= self._heard_until and not busy)
