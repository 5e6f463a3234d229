"""What must hold in every call, whatever happened to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

from livekit.agents import llm

from livekit_plugins_openai_ga.core.setup import Phase
from livekit_plugins_openai_ga.transport.supervisor import PROVEN_AFTER_S

from .application import CLOSE_LIMIT_S
from .delivery import audio
from .network import Network
from .replies import told_once, unheard
from .schedule import HEARTBEAT_S, MAX_RETRY
from .virtual_loop import VirtualLoop
from .watch import Watch, is_over

BUSY = "conversation_already_has_active_response"


def dead_peer(network: Network) -> list[str]:
    """A peer that takes nothing is noticed within two heartbeats."""
    held = network.longest_hold
    return [f"a peer that took nothing was not noticed for {held:.1f} s"] if held > 2.5 * HEARTBEAT_S else []


def at_rest(watch: Watch, rested: bool) -> list[str]:
    """What must hold when the network has healed and nothing happens any more; the session is still open."""
    if found := dead_peer(watch.network):
        return found  # what else does not hold comes of it
    if not rested:
        return ["the call never came to rest"]
    found = [f"at rest, {asked.marker} is still pending" for asked in watch.app.asked if not asked.future.done()]
    found += ["at rest, a call has no answer" for call in watch.app.calls if not call.done()]
    found += _connections(watch) + _sockets(watch)
    if is_over(watch):
        return found
    if watch.session._conversation.phase is not Phase.READY:
        return [*found, f"at rest, the connection is {watch.session._conversation.phase}"]
    server = watch.server.sessions[-1]
    if server.closed is not None:
        return [*found, "at rest, the session believes in a connection that is closed"]
    found += [f"at rest, {h.event.response_id} has not ended" for h in watch.app.heard if not h.reader.done()]
    return found + _histories(watch) + audio(watch) + unheard(watch)


def _histories(watch: Watch) -> list[str]:
    server = [shown for item in watch.server.sessions[-1].items for shown in _shown(item)]  # type: ignore[union-attr]
    ours = [_chat_item(item) for item in watch.session.chat_ctx.items]
    ids = [item[0] for item in server], [item[0] for item in ours]
    if ids[0] != ids[1]:
        return [f"histories differ: the server has {ids[0]}, chat_ctx {ids[1]}"]
    return [
        f"an item differs: the server has {theirs}, chat_ctx {mine}"
        for theirs, mine in zip(server, ours, strict=True)
        if theirs[1] is not None and theirs[1] != mine[1]
    ]


def _shown(item: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Id and text of an item at the server; None where only its audio is left, after a cut or without a transcript.

    A call of an MCP server is two in `chat_ctx`, when it has its result; its lists and approvals are none.
    """
    if item["type"].startswith("mcp_"):
        error = item.get("error")
        answer = item.get("output") if error is None else f"Error: {error['message']}"
        return [(item["id"], item["arguments"]), (f"{item['id']}_out", answer)] if answer is not None else []
    if item["type"] != "message":
        return [(item["id"], item.get("arguments", item.get("output")))]
    texts = [part.get("text", part.get("transcript")) for part in item["content"]]
    return [(item["id"], None if None in texts else "".join(texts))]


def _chat_item(item: llm.ChatItem) -> tuple[str, str | None]:
    if isinstance(item, llm.ChatMessage):
        return item.id, "".join(part for part in item.content if isinstance(part, str))
    return item.id, getattr(item, "arguments", getattr(item, "output", None))


def _connections(watch: Watch) -> list[str]:
    """Attempts in a row without a session that was confirmed and lived: one, and the budget."""
    dials = [*watch.network.dials, asyncio.get_running_loop().time()]
    proven_after = min(PROVEN_AFTER_S, watch.planned.max_session_duration or PROVEN_AFTER_S)
    row = longest = 0
    for dial, next_dial in pairwise(dials):
        confirmed = next((at for at in watch.confirmed if dial <= at < next_dial), None)
        row = 1 if confirmed is not None and next_dial - confirmed >= proven_after - 0.5 else row + 1
        longest = max(longest, row)
    found = [f"{longest} attempts in a row"] if longest > 1 + MAX_RETRY + watch.app.restarts else []
    closed_at = watch.app.closed_at
    late = [at for at in watch.network.dials if closed_at is not None and at > closed_at]
    return found + [f"dialled at {at:.3f}, after the session was closed" for at in late]


def _sockets(watch: Watch) -> list[str]:
    """A session has one socket, and none when it is over."""
    left = sum(not side.is_closed for side in watch.network.clients)
    return [f"at rest, {left} sockets are open"] if left > (0 if is_over(watch) else 1) else []


def _requests(watch: Watch) -> list[str]:
    """Each request leaves once on a connection, and again only when the server was busy, or failed to answer it."""
    found = []
    for number, session in enumerate(watch.server.sessions):
        asked = Counter(e.get("event_id") for e in session.received if e.get("type") == "response.create")
        errors = [e["error"] for e in session.sent if e.get("type") == "error"]
        again = Counter(error.get("event_id") for error in errors if error.get("code") == BUSY)
        done = [e["response"] for e in session.sent if e.get("type") == "response.done"]
        again.update((r["metadata"] or {}).get("client_event_id") for r in done if r["status"] == "failed")
        found += [
            f"connection {number}: {count} times response.create {key}"
            for key, count in asked.items()
            if count > 1 + again[key]
        ]
    return found


async def closing(watch: Watch) -> list[str]:
    """What must hold when the session is closed."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await watch.session.aclose()
    took = loop.time() - began
    found = [f"aclose took {took:.3f} s"] if took > CLOSE_LIMIT_S else []
    slow = [heard.reader for heard in watch.app.heard if not heard.reader.done()]
    if slow:
        await asyncio.wait(slow, timeout=300)
    await asyncio.sleep(0)
    found += [f"closed, {a.marker} is still pending" for a in watch.app.asked if not a.future.done()]
    found += ["closed, a call has no answer" for call in watch.app.calls if not call.done()]
    found += [
        f"closed, the streams of {h.event.response_id} have not ended" for h in watch.app.heard if not h.reader.done()
    ]
    readers = [heard.reader for heard in watch.app.heard if heard.reader.done()]
    found += [f"a reader failed: {reader.exception()!r}" for reader in readers if reader.exception() is not None]
    fatal = sum(not error.recoverable for error in watch.app.errors)
    found += [f"{fatal} fatal errors were told"] if fatal > 1 else []
    return found + _requests(watch) + told_once(watch) + watch.broken + watch.app.problems


async def afterwards() -> list[str]:
    """What must hold when the server is gone, too."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    for _ in range(5):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    found = [f"a task is left: {task!r}"[:300] for task in left]
    return found + [f"a timer is left: {timer!r}"[:300] for timer in loop.timers_of("livekit_plugins_openai_ga")]
