"""Turns: what the user said, the replies to it, and how long it took until the first of them was heard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .facts import Reply, Turn, Utterance, Wait

_LATE_MS = 10_000.0
"""A reply that the client asks for so long after all that it could answer is none to it: the agent speaks up again.

More than LiveKit waits, with or without a model that says when a turn is over.
"""


def turns(said: Sequence[Utterance], replies: Sequence[Reply], timeouts: Sequence[float] = ()) -> list[Turn]:
    """Each thing that the user said with the replies that were begun after it; those out of band belong to none.

    What was written and has no reply makes no turn, and neither does what is apart. `timeouts`: when (ms) the server
    began to speak because nobody did.
    """
    found = [Turn(0, None)]
    waiting = [one for one in said if one.stopped_ms is not None and not one.apart]
    waiting.sort(key=lambda one: one.stopped_ms or 0.0)
    for reply in (reply for reply in replies if not reply.apart):
        while waiting and (waiting[0].stopped_ms or 0.0) <= reply.created_ms:
            one = waiting.pop(0)
            if not one.typed or _is_answer(reply, one.start_ms, timeouts):
                found.append(Turn(0, one))
        found[-1].replies.append(reply)
    found += [Turn(0, one) for one in waiting]
    kept = [turn for turn in found if turn.replies or (turn.user is not None and not turn.user.typed)]
    number = 0
    for turn in kept:
        number += turn.user is not None
        turn.number = number
        turn.wait = _wait(turn, timeouts)
    return kept


def _is_answer(reply: Reply, since_ms: float, timeouts: Sequence[float]) -> bool:
    late = reply.asked_ms is not None and reply.asked_ms - since_ms > _LATE_MS
    return not late and not any(since_ms < timeout <= reply.created_ms for timeout in timeouts)


def _answers(turn: Turn, since_ms: float, timeouts: Sequence[float]) -> Iterator[Reply]:
    """Its replies, until one that has nothing to do with it. What calls tools is followed when they are done."""
    calls = False
    for reply in turn.replies:
        if not calls and not _is_answer(reply, since_ms, timeouts):
            return
        yield reply
        since_ms = reply.created_ms if reply.done_ms is None else reply.done_ms
        calls = bool(reply.tools)


def _wait(turn: Turn, timeouts: Sequence[float]) -> Wait | None:
    user = turn.user
    if user is None or user.end_ms is None or user.stopped_ms is None:
        return None
    answers = list(_answers(turn, user.stopped_ms, timeouts))
    heard = next((reply for reply in answers if reply.first_ms is not None), None)
    if heard is None or heard.first_ms is None:
        return None
    first = answers[0]
    return Wait(
        total_ms=heard.first_ms - user.end_ms,
        noticing_ms=user.stopped_ms - user.end_ms,
        asking_ms=first.created_ms - user.stopped_ms,
        tools_ms=heard.created_ms - first.created_ms,
        making_ms=heard.first_ms - heard.created_ms,
    )
