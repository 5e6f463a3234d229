"""Things that go wrong, on purpose. Each fault applies once, or `times` times, over all sessions of an emulator."""

from __future__ import annotations

from .actions import Action, Event, Send
from .conversation import Refused


class FaultPlan:
    def on_send(self, event: Event) -> list[Action]:
        return [Send(event)]

    def on_receive(self, event: Event) -> tuple[list[Action], bool]:
        return [], False

    def refusal(self, event: Event) -> Refused | None:
        return None
