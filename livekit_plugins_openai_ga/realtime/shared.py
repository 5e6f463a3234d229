"""Content that LiveKit's copies of an item share with the one it was told of: what changes here, changes in all."""

from __future__ import annotations

from livekit.agents import llm

from ..core.record import Record


class SharedContent:
    """Fills in what the user said, and takes old pictures out. Copies are made by LiveKit, which does not update them:
    the context of a handoff, and its own history."""

    __slots__ = ("_awaiting", "_picture")

    def __init__(self) -> None:
        self._awaiting: dict[str, list[llm.ChatContent]] = {}  # a text, by item
        self._picture: list[llm.ChatContent] = []  # the newest frame of video

    def placed(self, item: llm.ChatItem | None, record: Record, *, transcribes: bool) -> None:
        """LiveKit is told of an item. `transcribes`: a text of what the user says will come."""
        if not isinstance(item, llm.ChatMessage):
            return
        if transcribes and record.is_user_speech and not item.content:
            self._awaiting[item.id] = item.content
        if record.is_frame and record.origin is None:
            self._picture.clear()
            self._picture = item.content

    def transcribed(self, item_id: str, text: str) -> None:
        """The text of what the user said has come."""
        if (content := self._awaiting.pop(item_id, None)) is not None:
            content.append(text)

    def give_up(self, item_id: str) -> None:
        """Its text will not come."""
        self._awaiting.pop(item_id, None)

    def lost(self) -> None:
        """The connection is gone: texts that were awaited do not come any more."""
        self._awaiting.clear()
