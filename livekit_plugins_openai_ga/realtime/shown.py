"""The conversation as LiveKit's objects, and a context of LiveKit's as records. What stayed is not made anew.

LiveKit takes `chat_ctx`, adds an item and hands it back, at every function call and every typed message. So the object
of an item stays the same as long as the item does, and a context that begins with these objects is known by that. An
object may have been edited in place meanwhile; its texts tell.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from livekit.agents import llm
from livekit.agents.voice.generation import remove_instructions

from ..core.mirror import Mirror
from ..core.order import beginning
from ..core.record import Record
from ..formats import PCM, AudioFormat
from ..wire.items import short_id
from . import mapping
from .pictures import Pictures
from .shared import SharedContent


class Shown:
    """LiveKit's view of a mirror. `heard`: the format in which the server gets audio that is in a context.

    Attributes:
        shared: What LiveKit's copies of an item share with it.
    """

    __slots__ = ("_ends", "_heard", "_items", "_mirror", "_records", "_seen", "_texts", "shared")

    def __init__(self, mirror: Mirror[Record], heard: AudioFormat = PCM) -> None:
        self._mirror = mirror
        self._heard = heard
        self.shared = SharedContent()
        self._seen: list[Record] | None = None  # the mirror's values when it was looked at; it may have grown since
        self._records: list[Record] = []  # the same, kept while others are looked at,
        self._ends: list[int] = []  # how many objects there are up to each,
        self._items: list[llm.ChatItem] = []  # and these: none for what LiveKit has no word for, two for an MCP call
        self._texts: list[tuple[int, llm.ChatMessage, list[str]]] = []  # the messages with their places and their texts

    def items(self) -> list[llm.ChatItem]:
        """The items that LiveKit has a word for, in order. The list is the caller's own, its objects are shared."""
        self._look()
        return self._items.copy()

    def records(self, items: Sequence[llm.ChatItem], picture: mapping.Picture) -> list[Record]:
        """The records of a context, and the mirror's own ones where nothing has changed.

        Instructions, handoffs and configuration updates are LiveKit's own and left out. `picture`: of what is new.
        """
        self._look()
        start = self._beginning(items)
        rest = llm.ChatContext(list(items[start:]))
        remove_instructions(rest)
        return [
            *self._records[: bisect_right(self._ends, start)],
            *filter(None, (self._record(item, picture) for item in rest.items)),
        ]

    def awaited(self, items: Sequence[llm.ChatItem], records: Sequence[Record]) -> Awaited:
        """A context, with the records it has now, that is applied later."""
        return Awaited(self, self._mirror, items, records)

    def _look(self) -> None:
        values, start = self._mirror.values, len(self._records)
        if values is not self._seen:
            start = self._mirror.beginning(self._records)
        elif start == len(values):
            return
        place = self._ends[start - 1] if start else 0
        known = dict(self._objects(start, place))
        del self._records[start:], self._ends[start:], self._items[place:]
        while self._texts and self._texts[-1][0] >= place:
            self._texts.pop()
        for record in values[start:]:
            for item in known.get(id(record)) or mapping.to_chat_items(record):
                if isinstance(item, llm.ChatMessage):
                    self._texts.append((len(self._items), item, mapping.texts_of(record)))
                self._items.append(item)
            self._records.append(record)
            self._ends.append(len(self._items))
        self._seen = values

    def _objects(self, start: int, place: int) -> Iterator[tuple[int, list[llm.ChatItem]]]:
        """The objects of each record from `start` on, whose first one is at `place`."""
        for record, end in zip(self._records[start:], self._ends[start:], strict=True):
            yield id(record), self._items[place:end]
            place = end

    def _beginning(self, items: Sequence[llm.ChatItem]) -> int:
        """How many items at the beginning are the objects shown, and say what they said."""
        same = beginning(self._items, items)
        for place, message, texts in self._texts:
            if message.content != texts and not mapping.says(message, texts):
                return min(place, same)
        return same

    def _record(self, item: llm.ChatItem, picture: mapping.Picture) -> Record | None:
        if item.type == "function_call_output":
            call = self._mirror.get(short_id(item.call_id))
            if call is not None and call.item.type == "mcp_call":
                return None  # the call and its output are one item there
        known = self._mirror.get(short_id(item.id))
        if known is not None and mapping.says(item, mapping.texts_of(known)):
            return known
        return mapping.to_record(item, picture, self._heard)


class Awaited:
    """A context that is applied later than it came. The conversation goes on meanwhile, of which it does not know."""

    def __init__(
        self, shown: Shown, mirror: Mirror[Record], items: Sequence[llm.ChatItem], records: Sequence[Record]
    ) -> None:
        self._shown, self._mirror = shown, mirror
        self._items, self._records = items, records
        self._there = {record.id for record in mirror}
        # What it left as it was. What becomes of that meanwhile (a cut, above all) is no business of the context's.
        self._untouched = {record.id for record in records if mirror.get(record.id) is record}

    def comes_behind(self, records: Sequence[Record]) -> None:
        """Another context, which came before it, is applied now: what that takes out or changes, this one undoes."""
        self._untouched &= {record.id for record in records if self._mirror.get(record.id) is record}

    def records(self, picture: mapping.Picture) -> list[Record]:
        """Its records as the conversation is now, and behind them the items that the server made meanwhile."""
        anew = {record.id: record for record in self._shown.records(self._items, picture)}
        wanted = [
            self._mirror.get(record.id) if record.id in self._untouched else anew.get(record.id, record)
            for record in self._records
        ]
        told = {record.id for record in self._records} | self._there
        return [
            *(record for record in wanted if record is not None),
            *(record for record in self._mirror if record.id not in told and record.origin is None),
        ]


class ContextLine:
    """The contexts of a session whose images are being fetched, or that came behind one: applied in their order.

    Attributes:
        left_out: ids of image contents that were refused.
    """

    __slots__ = ("_contexts", "_turn", "left_out")

    def __init__(self) -> None:
        self._contexts: list[Awaited] = []
        self._turn = asyncio.Lock()
        self.left_out: dict[str, None] = {}  # a third of what an empty set takes, in every session

    def __bool__(self) -> bool:
        return bool(self._contexts)

    async def fetched(self, context: Awaited, pictures: Pictures) -> list[Record]:
        """The records of a context when its images are here, and what came before it was applied."""
        self._contexts.append(context)
        try:
            async with self._turn:
                await pictures.fetch()
        finally:
            self._contexts.remove(context)
        records = context.records(pictures.part)
        for later in self._contexts:
            later.comes_behind(records)
        return records
