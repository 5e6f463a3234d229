"""What the user said: in the conversation that is left, once, or counted as lost."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

from livekit_plugins_openai_ga.emulator.faults import RejectOn

from .application import CHUNK_MS, MARK_BYTES, chunk_number
from .watch import Watch

APPEND = "input_audio_buffer.append"
_HEAD = -(-MARK_BYTES // 3) * 4
_MARK = b"\x01\x00\x02\x00"


def audio(watch: Watch) -> list[str]:
    """Every loud chunk is in the last session, as audio or in an item that was made again there, or is counted."""
    found, arrived = [], []
    for number, session in enumerate(watch.server.sessions):
        chunks = arrivals(session)
        arrived.append(set(chunks))
        if chunks != sorted(set(chunks)) and not watch.app.cleared:
            found.append(f"connection {number} got user audio out of order or twice: {chunks}")
    if watch.app.cleared:
        return found
    refused = [fault.on for fault in watch.planned.faults if isinstance(fault, RejectOn)]
    if APPEND in refused or "conversation.item.create" in refused:
        return found  # what is refused is told, and not there
    known = {item_id: _marked(pcm) for item_id, pcm in watch.turns.items()}
    final = {item["id"] for item in watch.server.sessions[-1].items}  # type: ignore[union-attr]
    there = Counter(chunk for item_id in final for chunk in known.get(item_id, ()))
    if twice := sorted(chunk for chunk, count in there.items() if count > 1):
        found.append(f"user audio is in two items: chunks {twice}")
    taken_out = {chunk for item_id in watch.app.taken_out for chunk in known.get(item_id, ())}
    committed = _committed_only(watch)
    taken_out |= {chunk for item_id in watch.app.taken_out for chunk in committed.pop(item_id, ())}
    missing = watch.app.loud - arrived[-1] - set(there) - taken_out
    halves = missing & {chunk for chunks in committed.values() for chunk in chunks}
    dropped = watch.session._outbox.audio.dropped
    if halves:
        found.append(f"a committed turn is gone, whose item was never told: chunks {sorted(halves)}")
    if len(missing - halves) * CHUNK_MS > dropped + 1:
        found.append(f"user audio is gone: chunks {sorted(missing)}; {dropped:.0f} ms are counted as dropped")
    return found


def _committed_only(watch: Watch) -> dict[str, set[int]]:
    """The chunks of turns of which the client was told that they are an item now, and not that the item was added."""
    items = [item for session in watch.server.sessions for item in session.conversation]  # type: ignore[union-attr]
    return {item.id: _marked(bytes(item.audio)) for item in items if item.id in watch.committed - watch.turns.keys()}


def arrivals(session: Any) -> list[int]:
    """The numbers of the chunks of user audio that a session was sent."""
    sent = [event["audio"] for event in session.received if event.get("type") == APPEND]
    numbers = [chunk_number(base64.b64decode(one[:_HEAD])) for one in sent]
    return [number for number in numbers if number is not None]


def _marked(pcm: bytes) -> set[int]:
    numbers, at = set(), pcm.find(_MARK)
    while at >= 0:
        if len(pcm) >= at + MARK_BYTES and (number := chunk_number(pcm[at:])) is not None:
            numbers.add(number)
        at = pcm.find(_MARK, at + 1)
    return numbers
