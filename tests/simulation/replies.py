"""What became of each reply: told of once, and not lost before anything of it was heard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from livekit_plugins_openai_ga.core.replies import MAX_AGAIN

from .application import Heard
from .watch import Watch, is_over

BUSY = "conversation_already_has_active_response"
REPLY_TIMEOUT_S = 10.0
PASSING = ("server_error", "rate_limit_exceeded")
LATER = "60s"  # a server that wants so much time is not asked again


def _sent(watch: Watch, event_type: str) -> Iterator[dict[str, Any]]:
    for session in watch.server.sessions:
        yield from (event for event in session.sent if event.get("type") == event_type)


def _key(response: dict[str, Any]) -> str | None:
    return (response["metadata"] or {}).get("client_event_id")


def _attempts(watch: Watch) -> dict[str | None, list[str]]:
    """The ids of the responses that were begun for each request, in order."""
    attempts: dict[str | None, list[str]] = {}
    for event in _sent(watch, "response.created"):
        ids = attempts.setdefault(_key(event["response"]), [])
        if event["response"]["id"] not in ids:
            ids.append(event["response"]["id"])
    return attempts


def _responses_of(watch: Watch) -> dict[str, str]:
    """Which response a message (by its id) or a function call (by its call id) is of."""
    added = list(_sent(watch, "response.output_item.added"))
    return {event["item"].get("call_id") or event["item"]["id"]: event["response_id"] for event in added}


def told_once(watch: Watch) -> list[str]:
    """All that is told of a reply is of one response, the last that was begun for it; no two replies tell the same."""
    responses, attempts, found = _responses_of(watch), _attempts(watch), []
    key_of = {response: key for key, ids in attempts.items() for response in ids}
    seen: dict[str, Heard] = {}
    for heard in watch.app.heard:
        told = {responses[told_id] for told_id in (*heard.messages, *heard.calls) if told_id in responses}
        shown = heard.event.response_id
        parts = {response for response in told if str(key_of.get(response)).startswith("more_")}
        if len(told - parts) > 1:
            found.append(f"{shown} tells of several responses: {sorted(told)}")
        for response in told:
            if response in seen:
                found.append(f"{response} is told of twice: as {seen[response].event.response_id} and {shown}")
            seen[response] = heard
            key = key_of.get(response)
            if key is not None and attempts[key][-1] != response:
                found.append(f"{shown} was heard ({response}) and asked for again: {attempts[key]}")
    calls = Counter(call for heard in watch.app.heard for call in heard.calls)
    found += [f"{call} was told {count} times" for call, count in calls.items() if count > 1]
    return found


def unheard(watch: Watch) -> list[str]:
    """A reply that was asked for, and of which nothing was told in the end, has a reason for it."""
    if is_over(watch) or watch.app.interrupted or watch.planned.resume_replies == "never":
        return []
    attempts = _attempts(watch)
    by_response = {response: key for key, ids in attempts.items() for response in ids}
    found = []
    for heard in watch.app.heard:
        key = by_response.get(str(heard.event.response_id))
        if heard.messages or heard.calls or key is None or key not in watch.keys:
            continue
        if heard.event.response_id in watch.app.taken_back:
            continue
        if not _has_reason(watch, heard, key, attempts[key]):
            found.append(f"nothing of {heard.event.response_id} was heard, begun as {attempts[key]}")
    return found


def _has_reason(watch: Watch, heard: Heard, key: str, attempts: list[str]) -> bool:
    if len(attempts) > MAX_AGAIN or heard.ended_at - watch.left[key] >= REPLY_TIMEOUT_S - 0.1:
        return True
    refused = [e["error"] for e in _sent(watch, "error") if e["error"].get("event_id") == key]
    if any(error["code"] != BUSY for error in refused):
        return True
    done = [e["response"] for e in _sent(watch, "response.done") if e["response"]["id"] == attempts[-1]]
    if not done:
        return False
    if any(item["type"].startswith("mcp_") for item in done[0]["output"]):
        return True  # it waits for an approval, or its connection was lost while the call ran
    error = (done[0]["status_details"] or {}).get("error") or {}
    return done[0]["status"] != "failed" or error.get("code") not in PASSING or LATER in error.get("message", "")
