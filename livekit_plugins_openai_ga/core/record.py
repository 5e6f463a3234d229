"""What is remembered of one conversation item, beyond what stands on the wire."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..wire.items import Item

FRAME_ID = "video_frame_"
"""How the ids of video frames begin. A frame shows one moment: only the newest keeps its picture here."""


@dataclass(frozen=True, slots=True)
class Record:
    """An item and what this side knows of it.

    Attributes:
        item: as the server has it; once a spoken item was cut, as it was heard.
        created_at: wall-clock seconds.
        origin: the caller's own object that the item was made from, handed back untouched.
        interrupted: only a part of it was heard; its text must not grow again.
        transcribed: the transcript of what the user said is final; it may be empty.
        confidence: of a user turn's transcript, 0.0 to 1.0.
        audio_ms: speech received for it, in ms; None for an item that is not a spoken reply.
    """

    item: Item
    created_at: float
    origin: object | None = None
    interrupted: bool = False
    transcribed: bool = False
    confidence: float | None = None
    audio_ms: int | None = None

    @property
    def id(self) -> str:
        """The item's id."""
        return self.item.id

    @property
    def is_user_speech(self) -> bool:
        """Whether the user spoke it: its text is the transcript, once there is one."""
        return self.item.role == "user" and any(part.get("type") == "input_audio" for part in self.item.content)

    @property
    def is_frame(self) -> bool:
        """Whether it is a frame of the user's video."""
        return self.item.id.startswith(FRAME_ID)

    def with_item(self, item: Item) -> Record:
        """The same record of a changed item; the caller's object no longer describes it."""
        return replace(self, item=item, origin=None)


def identify(record: Record) -> str:
    """The id of a record's item."""
    return record.id


def same_text(old: Record, new: Record) -> bool:
    """Whether an item may stay as it is: only a message whose text changed has to be made anew.

    An item without text is one whose speech was never transcribed, and whatever replaced it here must not delete it
    there (livekit/agents#2201). Where the transcript is empty, there was nothing to hear.
    """
    if old.item.type != "message" or new.item.type != "message" or not (old.item.text or old.transcribed):
        return True
    return old.item.text == new.item.text
